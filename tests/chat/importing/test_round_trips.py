"""Export, import, export: the same bytes, whatever the conversation is."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.kit.clock import to_rfc3339
from chat.importing.test_importing import exported, taken
from support.world import World

TEXTS = st.text(max_size=40)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", fullmatch=True)
TIMES = st.integers(0, 1_700_000_000_000_000).map(to_rfc3339)
COUNTS = st.integers(0, 2**53)
ERRORS = st.fixed_dictionaries({"code": TEXTS, "title": TEXTS, "detail": TEXTS, "status": st.integers(400, 599)})
USAGE = st.fixed_dictionaries({"input_tokens": COUNTS, "output_tokens": COUNTS, "cached_tokens": COUNTS})
ANSWERS = st.fixed_dictionaries(
    {
        "content": TEXTS,
        "images": st.lists(st.just("https://example.org/a.png"), max_size=8),
        "status": st.sampled_from(["done", "error", "running"]),
        "answer": st.none() | TEXTS,
        "model": TEXTS,
        "route": TEXTS,
        "route_reason": st.none() | TEXTS,
        "finish_reason": st.none() | st.sampled_from(["stop", "length", "budget", "cancelled", "error", "other"]),
        "reason": st.none() | TEXTS,
        "usage": st.none() | USAGE,
        "estimated": st.booleans(),
        "cost": st.none() | st.sampled_from(["0", "0.000001", "12.5"]),
        "transaction_id": st.none() | TEXTS,
        "created_at": TIMES,
        "ended_at": st.none() | TIMES,
        "error": st.none() | ERRORS,
        "unreadable": st.lists(TEXTS, max_size=3),
    }
)
SETTINGS = {
    "id": IDS,
    "title": TEXTS,
    "model": st.none() | st.sampled_from(["small", "auto", "unknown", "vision"]),
    "system_prompt": TEXTS,
    "memory": st.just("buffer"),
    "archived": st.booleans(),
    "pinned": st.booleans(),
    "created_at": TIMES,
}


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """What an export may say. A conversation was used after it was begun, and its active branch ends with a leaf."""
    count = draw(st.integers(0, 12))
    turns = []
    for number in range(count):
        parent = draw(st.none() | st.integers(0, number - 1)) if number else None
        there = draw(st.integers(0, 4))
        unavailable = None if there else draw(st.sampled_from(["unreadable", "missing"]))
        turn = None if unavailable else draw(ANSWERS)
        turns.append({"number": number, "parent": parent, "id": draw(IDS), "unavailable": unavailable, "turn": turn})
    leaves = [*({*range(count)} - {one["parent"] for one in turns})]
    told = draw(st.fixed_dictionaries(SETTINGS))
    told["active_leaf"] = draw(st.sampled_from(leaves)) if leaves else None
    told["updated_at"] = max(str(told["created_at"]), draw(TIMES))
    return {"format": "credits.conversation", "version": 1, "conversation": told, "turns": turns}


WORLD = World()


@given(conversations())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_was_exported_is_exported_again(sent: dict[str, Any]) -> None:
    # New users each time: the same example may come twice, and its conversation is imported once.
    first, second = (WORLD.client(WORLD.ids.new("usr")) for _ in range(2))
    text = exported(first, taken(first, json.dumps(sent)))
    assert json.loads(text) == sent
    assert exported(second, taken(second, text)) == text
