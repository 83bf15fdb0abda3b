"""Adds up what a call uses while it runs, from the events of the gateway. Pure.

It measures; who pays for what is decided by `app.metering.billing`.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from app.kit.money import MAX_MICRO
from app.kit.stores.documents import Value
from app.metering.quote import Granted
from app.models import usage
from app.models.catalogue import Model
from app.models.gateway import CallPiece, Counted, Delta, Thought
from app.models.pricing import PriceBook
from app.models.tokens import UNSEEN_PROMPT, at_least, estimate, least, too_few, too_many, upper_bound, without_pictures
from app.models.usage import BadUsage, Reported, TokenUsage

_UNSEEN: Final = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf"))
"""Unicode's categories of what does not show."""
_DEEPEST: Final = 4
_MOST_FIELDS: Final = 40
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}", re.ASCII)
"""Names of fields; Firestore refuses empty ones and those like `__this__`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a call used by the vendor's count and by ours, each with its price in micro-credits.

    The vendor's count is None when it reported none that can be charged for, or only one side of it. Ours is an
    estimate that is rarely above the truth. `raw` is the vendor's own report; `price_book` names the version of the
    prices. `doubted`: the report counts less than what was sent or seen can be, or more, so ours stands for it.
    `undeclared`: it counts hidden reasoning, of which the catalogue says nothing for this model.
    """

    model: str
    reported: TokenUsage | None
    reported_price: int | None
    delivered: TokenUsage
    delivered_price: int
    price_book: str
    raw: Mapping[str, object] = field(default_factory=dict)
    doubted: bool = False
    undeclared: bool = False


