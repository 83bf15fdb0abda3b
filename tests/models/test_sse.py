"""The parser of event streams gives the same events wherever the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.faults import ModelBroke
from app.models.sse import MOST_BYTES, Parser

STREAM = b'\xef\xbb\xbf: hello\n\nevent: x\ndata: {"a":1}\n\ndata: one\rdata: two\n\r\ndata:[DONE]\r\n\r\ndata: late'
EVENTS = [b'{"a":1}', b"one\ntwo", b"[DONE]"]
"""With a byte order mark, and lines that end in LF, CR and CRLF."""


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    parser, found, last = Parser(), [], 0
    for cut in [*sorted(cuts), len(STREAM)]:
        found += parser.feed(STREAM[last:cut])
        last = cut
    assert found == EVENTS


def test_an_endless_event_is_refused() -> None:
    parser = Parser()
    with pytest.raises(ModelBroke):
        for _ in range(MOST_BYTES // 65536 + 2):
            parser.feed(b"x" * 65536)
