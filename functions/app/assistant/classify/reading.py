"""What the classifier sees of a prompt: its pieces (words or parts of words) and its shape (counts of signs).

The training script reads prompts with these same functions, so that a model never sees other features than those it was
trained on. Letter case and outer white space are not seen. Of a long text only its beginning and its end are read.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from typing import Final

BEGINS: Final = "\u2581"
"""Marks a piece that begins a word, as in SentencePiece vocabularies."""

_HEAD, _TAIL = 1500, 500
_LONGEST_PIECE: Final = 10
_MARKS: Final = r"\u0300-\u036f\u0591-\u05c7\u064b-\u0670\u0900-\u0963\u0971-\u109f\u17b4-\u17d3\u200c\u200d"
"""Signs that stand inside the words of Indic, Thai, Hebrew and Arabic text though they are no letters for `re`."""
_WORDS: Final = re.compile(rf"(?:[^\W\d_]|[{_MARKS}])+|\d+|[^\w\s]|_")

_SIGNS: Final = "{}()[];=<>_/\\$`\"',:?!#*%+-|&@."
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_COUNTED: Final = (
    re.compile(r"[?？؟]"),
    re.compile(r"(?:^|\s)\(?[A-Ea-e][).]", re.MULTILINE),  # options of a multiple choice
    re.compile(r"\\[a-zA-Z]+"),  # commands of TeX
    re.compile(r"\w\.(?:csv|tsv|xlsx?|json|parquet|sqlite|db|xml)\b", re.IGNORECASE),
    re.compile(r"\w\.(?:py|js|ts|jsx|tsx|html?|css|java|cpp|rs|go|vue|md|php|rb|sh|ya?ml|toml)\b", re.IGNORECASE),
    re.compile(r"[a-z][A-Z]\w|\w_\w"),  # names as programs have them
    re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])\s", re.MULTILINE),  # items of a list
    re.compile(r"^(?: {2,}|\t)", re.MULTILINE),  # indented lines
    re.compile(r"\w\("),  # calls
)
_PRESENT: Final = (
    re.compile(r"```"),
    re.compile(r"https?://|www\."),
    re.compile(r"\b(?:19|20)\d\d\b"),
    re.compile(r"[$€£¥₹]\s?\d|\d\s?[€£%]"),
)
_QUOTES: Final = re.compile(r"[\"“”„「」『』«»]")
_COMMAS: Final = re.compile(r"[,，、،]")

SHAPE_SIZE: Final = 4 + len(_SIGNS) + 3 + 1 + len(_COUNTED) + len(_PRESENT) + 2


def excerpt(text: str) -> str:
    """The part of a prompt that is read: all of it, or the beginning and the end of a long one."""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    return unicodedata.normalize("NFKC", text)[: 2 * (_HEAD + _TAIL)].strip()


def pieces(read: str, find: Callable[[str], int]) -> list[int]:
    """The numbers of an excerpt's pieces in order. `find` has the number of a piece, -1 when there is none.

    Digits become zeros, and a number at most five of them.
    """
    found: list[int] = []
    for word in _WORDS.findall(read.lower()):
        if word[0].isdigit():
            found.append(find("0" * min(len(word), 5)))
            continue
        whole = find(BEGINS + word)
        if whole >= 0:
            found.append(whole)
        elif len(word) == 1:
            found.append(find(word))
        else:
            found += _parts(word, find)
    return [piece for piece in found if piece >= 0]


def _parts(word: str, find: Callable[[str], int]) -> list[int]:
    """A word cut from the left into the longest known pieces; characters that no piece has are passed over."""
    found: list[int] = []
    start, end = 0, len(word)
    while start < end:
        for stop in range(min(end, start + _LONGEST_PIECE), start, -1):
            part = word[start:stop]
            piece = find(part if start else BEGINS + part)
            if piece < 0 and not start:
                piece = find(part)
            if piece >= 0:
                found.append(piece)
                break
        else:
            stop = start + 1
        start = stop
    return found


def shape(read: str) -> list[float]:
    """`SHAPE_SIZE` numbers about the form of an excerpt. No word of any language is among them."""
    length, words = len(read) or 1, len(read.split()) or 1
    lines = sum(1 for line in read.split("\n") if line.strip()) or 1
    numbers = _NUMBER.findall(read)
    found = [math.log1p(length), math.log1p(words), math.log1p(lines), length / words if words > 3 else 5.0]
    found += [math.sqrt(read.count(sign) / length) for sign in _SIGNS]
    found += [math.sqrt(sum(map(len, numbers)) / length), math.log1p(len(numbers))]
    found += [math.log1p(len(numbers)) / math.log1p(words + 1), float(read[-1:] in {"?", "؟"})]
    found += [math.log1p(len(pattern.findall(read))) for pattern in _COUNTED]
    found += [float(pattern.search(read) is not None) for pattern in _PRESENT]
    found += [len(_QUOTES.findall(read)) / math.sqrt(length), len(_COMMAS.findall(read)) / words]
    return found
