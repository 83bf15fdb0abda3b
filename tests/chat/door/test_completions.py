"""Completions without a client in between: functions that die, keys that race, generators that nobody reads."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from app.api.auth import scope_of
from app.chat.answering import Answer, Answering
from app.chat.attempt import Text
from app.chat.door.completion import CompletionAsk
from app.chat.door.completions import bounded
from app.chat.door.tools import around, counted, framing
from app.kit.errors import KeyReused
from app.metering.billing import Mode
from app.metering.quote import Granted
from app.metering.reserving import CallInProgress
from app.models.faults import ModelTimeout
from app.models.gateway import Message
from support.chat_world import ChatWorld
from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]

SCHEMA: Final = '{"type": "object", "description": "' + "a word of the schema " * 200 + '"}'


@pytest.fixture
def world(vendor: Vendor) -> ChatWorld:
    return ChatWorld(vendor)


def asked(key: str | None = None, content: str = "What is a ledger?") -> CompletionAsk:
    return CompletionAsk("alice", "small", (Message("user", content),), key=key)


def completions(world: ChatWorld) -> Answering[CompletionAsk]:
    return world.system.chat.completions


def begun(world: ChatWorld, key: str | None) -> Answer:
    """A completion of which some text has come."""
    answer = completions(world).answer(asked(key), Mode.STREAM)
    while not isinstance(next(answer.events), Text):
        pass
    return answer


def kept(world: ChatWorld) -> list[str]:
    return [path for path in world.documents.all() if path.startswith("completions/")]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_killed_function_costs_nothing_and_frees_the_key(world: ChatWorld, key: str | None) -> None:
    killed = begun(world, key)
    assert world.reserved() > 0
    world.clock.advance(minutes=6)
    world.system.orchestration.sweep()
    assert (world.reserved(), world.charges(), kept(world)) == (0, [], [])
    assert completions(world).answer(asked(key), Mode.JSON).over().end.state == "done"
    assert len(world.charges()) == 1
    killed.close()
    assert (world.reserved(), len(world.charges()), len(kept(world))) == (0, 1, 0 if key is None else 1)


def test_that_was_only_slow_is_free(world: ChatWorld) -> None:
    slow = begun(world, None)
    world.clock.advance(minutes=6)
    world.system.orchestration.sweep()
    assert slow.over().end.reason == "reservation_lost"
    assert (world.reserved(), world.charges(), kept(world)) == (0, [], [])


def test_one_that_is_closed_before_it_is_read_is_settled(world: ChatWorld) -> None:
    completions(world).answer(asked(), Mode.STREAM).close()
    assert (world.reserved(), world.charges(), kept(world)) == (0, [], [])


def test_a_key_that_is_being_answered_waits(world: ChatWorld) -> None:
    first = completions(world).answer(asked("k"), Mode.STREAM)
    with pytest.raises(CallInProgress):
        completions(world).answer(asked("k"), Mode.STREAM)
    with pytest.raises(KeyReused):
        completions(world).answer(asked("k", "Another question"), Mode.STREAM)
    over = first.over()
    again = completions(world).answer(asked("k"), Mode.JSON)
    assert (again.replayed, again.over().end) == (True, over.end)
    assert len(world.charges()) == 1


def test_a_key_is_forgotten_after_a_day(world: ChatWorld) -> None:
    first = completions(world).answer(asked("k"), Mode.JSON).over()
    world.clock.advance(minutes=timedelta(days=1) // timedelta(minutes=1))
    second = completions(world).answer(asked("k"), Mode.JSON)
    assert not second.replayed
    assert second.over().turn.id != first.turn.id
    assert len(world.charges()) == 2


def test_keys_of_two_users_are_two(world: ChatWorld) -> None:
    completions(world).answer(asked("k"), Mode.JSON).over()
    other = CompletionAsk("bob", "small", (Message("user", "What is a ledger?"),), key="k")
    answer = completions(world).answer(other, Mode.JSON)
    assert (answer.replayed, answer.over().turn.account) == (False, "bob")
    assert len(kept(world)) == 2


def test_what_a_client_wants_bounds_each_model_that_may_answer() -> None:
    grant = Granted(100, 100, 500, "small", {"small": 400, "large": 20})
    within = bounded(grant, 100)
    assert (within.wanted, dict(within.limits), within.clamped) == (100, {"small": 100, "large": 20}, False)
    assert bounded(grant, None) is grant


@pytest.mark.parametrize(
    ("method", "rule", "scope"),
    [
        ("POST", "/v1/openai/chat/completions", "chat"),
        ("GET", "/v1/openai/models", "models"),
        ("GET", "/v1/openai/models/<model_id>", "models"),
        ("POST", "/v1/openai/files", None),
    ],
)
def test_the_scope_of_the_door(method: str, rule: str, scope: str | None) -> None:
    assert scope_of(method, rule) == scope


def request(**more: Any) -> CompletionAsk:
    return CompletionAsk("alice", "small", (Message("user", "What is a ledger?"),), **more)


@pytest.mark.parametrize("other", [{"most_output": 20}, {"max_cost": 900_000}, {"model": "large"}])
def test_a_key_with_another_limit_is_another_request(world: ChatWorld, other: dict[str, Any]) -> None:
    completions(world).answer(request(key="k"), Mode.JSON).over()
    with pytest.raises(KeyReused):
        completions(world).answer(replace(request(key="k"), **other), Mode.JSON)
    assert len(world.charges()) == 1


def test_what_stands_beside_the_messages_is_held_for(world: ChatWorld) -> None:
    held = []
    for beside in ((), (SCHEMA,)):
        answer = completions(world).answer(request(beside=beside, most_output=16), Mode.STREAM)
        held.append(world.reserved())
        answer.close()
    assert held[1] > held[0]


def test_what_stands_beside_the_messages_is_charged_where_the_vendor_counts_nothing(
    world: ChatWorld, vendor: Vendor
) -> None:
    vendor.arrange("usage=missing", times=None)
    spent = [
        completions(world).answer(request(beside=beside), Mode.JSON).over().end.spent.input_tokens
        for beside in ((), (SCHEMA,))
    ]
    assert spent[1] > spent[0] + 500


@pytest.mark.parametrize(("effort", "whole"), [(None, False), ("none", False), ("high", True)])
def test_that_wants_reasoning_holds_all_that_it_may_cost(world: ChatWorld, effort: str | None, *, whole: bool) -> None:
    """T-15: of any model, since nobody sees how much it thinks while it does."""
    options = {} if effort is None else {"reasoning_effort": effort}
    answer = completions(world).answer(replace(asked(), options=options), Mode.STREAM)
    [document] = kept(world)
    fields = world.documents.all()[document].fields
    assert (fields["reserved"] == fields["ceiling"]) is whole
    answer.close()


def test_a_client_that_says_how_long_it_waits_has_by_then_what_was_written(world: ChatWorld) -> None:
    """Later it would have hung up, and its SDK would ask again, and pay again."""
    answer = completions(world).answer(request(waits_us=20_000_000), Mode.JSON)
    while not isinstance(next(answer.events), Text):
        pass
    world.clock.advance(minutes=1)
    end = answer.over().end
    assert (end.state, end.finish_reason, len(world.charges())) == ("done", "length", 1)


def test_a_client_that_says_how_long_it_waits_pays_nothing_for_what_comes_later(world: ChatWorld) -> None:
    answer = completions(world).answer(request(waits_us=20_000_000), Mode.JSON)
    world.clock.advance(minutes=1)
    with pytest.raises(ModelTimeout):
        answer.over()
    assert (world.reserved(), world.charges(), kept(world)) == (0, [], [])


def test_a_name_is_part_of_a_request() -> None:
    said = [None, {"role": "user", "name": "ann", "content": "Hi"}, {"role": "user", "name": "bob", "content": "Hi"}]
    asks = [replace(request(), messages=(Message("user", "Hi", (), sent),)) for sent in said]
    assert len({ask.hash for ask in asks}) == 3


@pytest.mark.parametrize(
    ("call_id", "text", "least"),
    [("é" * 100, "", 200), ("c", "\x01" * 100, 500), ("c", '"\n' * 50, 100), ("c", "plain", 0)],
)
def test_the_result_of_a_tool_is_held_for_as_templates_write_it(call_id: str, text: str, least: int) -> None:
    """Some write the call's id before it, some the result itself as JSON."""
    assert around(call_id, text) >= least + 16


def test_tools_are_held_for_as_the_longest_template_writes_them(world: ChatWorld) -> None:
    """Templates write them as indented JSON, behind instructions; what they are counted by at least is neither."""
    parameters = {"type": "object", "properties": {f"\u00e9{number}": {"type": "string"} for number in range(20)}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    framed = framing([tool], [])
    assert framed > len(counted(tool).encode()) + 512
    held = []
    for more in ({}, {"framing": framed}):
        answer = completions(world).answer(request(beside=(counted(tool),), most_output=16, **more), Mode.STREAM)
        held.append(world.reserved())
        answer.close()
    assert held[1] - held[0] >= framed * 6
    assert framing(None, []) == 0
