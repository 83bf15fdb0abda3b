"""Which media type a client wants (RFC 9110, section 12.5.1; T-126)."""

import pytest

from app.api.context import preferred
from support.credits_world import deposit
from support.world import World

JSON, EVENTS, CSV = "application/json", "text/event-stream", "text/csv"

EVENTS_FOR = [
    "text/event-stream",
    "Text/Event-Stream",
    "text/event-stream; charset=utf-8",
    "text/event-stream;charset=utf-8;q=0.5",
    "text/event-stream ; Q=0.001",
    "text/event-stream, application/json",
    "application/json, text/event-stream",
    "application/json;q=0.9, text/event-stream",
    "*/*, text/event-stream",
    "text/event-stream, */*;q=0.1",
    "text/*",
    "text/*, application/json;q=0.2",
    "application/json;q=0, */*",
    "text/html,text/event-stream;q=0.8",
]
JSON_FOR = [
    None,
    "",
    "*/*",
    "*/*;q=0.5",
    "application/json",
    "application/*",
    "APPLICATION/JSON; charset=utf-8",
    "application/json, text/event-stream;q=0.5",
    "text/event-stream;q=0",
    "text/event-stream;q=0.000, */*",
    "text/event-stream;q=0, text/*",
    "text/*;q=0.1, application/json;q=0.2",
    "image/png",
    "text/event-streams",
    "text/event-stream-x, text/html",
    ",,;",
]


@pytest.mark.parametrize("accept", EVENTS_FOR)
def test_events_where_they_are_named_or_preferred(accept: str) -> None:
    assert preferred(accept, EVENTS, JSON, default=JSON) == EVENTS


@pytest.mark.parametrize("accept", JSON_FOR)
def test_json_where_nothing_else_is_wanted(accept: str | None) -> None:
    assert preferred(accept, EVENTS, JSON, default=JSON) == JSON


@pytest.mark.parametrize("quality", ["2", "-1", "x", "1.0001", "nan", "", "1e0"])
def test_a_quality_that_is_none_is_left_out(quality: str) -> None:
    assert preferred(f"text/event-stream;q={quality}", EVENTS, JSON, default=JSON) == EVENTS


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("TEXT/CSV; header=present", CSV),
        ("text/csv;q=0, */*", JSON),
        ("text/csv;q=0.5, application/json;q=0.1", CSV),
        ("text/html, application/json", JSON),
    ],
)
def test_a_route_answers_so(accept: str, media_type: str) -> None:
    world = World()
    world.system.credits.service.post("alice", deposit("one", 1))
    answer = world.client().get("/v1/credits/history", headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (200, media_type)


@pytest.mark.parametrize("accept", ["Text/Event-Stream; charset=utf-8", "text/event-stream;q=0, */*"])
def test_an_answer_of_the_chat_streams_only_where_it_is_wanted(accept: str) -> None:
    """The vendor of this world answers nobody: a stream says so in its last event, and JSON with its status."""
    world = World()
    alice = world.client()
    chat = (alice.post("/v1/chat/conversations", json={}).json or {})["id"]
    asked = {"json": {"content": "Hi"}, "headers": {"Accept": accept}}
    answer = alice.post(f"/v1/chat/conversations/{chat}/messages", **asked)
    assert (answer.mimetype == EVENTS) == ("q=0" not in accept), answer.text
