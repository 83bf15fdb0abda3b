"""Prompts in many scripts, and what the vendor's own tokenizer makes of them. Our code has no part in it.

The texts and counts are those that two real tokenizers were asked for (`tests/models/golden/token_counts.json`). What
stands around them is counted generously, and no token reaches from one piece into the next.
"""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).parents[2] / "models" / "golden" / "token_counts.json"
_GOLDEN: Final = {row["what"]: row for row in json.loads(_FILE.read_text())["samples"]}
_NEWLINE: Final = "\n"


def _least(row: dict[str, object]) -> int:
    return min(int(str(row["o200k_base"])), int(str(row["cl100k_base"])))


def _text(row: dict[str, object]) -> str:
    return str(row["text"]) * int(str(row["times"]))


_GROWS: Final = "\ufdfa" * 100
"""An Arabic phrase in one character: a tokenizer that normalises makes 33 bytes of it."""
_LONG_TIMES: Final = 500
_LONG: Final = _text(_GOLDEN["chinese prose"]) * _LONG_TIMES
"""More bytes than a model of 128,000 tokens has room for, and far fewer tokens."""

SAMPLES: Final = {
    **{name: _text(row) for name, row in _GOLDEN.items() if _NEWLINE not in _text(row)},
    "grows": _GROWS,
    "long": _LONG,
}
"""By name; none holds a line end, so that what is written behind one is not part of it."""
_COUNTS: Final = {
    **{SAMPLES[name]: _least(row) for name, row in _GOLDEN.items() if name in SAMPLES},
    _GROWS: len(unicodedata.normalize("NFKC", _GROWS).encode()),
    _LONG: _least(_GOLDEN["chinese prose"]) * _LONG_TIMES,
}


def question(name: str, tail: str) -> str:
    """A question that begins with a sample."""
    return f"{SAMPLES[name]}{_NEWLINE}{tail}"


def blank(question: str) -> bool:
    """Whether a question begins with a sample of white space."""
    return not question.partition(_NEWLINE)[0].strip()


def counted(text: str) -> int:
    """Tokens of a text."""
    sample, newline, tail = text.partition(_NEWLINE)
    if newline and sample in _COUNTS:
        return _COUNTS[sample] + 1 + len(tail.encode()) // 2
    return max(1, len(text.encode()) // 2)


def prompt(texts: Sequence[str]) -> int:
    """Tokens of a prompt with one message per text."""
    return sum(counted(text) + 4 for text in texts) + 3


def most(texts: Sequence[str]) -> int:
    """The most that any tokenizer can make of a prompt: a token a byte, in whatever normal form is longest.

    A message is framed with at most 8 tokens, and a request with 16.
    """
    return 16 + sum(8 + max(_bytes(text, form) for form in ("", "NFC", "NFKC")) for text in texts)


def _bytes(text: str, form: str) -> int:
    if text.isascii():
        return len(text)
    normal = {"NFC": "NFC", "NFKC": "NFKC"}
    return len((unicodedata.normalize(form, text) if form in normal else text).encode())  # type: ignore[arg-type]  # two of its four forms
