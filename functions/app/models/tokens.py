"""Token counts that need no vendor's tokenizer: what a text has at most, at least, in practice and by estimate.

The upper bound sizes the reservation before a call. The estimate is charged when the vendor's own count is missing
after it. Both are held against recorded counts of real tokenizers in `tests/models/golden`. Refuses to know prices.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final

PER_MESSAGE: Final = 8
"""Tokens that frame one message: role, separators, end. OpenAI documents 3-4, others up to 6; a margin on top."""
PER_REQUEST: Final = 16
"""Tokens that open the answer, once per request. A template that adds more says so in the catalogue."""
LEAST_PER_MESSAGE: Final = 2
"""The fewest tokens with which any known chat template frames a message."""

LONGEST_TOKEN: Final = 128
"""Characters of the longest token of the common vocabularies: a run of 128 spaces."""

_FORMS: Final = ("NFC", "NFKC")
"""Normal forms that SentencePiece tokenizers bring a text into first; some characters become several."""


def upper_bound(texts: Iterable[str]) -> int:
    """More tokens than any tokenizer makes of a prompt with one message per text.

    A byte-level BPE and a byte-fallback tokenizer make at most one token per UTF-8 byte of the text as it is, or as it
    is once normalised.
    """
    return PER_REQUEST + sum(_most_bytes(text) + PER_MESSAGE for text in texts)


def likely(texts: Iterable[str]) -> int:
    """More tokens than a prompt has in practice: two for three bytes.

    It decides how much of a conversation is sent; random bytes or digits may be more. Money never rests on it.
    """
    return PER_REQUEST + sum(-(-_bytes(text) * 2 // 3) + PER_MESSAGE for text in texts)


def least(texts: Iterable[str]) -> int:
    """The estimate of a prompt with one message per text, with the least framing."""
    return sum(estimate(text) + LEAST_PER_MESSAGE for text in texts)


UNSEEN_PROMPT: Final = 4096
"""What a vendor may put before a prompt unasked and count: instructions, descriptions of tools, a template. It charges
for them; no published instructions of a vendor's API that we know of are longer.
"""


def at_least(length: int, pieces: int) -> int:
    """Tokens that `length` characters in `pieces` non-empty pieces have whatever the tokenizer.

    A vendor never splits one token over two pieces that both hold text. A proxy may cut text into letters, so pieces
    count only as far as four characters come with each.
    """
    return max(min(pieces, length // 4), length // LONGEST_TOKEN)


def too_few(counted: int, length: int, pieces: int = 0) -> bool:
    """Whether text of `length` characters, in `pieces` non-empty pieces, cannot have so few tokens as were reported.

    Far below `estimate`, so that it holds for runs of blanks, and for proxies that cut an answer into letters. A report
    that is a little too low is believed, because who doubts it would charge more than the vendor counted.
    """
    if not length:
        return False
    return counted < max(1, min(pieces, length // 4) // 4, length // LONGEST_TOKEN)


def too_many(counted: int, most: int, unknown: int = 512) -> bool:
    """Whether a report counts more than the `most` that can be, with a quarter and `unknown` tokens for what is not
    known here. Of a prompt these are `UNSEEN_PROMPT`.
    """
    return counted > most + most // 4 + unknown


def estimate(text: str) -> int:
    """About as many tokens as the most economical common tokenizer makes of `text`, and rarely more.

    It counts the pieces into which the tokenizers of OpenAI, Meta and Alibaba cut a text before they merge bytes, since
    no token spans two of them (`pat_str` in https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py).
    A long piece counts as several, by its script.
    """
    return sum(_COUNTS[match.lastgroup or ""](match.group()) for match in _PIECE.finditer(text))


def without_pictures(text: str) -> str:
    """A model's text without the pictures that it wrote as `data:` URLs: a vendor counts those by their size."""
    return _PICTURE.sub("", text) if "data:image/" in text else text


_PICTURE: Final = re.compile(r"data:image/[\w.+-]*;base64,[A-Za-z0-9+/=]*")
_WIDE: Final = (
    "\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u9fff"
    "\ua960-\ua97f\uac00-\ud7af\uf900-\ufaff\uff66-\uff9d"
)
"""Scripts that write without spaces or in syllables: Han, kana, Hangul."""
_MARKS: Final = "\u0300-\u036f\u0483-\u0489\u0590-\u05cf\u0610-\u061a\u064b-\u065f\u0900-\u109f\u200c\u200d"
"""Signs within words that are no letters: accents, vowel points, the Indic vowels."""
_PIECE: Final = re.compile(
    rf"(?P<wide>[{_WIDE}]+)"
    r"|(?P<digits>\d+)"
    rf"|(?P<word>(?:[^\W\d_{_WIDE}]|[{_MARKS}])+(?:['’](?:s|t|re|ve|m|ll|d)(?![^\W\d_]))?)"
    r"|(?P<space>\s{2,}|[\r\n])"
    # A single sign before letters is part of their piece, and line ends belong to the signs before them.
    r"|(?P<mark>(?:[^\w\s]|_)(?![^\W\d_])(?:[^\w\s]|_)*[\r\n]*)"
)


def _wide(piece: str) -> int:
    hangul = piece[0] >= "\uac00"
    return max(1, len(piece) // 2 if hangul else len(piece) * 9 // 16)


def _word(piece: str) -> int:
    return 1 + (len(piece) - 1) // _letters_per_token(piece)


def _letters_per_token(word: str) -> int:
    first = ord(word[0])
    if word.isascii() or (first < 0x250 and len(word) < 6):
        return 20
    if 0x400 <= first < 0x530:
        return 7
    return 3 if 0xE00 <= first < 0xF00 else 5


_COUNTS: Final[Mapping[str, Callable[[str], int]]] = {
    "wide": _wide,
    "digits": lambda piece: -(-len(piece) // 3),
    "word": _word,
    "space": lambda piece: 1 + len(piece) // LONGEST_TOKEN,
    "mark": lambda piece: 1 + len(piece) // LONGEST_TOKEN,
}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _most_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    return max(_bytes(text), *(_bytes(unicodedata.normalize(form, text)) for form in _FORMS))
