"""Cursors: one spelling, of one list, for one question, and nothing in them that the database would refuse."""

import base64
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.paging import Cursors, as_id, as_integer, as_time, time_and_id
from app.kit.clock import to_rfc3339
from app.kit.errors import Invalid

AT = "2026-11-21T08:30:00.000250Z"
LIST = Cursors("things", time_and_id, ("alice", None))

times = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999).map(to_rfc3339)
ids = st.from_regex(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,127}", fullmatch=True)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parts_of(cursor: str) -> list[object]:
    parts: list[object] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return parts


@given(times, ids)
def test_what_is_written_is_read(at: str, id: str) -> None:
    cursor = LIST.write((at, id))
    assert LIST.read(cursor) == (at, id)
    assert len(cursor) <= 512


def test_the_first_page_has_none() -> None:
    assert LIST.read(None) is None


@pytest.mark.parametrize(
    "other",
    [
        Cursors("others", time_and_id, ("alice", None)),
        Cursors("things", time_and_id, ("bob", None)),
        Cursors("things", time_and_id, ("alice", "running")),
        Cursors("things", time_and_id, ("alice", "None")),
        Cursors("things", time_and_id, ("alice",)),
    ],
    ids=["list", "user", "filter", "text for nothing", "fewer filters"],
)
def test_that_of_another_question_is_refused(other: Cursors[tuple[str, str]]) -> None:
    with pytest.raises(Invalid):
        LIST.read(other.write((AT, "thing_1")))


def test_that_of_another_version_is_refused() -> None:
    cursor = LIST.write((AT, "thing_1"))
    with pytest.raises(Invalid):
        LIST.read(encoded(json.dumps([2, *parts_of(cursor)[1:]], separators=(",", ":"))))


@pytest.mark.parametrize(
    "respelled",
    [
        lambda cursor: cursor + "=",
        lambda cursor: cursor + "\n",
        lambda cursor: cursor[:10] + "!" + cursor[10:],
        lambda cursor: encoded(json.dumps(parts_of(cursor))),
        lambda cursor: encoded(json.dumps(parts_of(cursor), separators=(",", ":")).replace("thing", "\\u0074hing")),
        lambda cursor: encoded(json.dumps(parts_of(cursor), separators=(",", ":")).replace("[1,", "[1.0,")),
        lambda cursor: encoded(json.dumps(parts_of(cursor), separators=(",", ":")).replace("[1,", "[true,")),
        lambda cursor: cursor[:-1],
        lambda cursor: cursor + "A",
    ],
)
def test_there_is_one_spelling(respelled: Callable[[str], str]) -> None:
    cursor = LIST.write((AT, "thing_1"))
    with pytest.raises(Invalid):
        LIST.read(respelled(cursor))


@given(st.text(max_size=600) | st.binary(max_size=400).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(Invalid):
        LIST.read(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_no_json_breaks_it(value: object) -> None:
    with pytest.raises(Invalid):
        LIST.read(encoded(json.dumps(value)))


@pytest.mark.parametrize("deep", ["[" * 384, "[" * 380 + "]" * 4, '{"a":' * 70, "9" * 384, "[" * 100_000])
def test_no_depth_and_no_length_breaks_it(deep: str) -> None:
    with pytest.raises(Invalid):
        LIST.read(encoded(deep))


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text() | times | ids, max_size=4))
def test_no_position_of_another_shape_is_read(parts: list[object]) -> None:
    cursor = encoded(json.dumps([*parts_of(LIST.write((AT, "a")))[:3], *parts], separators=(",", ":")))
    try:
        position = LIST.read(cursor)
    except Invalid:
        return
    at, id = parts
    assert position == (as_time(at), as_id(id))


@pytest.mark.parametrize(
    "id", ["", "a/b", ".", "..", "__x__", "__", "x" * 129, "a b", "ż", "\ud800", "\0", "a\n", 5, None]
)
def test_an_id_that_can_be_no_path_is_refused(id: object) -> None:
    with pytest.raises(ValueError):
        as_id(id)


@pytest.mark.parametrize(
    "at",
    [
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T08:30:00Z",
        "2026-11-21T08:30:00.000250",
        "2026-11-21T09:30:00.000250+01:00",
        AT + " ",
        AT.replace("11", "13"),
        "\ud800",
        5,
        None,
    ],
)
def test_a_time_that_no_document_holds_is_refused(at: object) -> None:
    with pytest.raises(ValueError):
        as_time(at)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 1.0, True, "1", None])
def test_a_number_that_no_document_holds_is_refused(number: object) -> None:
    with pytest.raises(ValueError):
        as_integer(number)


def test_numbers_have_bounds() -> None:
    assert [as_integer(one) for one in (-(2**63), 2**63 - 1)] == [-(2**63), 2**63 - 1]
    assert as_integer(1, least=1, most=1) == 1
    for beyond in (0, 2):
        with pytest.raises(ValueError):
            as_integer(beyond, least=1, most=1)


class TestPages:
    @staticmethod
    def place(item: int) -> tuple[int]:
        return (item,)

    @staticmethod
    def shape(parts: Sequence[object]) -> tuple[int]:
        [item] = parts
        return (as_integer(item),)

    @given(st.integers(0, 30), st.integers(1, 12))
    def test_joined_are_the_list(self, size: int, limit: int) -> None:
        """And only the last one has no cursor, and only an empty list has an empty page."""
        whole, cursors = [*range(size)], Cursors("numbers", self.shape)
        pages: list[list[int]] = []
        cursor: str | None = None
        while not pages or cursor is not None:
            position = cursors.read(cursor)
            found = [one for one in whole if position is None or one > position[0]][: limit + 1]
            page, cursor = cursors.page(found, limit, self.place)
            pages.append([*page])
        assert [item for page in pages for item in page] == whole
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or pages == [[]]
