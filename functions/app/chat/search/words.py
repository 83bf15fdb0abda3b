"""The words by which a text is found: a bounded set that is stored with it, because Firestore searches no text. Pure.

What is stored and what is asked goes through the same function, and is compared without case, accents, width and what
cannot be seen. Vowel signs belong to their word. A script without spaces between words is cut into pairs of its
characters, wherever it stands beside another; single ones are stored too. A sign such as an emoji is a word.
"""

import functools
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Literal

MOST_WORDS: Final = 200
"""Of one text, or of several together: each is an entry of an index."""
MOST_SINGLES: Final = 100
"""Characters of scripts without spaces that are stored alone, besides."""
MOST_LETTERS: Final = 24
"""Of one word; what follows is not compared."""
MOST_READ: Final = 8_000
"""Characters of a text that are looked at."""
MOST_ASKED: Final = 8
"""Words of a question that count."""
_PIECE: Final = re.compile(r"\S+")
_ASCII_WORD: Final = re.compile(r"\w+", re.ASCII)
_STEP: Final = 16
_UNSPACED: Final = frozenset(
    (
        *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HENTAIGANA", "YI"),
        *("THAI", "LAO", "KHMER", "MYANMAR", "TAI", "JAVANESE"),
    )
)
"""Scripts without spaces between words, by the first word of the names of their characters."""
_UNSEEN: Final = ("VARIATION SELECTOR", "GRAPHEME JOINER", "FILLER", "EMOJI MODIFIER", "ARABIC TATWEEL")
_IDEOGRAPHS: Final = range(0x20000, 0x40000)
"""The planes that Unicode keeps for ideographs, also for those that this Python does not know yet."""
_Kind = Literal["unseen", "letter", "unspaced", "mark", "sign", "gap"]


def words(*texts: str) -> list[str]:
    """The first distinct words of texts, within their bounds; each text has its share."""
    found: dict[str, None] = {}
    singles: dict[str, None] = {}
    for number, text in enumerate(texts, 1):
        room = MOST_WORDS * number // len(texts)
        for word, alone in _words(text[:MOST_READ]):
            if len(found) >= room:
                break
            if not alone:
                found[word] = None
            elif len(singles) < MOST_SINGLES * number // len(texts):
                singles[word] = None
    return [*{**found, **singles}]


def beginnings(title: str) -> list[str]:
    """The words of a title and their beginnings, so that it is found while its reader still writes."""
    found = {
        word[:length]: None
        for word, _ in _words(title[:MOST_READ])
        for length in range(min(2, len(word)), len(word) + 1)
    }
    return [*found][:MOST_WORDS]


def asked(question: str) -> list[str]:
    """The words of a question, the longest first: it is the rarest, most likely."""
    distinct = dict.fromkeys(word for word, alone in _words(question[:MOST_READ]) if not alone)
    return sorted(distinct, key=len, reverse=True)[:MOST_ASKED]


def has_all(sought: Collection[str], stored: Collection[str], *texts: str) -> bool:
    """Whether all words that are sought are stored, or, of single letters, stand in the texts.

    Single letters were not stored before 2026-12.
    """
    missing = {*sought} - {*stored}
    return not missing or (all(len(word) == 1 for word in missing) and missing <= {*words(*texts)})


def excerpt(texts: Sequence[str], sought: Sequence[str], most: int = 160) -> str:
    """A part of the first text in which a sought word stands, around that word."""
    for text in texts:
        at = _place(text[:MOST_READ], sought)
        if at is not None:
            start = max(0, at - most // 3)
            return " ".join(text[start : start + most].split())
    return " ".join(texts[0][:most].split())


def _place(text: str, sought: Sequence[str]) -> int | None:
    """About where the first sought word stands."""
    for match in _PIECE.finditer(text):
        piece = match.group()
        if _has_any(piece, sought):
            parts = range(0, len(piece), _STEP)
            within = (at for at in parts if _has_any(piece[at : at + _STEP + MOST_LETTERS], sought))
            return match.start() + next(within, 0)
    return None


def _has_any(text: str, sought: Sequence[str]) -> bool:
    return any(word in sought for word, _ in _words(text))


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """The words in their order, and whether one is a single character that its pairs stand for as well."""
    pieces = [text] if text.isascii() else _PIECE.findall(text)
    for piece in pieces:
        if piece.isascii():
            yield from ((word[:MOST_LETTERS], False) for word in _ASCII_WORD.findall(piece.lower()))
        else:
            for kind, run in _runs(piece):
                yield from _pairs(run) if kind == "unspaced" else [("".join(run)[:MOST_LETTERS], False)]


def _pairs(run: Sequence[str]) -> Iterator[tuple[str, bool]]:
    if len(run) == 1:
        yield run[0][:MOST_LETTERS], False
        return
    for number, one in enumerate(run):
        if number + 1 < len(run):
            yield (one + run[number + 1])[:MOST_LETTERS], False
        yield one[:MOST_LETTERS], True


def _runs(piece: str) -> Iterator[tuple[_Kind, list[str]]]:
    """The stretches of letters of one kind. Each part of a stretch is a character with its marks."""
    run: list[str] = []
    was: _Kind = "gap"
    for one in _folded(piece):
        kind = _kind(one)
        if kind == "mark" and run:
            run[-1] += one
            continue
        kind = "letter" if kind == "mark" else kind
        if run and (kind != was or kind == "sign"):
            yield was, run
            run = []
        if kind != "gap":
            run.append(one)
        was = kind
    if run:
        yield was, run


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).replace("ı", "i")
    return unicodedata.normalize("NFC", "".join(one for one in plain if _kind(one) != "unseen"))


@functools.lru_cache(maxsize=8_192)
def _kind(one: str) -> _Kind:
    """What a character is to a word. Accents, points of Hebrew and Arabic and voicing marks of kana count as unseen."""
    category, name = unicodedata.category(one), unicodedata.name(one, "")
    above = unicodedata.combining(one)
    if category in ("Cf", "Me") or above == 8 or 10 <= above <= 36 or above >= 200:
        return "unseen"
    if any(part in name for part in _UNSEEN):
        return "unseen"
    if ord(one) in _IDEOGRAPHS or (category[0] == "L" and re.split("[ -]", name)[0] in _UNSPACED):
        return "unspaced"
    if category[0] in "LN" or one == "_":
        return "letter"
    if category[0] == "M":
        return "mark"
    return "sign" if category == "So" else "gap"
