"""An account as the world knows it: what may have gone in and out of it, in whatever order things were asked.

The ledger tells in which order things happened. What each entry may be follows from what was asked and answered, with
sums of our own: per charge what was given back, per payment what was taken, per gift what was lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.credits.core.entry import Entry, Kind
from app.kit.clock import minutes
from simulation.audit.records import Records
from simulation.money.books import Act, Books
from simulation.world import World

_WEEK_US: Final = minutes(7 * 24 * 60)
_SKEW_US: Final = 4_000_000
_SWEPT_WITHIN_US: Final = minutes(15)
_WAYS: Final = {
    "deposit": Kind.DEPOSIT,
    "gift": Kind.GRANT,
    "charge": Kind.SETTLE,
    "refund": Kind.REFUND,
    "clawback": Kind.CLAWBACK,
}
_TOO_MUCH: Final = frozenset({"returned_already", "not_reversible"})

Found = Iterator[str]


def money(world: World, books: Books, records: Records) -> Found:
    """Everything about the accounts that people of money acted on."""
    yield from books.found
    for uid in dict.fromkeys(act.uid for act in books.acts):
        account = _Purse(books, uid, records.entries(uid))
        yield from account.verdict()
        yield from _quiet(world, books, records, uid)
    yield from _corrections(books, records)


@dataclass
class _Purse:
    """One account, entry by entry."""

    books: Books
    uid: str
    entries: Sequence[Entry]
    net: dict[str, int] = field(default_factory=dict)
    """By charge, payment or gift: what of it was undone so far."""
    reversed: set[str] = field(default_factory=set)
    lots: dict[str, int] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    """By lot, the gift whose credits are in it."""
    put: dict[str, list[Entry]] = field(default_factory=dict)
    """By lot, the entries that brought credits back into it."""
    ended: set[str] = field(default_factory=set)
    """Lots of which something expired."""
    debt: int = 0
    spent: int = 0
    """What was charged and not given back, and what administrators took."""

    def __post_init__(self) -> None:
        self.by_id = {entry.id: entry for entry in self.entries}
        acts = list(self.books.of(self.uid))
        self.acts = {act.entry: act for act in acts if act.entry}
        self.unsure = any(not act.entry and not act.refused for act in acts)
        self.refusals = [act for act in acts if act.refused in _TOO_MUCH]
        self.twins = [act for act in acts if act.twin is not None]
        self.payments = {act.about: act.entry for act in acts if act.way == "deposit" and act.entry}
        self.why = {id(act): False for act in self.refusals}

    def verdict(self) -> Found:
        """What is wrong with it."""
        self._look_at_refusals(0)
        for entry in self.entries:
            yield from (f"{self.uid}, entry {entry.sequence} ({entry.kind}): {what}" for what in self._take(entry))
            self._look_at_refusals(entry.sequence)
        for act in self.refusals:
            if not self.why[id(act)]:
                yield f"{self.uid}: the {act.way} of {act.about} ({act.amount}) was {act.refused}, without a reason"
        for act in self.twins:
            if act.twin is not None and act.entry and act.twin.entry not in ("", act.entry):
                yield f"{self.uid}: one {act.way} of {act.about} made {act.entry} and {act.twin.entry}"

    def _take(self, entry: Entry) -> Found:
        act = self.acts.get(entry.id)
        if entry.kind is Kind.EXPIRY:
            yield from self._expiry(entry)
        elif entry.kind in (Kind.ADJUST, Kind.REVERSAL):
            yield from self._corrected(entry)
        elif act is None:
            if not self.unsure:
                yield f"nobody asked for it: {entry.key}"
        else:
            yield from self._asked(entry, act)
        yield from self._sums(entry)

    def _asked(self, entry: Entry, act: Act) -> Found:
        if _WAYS.get(act.way) is not entry.kind or abs(entry.amount) != act.amount:
            yield f"it is of {entry.amount}, asked was a {act.way} of {act.amount}"
        match entry.kind:
            case Kind.REFUND:
                yield from self._undone(act.about, entry.amount)
            case Kind.CLAWBACK:
                yield from self._undone(self.payments.get(act.about, ""), -entry.amount)
                if {line.payment_id for line in entry.draft.lots} - {act.about}:
                    yield f"it takes what {act.about} did not bring: {entry.draft.lots}"
            case Kind.GRANT:
                self.owner |= {line.lot_id: entry.id for line in entry.draft.lots}
            case Kind.SETTLE:
                self.spent += act.amount
                if touched := {line.payment_id for line in entry.draft.lots} & act.disputed:
                    yield f"it spends {touched}, which is under dispute"
            case _:
                pass

    def _corrected(self, entry: Entry) -> Found:
        id = entry.draft.reference.id
        proposer, uid = self.books.proposals.get(id, ("", ""))
        approvers = self.books.approvers.get(id, set()) - {proposer}
        if uid != self.uid or entry.draft.by != proposer or entry.draft.approved_by not in approvers:
            yield f"correction {id} is by {entry.draft.by} and {entry.draft.approved_by}, proposed by {proposer}"
        if entry.kind is Kind.ADJUST:
            self.spent += max(0, -entry.amount)
            return
        target = self.by_id[entry.key.removeprefix("reversal:")]
        if target.id in self.reversed:
            yield f"{target.id} was undone before"
        self.reversed.add(target.id)
        yield from self._reversed(entry, target)

    def _reversed(self, entry: Entry, target: Entry) -> Found:
        amount, act = abs(entry.amount), self.acts.get(target.id)
        whole = abs(target.amount)
        if amount > whole:
            yield f"it undoes {amount} of {whole}"
        match target.kind:
            case Kind.SETTLE | Kind.DEPOSIT | Kind.GRANT:
                if amount != whole - self.net.get(target.id, 0):
                    yield f"it undoes {amount}, left were {whole} - {self.net.get(target.id, 0)}"
                yield from self._undone(target.id, amount)
            case Kind.REFUND if act is not None:
                yield from self._undone(act.about, -amount)
            case Kind.CLAWBACK if act is not None:
                yield from self._undone(self.payments.get(act.about, ""), -amount)
            case Kind.EXPIRY:
                gift = self.owner.get(target.draft.reference.id)
                if gift is not None:
                    yield from self._undone(gift, -amount)
                    self.owner |= {line.lot_id: gift for line in entry.draft.lots if line.amount > 0}
                else:
                    self.spent -= amount
            case Kind.ADJUST:
                self.spent -= max(0, -target.amount)
            case _:
                yield "it undoes a reversal"

    def _undone(self, id: str, amount: int) -> Found:
        target = self.by_id.get(id)
        if target is None:
            yield f"it undoes {id}, which is not there"
            return
        after = self.net[id] = self.net.get(id, 0) + amount
        if target.kind is Kind.SETTLE:
            self.spent -= amount
        if not 0 <= after <= abs(target.amount):
            yield f"{after} of {target.kind} {id} are undone, which was {target.amount}"

    def _expiry(self, entry: Entry) -> Found:
        lot, at_us = entry.draft.reference.id, entry.draft.at_us
        gift = self.owner.get(lot)
        ends_us = self.acts[gift].ends_us if gift in self.acts else None
        if ends_us is not None and at_us < ends_us - _SKEW_US:
            yield f"{lot} ended before its time"
        for back in self.put.get(lot, []):
            if at_us < back.draft.at_us + _WEEK_US - _SKEW_US:
                lasted_us = at_us - back.draft.at_us
                yield f"what came back with entry {back.sequence} lasted for {lasted_us // 1_000_000} s"
        self.ended.add(lot)
        if gift is not None:
            yield from self._undone(gift, -entry.amount)
        else:
            # A charge that was given back, and nobody used it: the charge stays given back, and the gift spent.
            self.spent -= entry.amount

    def _sums(self, entry: Entry) -> Found:
        """Credits that come in, or end, pay debt first; and nobody owes what was never spent."""
        draft = entry.draft
        moved = sum(line.amount for line in draft.lots)
        gains = -moved if entry.kind is Kind.EXPIRY else entry.amount
        owed = -min(self.debt, gains) if gains > 0 else draft.debt
        if draft.debt != owed or (draft.debt < 0 and gains <= 0):
            yield f"of {self.debt} that are owed it pays {-draft.debt}"
        self.debt += draft.debt
        for line in draft.lots:
            self.lots[line.lot_id] = self.lots.get(line.lot_id, 0) + line.amount
            if self.lots[line.lot_id] < 0:
                yield f"{line.lot_id} is below nothing"
            if line.amount > 0 and entry.kind in (Kind.REFUND, Kind.REVERSAL):
                self.put.setdefault(line.lot_id, []).append(entry)
        if entry.balance_after + self.spent < 0:
            yield f"{entry.balance_after} are left, and only {self.spent} were ever spent"

    def _look_at_refusals(self, sequence: int) -> None:
        """Whether at this point of time there was a reason for each refusal that was given around it."""
        for act in self.refusals:
            if act.since <= sequence <= act.until and not self.why[id(act)]:
                self.why[id(act)] = self._left(act) < max(1, act.amount)

    def _left(self, act: Act) -> int:
        """What could be undone of the entry that an act is about."""
        target = self.by_id.get(self.payments.get(act.about, act.about))
        if target is None or target.id in self.reversed or target.kind is Kind.REVERSAL:
            return 0
        given = {line.lot_id for line in target.draft.lots if line.amount > 0}
        if target.kind is Kind.REFUND and given & self.ended:
            return 0
        return abs(target.amount) - self.net.get(target.id, 0)


def _quiet(world: World, books: Books, records: Records, uid: str) -> Found:
    """What holds when nothing happens any more: what has ended is gone, and all but what is disputed can be spent."""
    account, now_us = records.account(uid), world.kernel.now_us
    lots: dict[str, int] = {}
    disputed, ended = 0, 0
    known = books.disputed.get(uid, set())
    for line in (line for entry in records.entries(uid) for line in entry.draft.lots):
        lots[line.lot_id] = lots.get(line.lot_id, 0) + line.amount
        disputed += line.amount * (line.payment_id in known)
        ended += line.amount * (line.expires_at_us is not None and line.expires_at_us < now_us - _SWEPT_WITHIN_US)
    if ended:
        yield f"{uid} has {ended} that ended long ago"
    if {*account.disputes} != known:
        yield f"{uid}: {account.disputes} are held for disputed, {known} are"
    spendable = max(0, min(sum(lots.values()) - disputed, account.balance) - account.reserved)
    shown = world.backends[0].credits.available(account)
    if account.status == "active" and shown != spendable:
        yield f"{uid} may spend {shown}, and should {spendable} of {account.balance} ({disputed} are disputed)"


def _corrections(books: Books, records: Records) -> Found:
    """A correction that is approved names the entry that it made."""
    for one in records.documents("corrections/"):
        posted, uid = one.fields.get("transaction_id"), str(one.fields.get("account"))
        if one.fields["state"] != "approved":
            continue
        made = [entry for entry in records.entries(uid) if entry.draft.reference.id == one.id]
        if [entry.id for entry in made] != [posted]:
            yield f"{one.path} is approved as {posted}, its entries are {[entry.id for entry in made]}"
