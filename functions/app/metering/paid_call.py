"""A paid call and what it cost in the end, as the values that reserving, settling and sweeping share. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.api.auth import Principal
from app.credits.public import Reference, Spender, limits
from app.kit.stores.documents import Value


def reservation_id(owner_id: str, attempt: int) -> str:
    """Differs per attempt, so that a second attempt never meets the first one's resolved reservation (T-11)."""
    return f"{owner_id}.{attempt}"


def spender_of(who: Principal) -> Spender | None:
    """The API key by which a caller asks; None for one that sent an ID token."""
    return Spender(who.api_key, limits(who.budgets)) if who.api_key else None


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One attempt at a call, made for the owner's document at `path`.

    `reference` names the owner on reservation and entry. `purpose`, such as `chat`, and `labels` (ids by name) are what
    analytics group charges by. The owner's document must hold `reservation_id` in a field of that name: a late end and
    the sweep tell by it whose attempt the document shows. `spender` is the API key that asks, whose budgets bound it.
    """

    account: str
    purpose: str
    reference: Reference
    path: str
    attempt: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    spender: Spender | None = None

    @property
    def reservation_id(self) -> str:
        """The id of this attempt's reservation."""
        return reservation_id(self.reference.id, self.attempt)

    def usage(self, model: str, **counted: Value) -> dict[str, Value]:
        """The `usage` of the entry that charges this call: what analytics group by, and what was counted."""
        key = {} if self.spender is None else {"api_key": self.spender.api_key}
        return {"model": model, "task": self.purpose, **self.labels, **key, **counted}


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call cost in the end. `cost` and `available` are micro-credits, `usage` tokens per bucket.

    `reason` is the billing policy's code, `at` RFC 3339, `model` the one that answered. `available` can be spent after
    it; 0 for an orphan, whose caller is gone. `transaction_id` is None when nothing was charged. `estimated`: the usage
    is our own estimate, not the vendor's count. `replaced`: a later attempt has taken the place of this one, whose end
    is recorded nowhere.
    """

    reason: str
    at: str
    model: str
    cost: int = 0
    available: int = 0
    transaction_id: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    estimated: bool = False
    replaced: bool = False
