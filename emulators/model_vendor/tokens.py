"""A deterministic tokenizer whose counts have the size of a byte-pair encoding's.

Owns how text is cut into tokens and how a chat prompt is counted. Refuses to know models and prices.

Rules: the pieces join to exactly the text; a word is cut into runs of at most six ASCII letters (three for other
alphabets, one for CJK), digits into runs of three, a leading space belongs to the piece it precedes. Every piece
holds at least one character, so a text never has more tokens than UTF-8 bytes. English has about 1.3 per word.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

MESSAGE_OVERHEAD = 4
"""Tokens that frame one message: start, role, separator, end (the vendor's published counting adds as many)."""
REPLY_OVERHEAD = 3
"""Tokens that open the answer, once per request."""
NAME_OVERHEAD = 1
TOOLS_OVERHEAD = 9
"""Tokens that frame the list of tools, once per request that offers any."""
TOOL_CALL_OVERHEAD = 3

CACHE_MINIMUM = 1024
CACHE_BLOCK = 128
"""A prompt prefix is cached from 1024 tokens on, in steps of 128, as the vendor documents for its own cache."""

_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9d"
_PIECE = re.compile(
    rf"[^\S\r\n]?[A-Za-z]{{1,6}}|[{_CJK}]| ?[^\W\d_A-Za-z{_CJK}]{{1,3}}|\d{{1,3}}"
    r"|[ ]?[!-/:-@\[-`{-~]{1,3}|[\r\n]{1,2}|[ \t]{1,8}(?=[ \t]\S)|[ \t]{1,8}|[\s\S]"
)


def split(text: str) -> list[str]:
    """Cut `text` into its tokens; joined they are the text again."""
    return _PIECE.findall(text)


@lru_cache(maxsize=4096)
def count(text: str) -> int:
    """The number of tokens of `text`."""
    return len(_PIECE.findall(text))


def prefix_keys(pieces: Iterable[str], salt: str) -> list[bytes]:
    """One digest per full block of `CACHE_BLOCK` tokens, each covering everything before it."""
    digest = blake2b(salt.encode(), digest_size=12)
    keys: list[bytes] = []
    for position, piece in enumerate(pieces, start=1):
        digest.update(piece.encode("utf-8", "replace") + b"\0")
        if position % CACHE_BLOCK == 0:
            keys.append(digest.copy().digest())
    return keys


class PrefixCache:
    """Remembers prompt prefixes and says how many tokens of a new prompt it has seen before."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._seen: dict[bytes, None] = {}

    def cached_tokens(self, pieces: list[str], salt: str) -> int:
        """How many leading tokens were seen under `salt`; the prompt is remembered for the next call."""
        if len(pieces) < CACHE_MINIMUM:
            return 0
        keys = prefix_keys(pieces, salt)
        hit = 0
        for index, key in enumerate(keys, start=1):
            if key not in self._seen:
                break
            hit = index * CACHE_BLOCK
        self._seen.update(dict.fromkeys(keys))
        while len(self._seen) > self._capacity:
            del self._seen[next(iter(self._seen))]
        return hit if hit >= CACHE_MINIMUM else 0

    def clear(self) -> None:
        """Forget every prefix."""
        self._seen.clear()