class Meter:
    """Measures one call. `prompt` holds the texts of its messages, which have so many `images`."""

    def __init__(
        self, book: PriceBook, model: Model, *, prompt: Sequence[str], granted: Granted, images: int = 0
    ) -> None:
        self._book = book
        self._prompt = prompt
        self._images = images
        self._granted = granted
        self._texts: list[str] = []
        self._pieces = 0
        self._length = 0
        self._thought_pieces = 0
        self._thought_length = 0
        self._legible = False
        self._calls: list[str] = []
        self._missed = False
        self._at_most = 0
        """Not fewer output tokens than `_written`: of the text in `_uncounted` one for each character."""
        self._uncounted: list[Delta] = []
        self._reported = usage.NOTHING
        self.model = model
        self.raw: Mapping[str, object] = {}
        self.finish: str | None = None

    @property
    def text(self) -> str:
        """The text that has come."""
        return "".join(self._texts)

    @property
    def delivered(self) -> bool:
        """Whether any text has come."""
        return self._pieces > 0

    @property
    def legible(self) -> bool:
        """Whether a character has come that shows: one that is no blank and no control or format character."""
        return self._legible

    @property
    def called(self) -> bool:
        """Whether a tool call has come."""
        return bool(self._calls)

    @property
    def visible(self) -> bool:
        """Whether something has come that is of use: a character that shows, or a tool call."""
        return self._legible or self.called

    def answered_by(self, model: Model) -> None:
        """Notes which model answers. What an earlier model counted is dropped, unless its text was delivered.

        It costs what the price book says, which may be an older one than that by which the model was asked.
        """
        self.model = self._book.catalogue.models.get(model.id, model)
        if not self.delivered:
            self._reported, self.raw, self.finish = usage.NOTHING, {}, None
            self._thought_pieces = self._thought_length = 0

    def add(self, delta: Delta) -> None:
        """Counts a piece of delivered text."""
        self._texts.append(delta.text)
        self._legible = self._legible or any(unicodedata.category(one) not in _UNSEEN for one in delta.text)
        self._pieces += delta.pieces
        self._uncounted.append(delta)
        self._at_most += len(delta.text)
        self._length += len(delta.text)

    def call(self, piece: CallPiece) -> None:
        """Counts a piece of a tool call, which is delivered as text is."""
        written = piece.name + piece.arguments
        self._calls.append(written)
        self._pieces += 1
        self._at_most += estimate(written) + 1
        self._length += len(written)

    def think(self, thought: Thought) -> None:
        """Counts a piece of hidden reasoning."""
        self._thought_pieces += thought.pieces
        self._thought_length += thought.length

    def miss(self) -> None:
        """Notes that the vendor wrote text after the caller had left, so its count is of more than was delivered."""
        self._missed = True

    def count(self, counted: Counted) -> None:
        """Notes a usage report of the vendor."""
        self._reported = usage.latest(self._reported, counted.reported)
        self.raw = counted.raw

    @property
    def cut(self) -> bool:
        """Whether the answer may be shorter than wanted because more would not be paid for."""
        return self._granted.cuts(self.model)

    def spent(self, reserved: int) -> bool:
        """Whether the vendor has exceeded the output limit, or by its own count what is reserved."""
        if at_least(self._length, self._pieces) > self._granted.limit(self.model):
            return True
        return self.counted_price > reserved

    @property
    def counts(self) -> bool:
        """Whether the vendor has counted any output by now."""
        return self._reported.written is not None

    @property
    def counted_price(self) -> int:
        """What has come costs by the vendor's count, in micro-credits; 0 while there is none of its output."""
        believed = self._believed()
        return 0 if believed.written is None else self._price(self._completed(believed)) or 0

    @property
    def written(self) -> int:
        """Our count of the output that has come, hidden reasoning included."""
        return self._written() + self._thought_at_least()

    def wrote_more_than(self, tokens: int) -> bool:
        """Whether more output than this has come by our count, which is rarely above the truth.

        It is asked with every piece, so text is counted only when its characters are too many, and the whole of it only
        when the counts of its parts are.
        """
        most = tokens - self._thought_at_least()
        if self._at_most <= most:
            return False
        if self._uncounted:
            new = "".join(one.text for one in self._uncounted)
            self._at_most += max(estimate(new), sum(one.pieces for one in self._uncounted)) + 1 - len(new)
            self._uncounted.clear()
            if self._at_most <= most:
                return False
        self._at_most = self._written()
        self._uncounted.clear()
        return self._at_most > most

    def measured(self) -> Measured:
        """What the call has used by now."""
        believed = self._believed()
        completed = self._completed(believed)
        whole = believed.read is not None and believed.written is not None
        reported = completed if whole else None
        price = None if reported is None else self._price(reported)
        delivered = self._by_delivery(believed, completed)
        return Measured(
            model=self.model.id,
            reported=None if price is None else reported,
            reported_price=price,
            delivered=delivered,
            delivered_price=self._book.cost(self.model, delivered),
            price_book=self._book.version,
            raw=self.raw,
            doubted=believed != self._reported,
            undeclared=completed.reasoning > 0 and not self._thought_pieces and not self.model.can("reasoning"),
        )

    def _written(self) -> int:
        """Our count of the text and the tool calls that have come."""
        written, called = without_pictures(self.text), "".join(self._calls)
        return max(at_least(len(written) + len(called), self._pieces), estimate(written) + estimate(called))

    def _thought_at_least(self) -> int:
        return at_least(self._thought_length, self._thought_pieces)

    def _believed(self) -> Reported:
        """The vendor's count without a side that cannot be: our count stands for that.

        It is too low for what was sent or seen, or too high for what was sent or for the limit that was sent (T-101).
        """
        reads, writes = self._reported.read, self._reported.written
        if reads is not None and too_few(sum(reads), self._prompt_length):
            reads = None
        if reads is not None and sum(reads) > UNSEEN_PROMPT and too_many(sum(reads), self._most_read(), UNSEEN_PROMPT):
            reads = None
        if writes is not None and too_few(sum(writes), self._length, self._pieces):
            writes = None
        if writes is not None and too_many(sum(writes), self._granted.limit(self.model)):
            writes = None
        return Reported(reads, writes, self._reported.cache_write if reads is not None else 0)

    def _most_read(self) -> int:
        """The most input tokens that the model can have been sent."""
        return self._most_text + self.model.prompt_overhead_tokens + self._images * self.model.image_input_tokens

    @cached_property
    def _prompt_length(self) -> int:
        return sum(map(len, self._prompt))

    @cached_property
    def _least_text(self) -> int:
        return least(self._prompt)

    @cached_property
    def _most_text(self) -> int:
        return upper_bound(self._prompt)

    def _completed(self, believed: Reported) -> TokenUsage:
        """The vendor's count, with ours for the side (input or output) that it leaves out."""
        found = believed.complete(
            input_estimate=0 if believed.read is not None else self._least_text,
            output_estimate=0 if believed.written is not None else self._written(),
        )
        return found if believed.written is not None else replace(found, reasoning=self._thought_at_least())

    def _by_delivery(self, believed: Reported, completed: TokenUsage) -> TokenUsage:
        """The prompt, what was thought and what reached the caller: the vendor's own count when all of its text did."""
        whole = self.finish is not None and not self._missed
        if whole and believed.written is not None and self._price(completed) is not None:
            return completed
        return replace(completed, output=self._written(), image=0)

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
