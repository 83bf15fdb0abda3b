"""Tool calls as vendors stream them: whatever the shape, the same calls come out, each begun once."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.faults import ModelBroke
from app.models.tools.calls import MOST_CALLS, CallPiece, CallReader, CallTexts, ToolCall
from emulators.model_vendor.calls import CallShape, Spelled, deltas

PARIS: Final = ToolCall("call_1", "get_weather", '{"city": "Paris", "unit": "celsius"}')
SUM: Final = ToolCall("call_2", "calculate", '{"expression": "3 * 4"}')
ROME: Final = ToolCall("call_3", "get_weather", '{"city": "Rome"}')


def read(*parts: Any) -> tuple[tuple[ToolCall, ...], list[CallPiece]]:
    """The calls that come of these members of `tool_calls`, one a chunk."""
    reader, texts, pieces = CallReader(), CallTexts(), []
    for part in parts:
        for piece in reader.read([part]):
            pieces.append(piece)
            texts.add(piece.index, piece.arguments, id=piece.id, name=piece.name)
    return texts.made, pieces


def spelled(call: ToolCall) -> Spelled:
    text = call.arguments
    return Spelled(call.id, call.name, 4, [(text[at : at + 5],) for at in range(0, len(text), 5)])


@pytest.mark.parametrize("shape", CallShape)
@pytest.mark.parametrize("calls", [[PARIS], [PARIS, SUM], [PARIS, ROME, SUM]], ids=len)
def test_the_same_calls_come_of_every_shape(shape: CallShape, calls: list[ToolCall]) -> None:
    made, pieces = read(*(part for part, _ in deltas([spelled(one) for one in calls], shape)))
    assert [(one.name, json.loads(one.arguments)) for one in made] == [
        (one.name, json.loads(one.arguments)) for one in calls
    ]
    assert [one.id for one in made] == [("" if shape is CallShape.NO_ID else one.id) for one in calls]
    begun = [piece.index for piece in pieces if piece.name]
    assert begun == [*range(len(calls))]


def test_pieces_of_two_calls_may_alternate() -> None:
    made, _ = read(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "[]"}},
    )
    assert made == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]"))


def test_a_call_is_told_once_its_name_is_known() -> None:
    made, pieces = read(
        {"index": 0, "id": "a"},
        {"index": 0, "function": {"arguments": '{"x"'}},
        {"index": 0, "function": {"name": "f", "arguments": ": 1"}},
        {"index": 0, "function": {"arguments": "}"}},
    )
    assert made == (ToolCall("a", "f", '{"x": 1}'),)
    assert [piece.name for piece in pieces] == ["f", ""]


def test_a_call_without_arguments_is_one() -> None:
    made, _ = read(
        {"index": 0, "id": "a", "function": {"name": "now"}}, {"index": 1, "id": "b", "function": {"name": "f"}}
    )
    assert [one.name for one in made] == ["now", "f"]


def test_two_calls_with_one_id_are_two() -> None:
    """Some adapters give a call the name of its function for an id."""
    whole = [{"id": "f", "function": {"name": "f", "arguments": text}} for text in ('{"city":"P"}', '{"city":"L"}')]
    made, _ = read(*whole)
    assert made == (ToolCall("f", "f", '{"city":"P"}'), ToolCall("", "f", '{"city":"L"}'))
    numbered, _ = read(*({"index": number, **one} for number, one in enumerate(whole)))
    assert numbered == made


@pytest.mark.parametrize("nothing", [None, {}, [], "x", {"function": None}, {"function": {"arguments": "{}"}}])
def test_what_begins_no_call_is_none(nothing: Any) -> None:
    assert read(nothing) == ((), [])


def test_half_a_character_waits_for_the_other_half() -> None:
    made, _ = read(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '"\ud83d'}},
        {"index": 0, "function": {"arguments": '\ude42"'}},
    )
    assert made[0].arguments == '"🙂"'


def test_more_calls_than_can_be_offered_are_a_broken_vendor() -> None:
    parts = [{"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": "{}"}} for n in range(MOST_CALLS + 1)]
    assert len(read(*parts[:-1])[0]) == MOST_CALLS
    with pytest.raises(ModelBroke):
        read(*parts)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "index": st.integers(0, 3) | st.none() | st.booleans() | st.text(max_size=2),
                "id": st.text(max_size=3) | st.none() | st.integers(),
                "function": st.fixed_dictionaries(
                    {},
                    optional={
                        "name": st.text(max_size=3) | st.none() | st.integers(),
                        "arguments": st.text(max_size=4) | st.none() | st.dictionaries(st.text(max_size=2), st.none()),
                    },
                )
                | st.none(),
            },
        ),
        max_size=20,
    )
)
def test_whatever_comes_each_call_begins_once_with_a_name_and_in_order(parts: list[dict[str, Any]]) -> None:
    made, pieces = read(*parts)
    assert [piece.index for piece in pieces if piece.name] == [*range(len(made))]
    begun: set[int] = set()
    for piece in pieces:
        assert piece.name or piece.index in begun
        begun.add(piece.index)
    for one in made:
        assert one.name
        one.arguments.encode()
