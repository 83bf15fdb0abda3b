"""Adds up what a call uses while it runs, from the events of the gateway. Pure.

It measures; who pays for what is decided by `app.metering.billing`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from app.kit.money import MAX_MICRO
from app.kit.stores.documents import Value
from app.models import usage
from app.models.catalogue import Model
from app.models.gateway import Counted, Delta, Thought
from app.models.pricing import PriceBook
from app.models.tokens import lower_bound, too_few
from app.models.usage import BadUsage, Reported, TokenUsage

_DEEPEST: Final = 4
_MOST_FIELDS: Final = 40
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}", re.ASCII)
"""Names of fields; Firestore refuses empty ones and those like `__this__`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a call used by the vendor's count and by ours, each with its price in micro-credits.

    The vendor's count is None when it reported none that can be charged for, or only one side of it. Ours is a lower
    bound, so that nobody pays for a token that was not made. `raw` is the vendor's own report; `price_book` names the
    version of the prices. `doubted`: the report counts less than what was sent or seen can be, so ours stands for it.
    """

    model: str
    reported: TokenUsage | None
    reported_price: int | None
    delivered: TokenUsage
    delivered_price: int
    price_book: str
    raw: Mapping[str, object] = field(default_factory=dict)
    doubted: bool = False


class Meter:
    """Measures one call."""

    def __init__(self, book: PriceBook, model: Model, *, prompt_length: int, max_output_tokens: int) -> None:
        self._book = book
        self._prompt_length = prompt_length
        self._max_output_tokens = max_output_tokens
        self._pieces = 0
        self._length = 0
        self._thought_pieces = 0
        self._thought_length = 0
        self._reported = usage.NOTHING
        self.model = model
        self.raw: Mapping[str, object] = {}
        self.finish: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether any text has come."""
        return self._pieces > 0

    def answered_by(self, model: Model) -> None:
        """Notes which model answers. What an earlier model counted is dropped, unless its text was delivered."""
        self.model = model
        if not self.delivered:
            self._reported, self.raw, self.finish = usage.NOTHING, {}, None
            self._thought_pieces = self._thought_length = 0

    def add(self, delta: Delta) -> None:
        """Counts a piece of delivered text."""
        self._pieces += delta.pieces
        self._length += len(delta.text)

    def think(self, thought: Thought) -> None:
        """Counts a piece of hidden reasoning."""
        self._thought_pieces += thought.pieces
        self._thought_length += thought.length

    def count(self, counted: Counted) -> None:
        """Notes a usage report of the vendor."""
        self._reported = usage.latest(self._reported, counted.reported)
        self.raw = counted.raw

    def spent(self, reserved: int) -> bool:
        """Whether the vendor has exceeded the output limit or the reservation, so that more would not be paid for."""
        if self._written_at_least() > self._max_output_tokens:
            return True
        if self._reported.written is None:
            return False
        price = self._price(self._by_report())
        return price is not None and price > reserved

    def measured(self) -> Measured:
        """What the call has used by now."""
        believed = self._believed()
        whole = believed.read is not None and believed.written is not None
        reported = self._by_report() if whole else None
        price = None if reported is None else self._price(reported)
        delivered = self._by_delivery()
        return Measured(
            model=self.model.id,
            reported=None if price is None else reported,
            reported_price=price,
            delivered=delivered,
            delivered_price=self._book.cost(self.model, delivered),
            price_book=self._book.version,
            raw=self.raw,
            doubted=believed != self._reported,
        )

    def _written_at_least(self) -> int:
        return lower_bound(self._length, self._pieces)

    def _thought_at_least(self) -> int:
        return lower_bound(self._thought_length, self._thought_pieces)

    def _believed(self) -> Reported:
        """The vendor's count without a side that is too low for what was sent or seen: our count stands for that."""
        reads, writes = self._reported.read, self._reported.written
        if reads is not None and too_few(sum(reads), self._prompt_length):
            reads = None
        if writes is not None and too_few(sum(writes), self._length, self._pieces):
            writes = None
        return Reported(reads, writes, self._reported.cache_write if reads is not None else 0)

    def _by_report(self) -> TokenUsage:
        """The vendor's count, with ours for the side (input or output) that it leaves out."""
        believed = self._believed()
        found = believed.complete(
            input_estimate=lower_bound(self._prompt_length), output_estimate=self._written_at_least()
        )
        return found if believed.written is not None else replace(found, reasoning=self._thought_at_least())

    def _by_delivery(self) -> TokenUsage:
        """The prompt and what reached the caller. Of an answer that came to its end that is the vendor's count."""
        found = self._by_report()
        if self.finish is not None and self._believed().written is not None and self._price(found) is not None:
            return found
        return replace(found, output=self._written_at_least(), reasoning=self._thought_at_least(), image=0)

    def _price(self, found: TokenUsage) -> int | None:
        try:
            return self._book.cost(self.model, found)
        except BadUsage:
            return None


def storable(raw: Mapping[str, object], depth: int = 0) -> dict[str, Value]:
    """The part of a vendor's usage report that an entry can hash and store: whole numbers and maps under plain names.

    Anything else is left out, because a settlement that cannot be stored would leave the call unpaid.
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
