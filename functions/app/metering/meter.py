"""What an answer has used so far, and what that makes in the end. Pure arithmetic over what the gateway tells.

Refuses to decide who pays: it measures, `app.metering.billing` decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.kit.documents import Value
from app.kit.money import MAX_MICRO
from app.models import usage
from app.models.catalogue import Model
from app.models.gateway import Counted, Delta
from app.models.pricing import PriceBook
from app.models.tokens import lower_bound
from app.models.usage import BadUsage, TokenUsage

_DEEPEST: Final = 4
_MOST_FIELDS: Final = 40
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}", re.ASCII)
"""Names of fields; Firestore refuses empty ones and those like `__this__`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was used by the vendor's count and by ours, each with its price; the vendor's is None when it told none.

    Ours is a lower bound wherever the vendor's cannot serve: nobody pays for a token that was not made.
    """

    reported: TokenUsage | None
    reported_price: int | None
    delivered: TokenUsage
    delivered_price: int


class Meter:
    """One per answer."""

    def __init__(self, book: PriceBook, model: Model, *, prompt_length: int, max_output_tokens: int) -> None:
        self._book = book
        self._prompt_length = prompt_length
        self._max_output_tokens = max_output_tokens
        self._pieces = 0
        self._length = 0
        self._reported = usage.NOTHING
        self.model = model
        self.raw: Mapping[str, object] = {}
        self.finish: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether any text came."""
        return self._pieces > 0

    def answered_by(self, model: Model) -> None:
        """Who answers; what an earlier try counted before it gave any text is not this answer's."""
        self.model = model
        if not self.delivered:
            self._reported, self.raw, self.finish = usage.NOTHING, {}, None

    def add(self, delta: Delta) -> None:
        """More text came."""
        self._pieces += delta.pieces
        self._length += len(delta.text)

    def count(self, counted: Counted) -> None:
        """A usage report came."""
        self._reported = usage.latest(self._reported, counted.reported)
        self.raw = counted.raw

    def spent(self, reserved: int) -> bool:
        """Whether the vendor went beyond what it was allowed, so that going on would not be paid."""
        if self._written_at_least() > self._max_output_tokens:
            return True
        if self._reported.written is None:
            return False
        price = self._price(self._by_report())
        return price is not None and price > reserved

    def measured(self) -> Measured:
        """The final figures."""
        reported = self._by_report() if self._reported != usage.NOTHING else None
        price = None if reported is None else self._price(reported)
        delivered = self._by_delivery()
        return Measured(
            reported=None if price is None else reported,
            reported_price=price,
            delivered=delivered,
            delivered_price=self._book.cost(self.model, delivered),
        )

    def _written_at_least(self) -> int:
        return lower_bound(self._length, self._pieces)

    def _by_report(self) -> TokenUsage:
        """The vendor's count; a side that it leaves out is ours."""
        return self._reported.complete(
            input_estimate=lower_bound(self._prompt_length), output_estimate=self._written_at_least()
        )

    def _by_delivery(self) -> TokenUsage:
        """The prompt and what reached the caller: all that the vendor counted when it came to its end."""
        found = self._by_report()
        if self.finish is not None and self._reported.written is not None and self._price(found) is not None:
            return found
        return TokenUsage(input=found.input, cached_input=found.cached_input, output=self._written_at_least())

    def _price(self, found: TokenUsage) -> int | None:
        try:
            return self._book.cost(self.model, found)
        except BadUsage:
            return None


def storable(raw: Mapping[str, object], depth: int = 0) -> dict[str, Value]:
    """A vendor's usage report as an entry can hash and store it: whole numbers and maps of them under plain names.

    Whatever else a vendor thinks of is left out, because it would leave the answer unsettled.
    """
    kept: dict[str, Value] = {}
    for name, value in raw.items():
        if not _PLAIN.fullmatch(name) or len(kept) == _MOST_FIELDS:
            continue
        if type(value) is int:
            kept[name] = value if abs(value) <= MAX_MICRO else str(value)
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            kept[name] = storable(value, depth + 1)
    return kept
