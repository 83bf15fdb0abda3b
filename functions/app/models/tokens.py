"""Bounds on token counts that need no vendor's tokenizer.

Before the call an upper bound sizes the reservation: a byte-level BPE never makes more tokens than there are UTF-8
bytes. After a stream that ended without usage, a lower bound sizes the charge: an estimated charge never contains a
token that was not made. Refuses to know prices.
"""

from collections.abc import Iterable
from typing import Final

PER_MESSAGE: Final = 8
"""Tokens that frame one message: role, separators, end. OpenAI documents 3-4, others up to 6; a margin on top."""
PER_REQUEST: Final = 16
"""Tokens that open the answer, once per request."""

MOST_LETTERS_PER_TOKEN: Final = 8
"""No natural text averages more characters per token: English and Russian have 4-5, code and Hindi 3-4, CJK 1-2 under
the common vocabularies. Bytes are no measure: one token of Hindi has a dozen."""


def upper_bound(texts: Iterable[str]) -> int:
    """More tokens than any byte-level tokenizer makes of a prompt with one message per text."""
    return PER_REQUEST + sum(len(text.encode("utf-8", "surrogatepass")) + PER_MESSAGE for text in texts)


MOST_LETTERS_OF_ONE_TOKEN: Final = 128
"""No vocabulary in use has a longer token: the longest are runs of blanks (o200k has one of 128)."""


def lower_bound(length: int, pieces: int = 0) -> int:
    """The least number of tokens in `length` characters that arrived in `pieces` non-empty pieces.

    A vendor never splits one token over two pieces that both hold text, so each piece is at least one token. Where a
    piece holds many tokens, the length gives the better bound.
    """
    return max(pieces, length // MOST_LETTERS_PER_TOKEN)


def too_few(counted: int, length: int, pieces: int = 0) -> bool:
    """Whether text of `length` characters, in `pieces` non-empty pieces, cannot have so few tokens as were reported.

    Far below `lower_bound`, so that it holds for runs of blanks, and for proxies that cut an answer into letters. A
    report that is a little too low is believed, because who doubts it would charge more than the vendor counted.
    """
    if not length:
        return False
    return counted < max(1, min(pieces, length // 4) // 4, length // MOST_LETTERS_OF_ONE_TOKEN)
