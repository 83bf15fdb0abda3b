"""The parser of event streams follows the standard, and gives the same events wherever the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.faults import ModelBroke
from app.models.sse import MOST_BYTES, Event, Parser

STREAM = b'\xef\xbb\xbf: hello\n\nevent: x\ndata: {"a":1}\n\ndata: one\rdata: two\n\r\ndata:[DONE]\r\n\r\ndata: late'
EVENTS = [(b'{"a":1}', b"x"), (b"one\ntwo", b""), (b"[DONE]", b"")]
"""With a byte order mark, and lines that end in LF, CR and CRLF."""


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    parser, found, last = Parser(), [], 0
    for cut in [*sorted(cuts), len(STREAM)]:
        found += parser.feed(STREAM[last:cut])
        last = cut
    assert found == EVENTS


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:a\r\rdata:b\r\r", [(b"a", b""), (b"b", b"")]),
        (b"data:a\r\n\r\ndata:b\n\n", [(b"a", b""), (b"b", b"")]),
        (b"data\n\ndata\ndata\n\ndata:", [(b"", b""), (b"\n", b"")]),
        (b"data:  two blanks\n\n", [(b" two blanks", b"")]),
        (b"id: 7\nretry: 3000\ndata: a\n: said nothing\n\n", [(b"a", b"")]),
        (b"event: ping\n\ndata: a\n\n", [(b"a", b"")]),
        (b"event: ping\nevent\ndata: a\n\n", [(b"a", b"")]),
        (b"data: a\nevent: error\n\n", [(b"a", b"error")]),
        (b"datas: a\nDATA: b\n data: c\n\n", []),
        (b"\n\n\n", []),
    ],
)
def test_fields_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    """T-106."""
    assert Parser().feed(stream) == events


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_end_of_the_body_ends_the_last_event(end: bytes) -> None:
    """T-106: vendors that hang up behind the last line forget the empty one."""
    parser = Parser()
    assert parser.feed(b"data: a\n\ndata: [DONE]" + end) == [(b"a", b"")]
    assert parser.end() == [(b"[DONE]", b"")]
    assert parser.end() == []


def test_an_endless_stream_of_short_events_is_none() -> None:
    """The bound is that of one event: a long answer in small pieces is several times as much."""
    parser, one = Parser(), b"data: " + b"x" * 8192 + b"\n\n"
    assert sum(len(parser.feed(one)) for _ in range(3 * MOST_BYTES // 8192)) == 3 * MOST_BYTES // 8192


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: x\n" * 8192], ids=["one line", "many lines"])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    parser = Parser()
    with pytest.raises(ModelBroke):
        for _ in range(MOST_BYTES // 16384 + 2):
            parser.feed(piece)
