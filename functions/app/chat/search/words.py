"""The words by which a text is found: a bounded set that is stored with it, because Firestore searches no text. Pure.

Words are compared without case, accents and width. A script without spaces between words is cut into pairs of its
characters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

MOST_WORDS: Final = 200
"""Of one text: each is an entry of an index."""
MOST_LETTERS: Final = 24
"""Of one word; what follows is not compared."""
MOST_READ: Final = 8_000
"""Characters of a text that are looked at."""
MOST_ASKED: Final = 8
"""Words of a question that count."""
_LEAST_LETTERS: Final = 2
_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def words(*texts: str) -> list[str]:
    """The first distinct words of texts, within their bounds; each text has its share."""
    found: dict[str, None] = {}
    for number, text in enumerate(texts, 1):
        room = MOST_WORDS * number // len(texts)
        for word in _words(text[:MOST_READ]):
            if len(found) >= room:
                break
            found[word] = None
    return [*found]


def beginnings(title: str) -> list[str]:
    """The words of a title and their beginnings, so that it is found while its reader still writes."""
    found = {
        word[:length]: None for word in _words(title) for length in range(min(_LEAST_LETTERS, len(word)), len(word) + 1)
    }
    return [*found][:MOST_WORDS]


def asked(question: str) -> list[str]:
    """The words of a question, the longest first: it is the rarest, most likely."""
    return sorted(dict.fromkeys(_words(question)), key=len, reverse=True)[:MOST_ASKED]


def excerpt(texts: Sequence[str], sought: Sequence[str], most: int = 160) -> str:
    """A part of the first text in which a sought word stands, around that word."""
    for text in texts:
        for match in _WORD.finditer(text[:MOST_READ]):
            if any(word in sought for word in _words(match.group())):
                start = max(0, match.start() - most // 3)
                return " ".join(text[start : start + most].split())
    return " ".join(texts[0][:most].split())


def _words(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", "".join(one for one in plain if not unicodedata.combining(one)))
    for word in _WORD.findall(plain):
        if _UNSPACED.search(word):
            yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif len(word) >= _LEAST_LETTERS:
            yield word[:MOST_LETTERS]
