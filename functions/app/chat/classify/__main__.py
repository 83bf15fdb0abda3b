"""`python -m app.chat.classify`: reads JSON lines {"text", "has_image"}, writes one JSON line for each.

A line that cannot be read is answered in its place with nulls, "unsure": true and "error", a sentence. `has_image` may
be missing or null: then nobody knows. Lines end with a line feed and nothing else.
"""

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import BinaryIO

from app.assistant.classify.classifier import classify


class _Unreadable(Exception):
    """A line that is no request; the text says why."""


def answers(lines: Iterable[bytes]) -> Iterable[dict[str, object]]:
    """One answer for each line, in order."""
    for line in lines:
        try:
            text, has_image = _request(line)
        except _Unreadable as unreadable:
            yield {
                "task": None,
                "route": None,
                "confidence": 0.0,
                "output_tokens_p50": None,
                "output_tokens_p90": None,
                "unsure": True,
                "error": str(unreadable),
            }
            continue
        found = classify(text, has_image)
        yield {
            "task": found.task,
            "route": found.route,
            "confidence": found.confidence,
            "output_tokens_p50": found.output_tokens_p50,
            "output_tokens_p90": found.output_tokens_p90,
            "output_tokens_p10": found.output_tokens_p10,
            "complexity": found.complexity,
            "unsure": found.unsure,
        }


def _request(line: bytes) -> tuple[str, bool | None]:
    try:
        asked = json.loads(line.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError):
        raise _Unreadable("The line is not JSON in UTF-8.") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("text"), str):
        raise _Unreadable('The line is not an object with a string "text".')
    has_image = asked.get("has_image")
    if has_image is not None and not isinstance(has_image, bool):
        raise _Unreadable('"has_image" is neither true, false nor null.')
    return asked["text"], has_image


def run(source: BinaryIO, target: BinaryIO) -> None:
    """Answers each line of `source` as soon as it has been read."""
    for answer in answers(source):
        target.write(json.dumps(answer).encode() + b"\n")
        target.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        run(sys.stdin.buffer, sys.stdout.buffer)
