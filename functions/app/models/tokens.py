"""Bounds on token counts that need no vendor's tokenizer.

Before the call an upper bound sizes the reservation: a byte-level BPE never makes more tokens than there are UTF-8
bytes. After a stream that ended without usage, a lower bound sizes the charge: whoever is charged by estimate never
pays for a token that was not made. Refuses to know prices.
"""

from collections.abc import Iterable
from typing import Final

PER_MESSAGE: Final = 8
"""Tokens that frame one message: role, separators, end. OpenAI documents 3-4, others up to 6; a margin on top."""
PER_REQUEST: Final = 16
"""Tokens that open the answer, once per request."""

MOST_LETTERS_PER_TOKEN: Final = 8
"""No natural text averages more characters per token: English and Russian have 4-5, code and Hindi 3-4, CJK 1-2 under
the common vocabularies. Bytes would mislead: a dozen of them are one token of Hindi."""


def upper_bound(texts: Iterable[str]) -> int:
    """More tokens than any byte-level tokenizer makes of a prompt with one message per text."""
    return PER_REQUEST + sum(len(text.encode("utf-8", "surrogatepass")) + PER_MESSAGE for text in texts)


def lower_bound(length: int, pieces: int = 0) -> int:
    """At least so many tokens are in `length` characters of text that came in `pieces` non-empty pieces.

    A vendor never splits one token over two pieces that both hold text, so pieces count; a vendor that sends many
    tokens a piece is caught by the length.
    """
    return max(pieces, length // MOST_LETTERS_PER_TOKEN)
