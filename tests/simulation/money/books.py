"""What people asked of accounts and what they were told, kept by themselves; and how they ask until they know."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeVar

from app.credits.core import entry as ledger
from app.credits.core.entry import Entry
from app.kit.errors import Failure, Fault, InvariantViolation, Rejection, Unavailable
from app.kit.stores.documents import int_field
from simulation.instance import Backend
from simulation.world import World

Way = Literal["deposit", "gift", "charge", "refund", "clawback", "reversal", "adjustment"]
T = TypeVar("T")

GIFT: Final = "promo:"
"""How the keys of gifts begin that are no welcome bonus."""
_TRIES: Final = 40


@dataclass
class Act:
    """Something that was asked of an account. `about` names the payment, the reservation or the entry to undo."""

    uid: str
    way: Way
    about: str
    amount: int
    since: int
    """The account's last entry when it was first asked."""
    until: int = 0
    """The account's last entry when the last answer came."""
    entry: str = ""
    """The id of the entry that was the answer."""
    refused: str = ""
    """The code of the refusal that was the answer. Without either nobody knows."""
    ends_us: int | None = None
    """When a gift ends."""
    disputed: frozenset[str] = frozenset()
    """Payments that were under dispute all the time while this was asked."""
    twin: "Act | None" = None
    """The same request, sent earlier."""


@dataclass
class Books:
    """What all of them know together."""

    world: World
    acts: list[Act] = field(default_factory=list)
    disputed: dict[str, set[str]] = field(default_factory=dict)
    """By account, the payments under dispute."""
    proposals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Corrections that an administrator proposed: who, and for which account."""
    approvers: dict[str, set[str]] = field(default_factory=dict)
    """By correction, who approved it or tried to."""
    charged: dict[str, dict[str, str]] = field(default_factory=dict)
    """By account, reservations and the id of the entry that charged each."""
    found: list[str] = field(default_factory=list)
    """What somebody saw that must not be."""
    _read: dict[str, list[Entry]] = field(default_factory=dict)

    def sequence(self, uid: str) -> int:
        """The account's last entry."""
        stored = self.world.documents.real.get(f"accounts/{uid}")
        return 0 if stored is None else int_field(stored.fields, "sequence")

    def entries(self, uid: str) -> list[Entry]:
        """What the ledger of the account says now, oldest first."""
        known, path = self._read.setdefault(uid, []), f"accounts/{uid}/entries"
        while (stored := self.world.documents.real.get(f"{path}/{len(known) + 1:012d}")) is not None:
            known.append(ledger.read(stored.fields))
        return known

    def surely(self, label: str, body: Callable[[Backend], T]) -> T | Failure:
        """What one instance after the other answers, until one of them knows. Must be called by a process."""
        kernel = self.world.kernel
        outcome: T | Failure = Unavailable("nobody was asked")
        for _ in range(_TRIES):
            outcome = self.world.request(label, body)
            if isinstance(outcome, InvariantViolation):
                self.found.append(f"{label}: {outcome}")
            if not isinstance(outcome, Fault):
                return outcome
            kernel.sleep(kernel.random.randrange(1_000_000, 30_000_000))
        return outcome

    def ask(self, act: Act, body: Callable[[Backend], str]) -> Act:
        """Asks for something that one entry answers, whose id `body` returns; the same may be asked again."""
        kernel = self.world.kernel
        twins: list[Act] = []
        if twice := kernel.chance(0.15):
            # A rail delivers twice, a client repeats, an operator presses again: at the same time, elsewhere.
            kernel.start(f"{act.way} twice", lambda: twins.append(self._answered(replace(act, twin=act), body)))
        self._answered(act, body)
        while twice and not twins:
            kernel.sleep(200_000)
        return act

    def _answered(self, act: Act, body: Callable[[Backend], str]) -> Act:
        outcome = self.surely(f"{act.uid} {act.way}", body)
        act.until = self.sequence(act.uid)
        if isinstance(outcome, str):
            act.entry = outcome
        elif isinstance(outcome, Rejection):
            act.refused = outcome.code
        self.acts.append(act)
        return act

    def of(self, uid: str) -> Iterator[Act]:
        """The acts on one account."""
        return (act for act in self.acts if act.uid == uid)
