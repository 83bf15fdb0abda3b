"""The reader of chunks: what proves that an answer is whole, for chunks that are read in the quick way as well."""

import json

import pytest

from app.models.catalogue import load
from app.models.chunks import ChunkReader, Delta
from app.models.faults import ModelBroke

CATALOGUE = load()
MODEL = CATALOGUE.get("small")


def text(word: str, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": more.pop("finish_reason", None)}
    return {"model": MODEL.vendor_id, "choices": [choice], **more}


def reader_of(*chunks: dict[str, object]) -> ChunkReader:
    reader = ChunkReader(CATALOGUE, MODEL)
    events = [event for chunk in chunks for event in reader.events([(json.dumps(chunk).encode(), b"")])]
    assert [event.text for event in events if isinstance(event, Delta)] == ["a", "b"]
    assert not [*reader.events([(b"[DONE]", b"")])]
    return reader


def test_a_count_before_the_last_text_proves_no_end() -> None:
    """A server that counts with each piece of text may have broken behind a proxy that says [DONE]."""
    counted = text("a", usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})
    with pytest.raises(ModelBroke):
        reader_of(counted, text("b")).end()
    count: dict[str, object] = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    reader_of(counted, text("b"), count).end()


def test_a_finish_before_the_last_text_is_none() -> None:
    reader = ChunkReader(CATALOGUE, MODEL)
    for chunk in (text("a", finish_reason="stop"), text("b")):
        assert [*reader.events([(json.dumps(chunk).encode(), b"")])]
    assert not reader.finished
    with pytest.raises(ModelBroke):
        reader.end()
