"""The core: decides what an account becomes, and which entries and events are written, for some commands at a time.

Pure. A list of commands is decided as one step, so that commands that arrive together share a commit; a rejection is
that command's own outcome and changes nothing for the others. Entries are drafts here; `entry.seal` chains them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from app.credits.core import events, holds, keyed, lots
from app.credits.core.account import (
    MAX_DISPUTES,
    RECENT,
    Account,
    AccountStatus,
    BalanceLevel,
    Closed,
    Reservation,
    ReservationState,
    check,
)
from app.credits.core.commands import (
    Adjust,
    Clawback,
    Command,
    CommandVerdict,
    Deposit,
    Extend,
    FreezeLots,
    Grant,
    Posting,
    Refund,
    Release,
    Reserve,
    Reverse,
    SetStatus,
    SetThreshold,
    Settle,
    SweepAccount,
)
from app.credits.core.entry import EntryDraft, Kind, plain_usage
from app.credits.core.postings import expiry, posting
from app.credits.core.rejections import (
    AccountNotActive,
    ReservationClosed,
    ReservationExpired,
    ReservationReleased,
    ReservationSettled,
    ReservationTooLarge,
    ReservationUnknown,
)
from app.credits.core.returns import counted, finished_payment, nothing_to_freeze
from app.kit.errors import KeyReused, Rejection, ensure

ALLOWED: Final = {
    AccountStatus.ACTIVE: (Reserve, Extend, Grant, Deposit),
    AccountStatus.FROZEN: (Grant, Deposit),
    AccountStatus.SUSPENDED: (Deposit,),
    AccountStatus.CLOSED: (),
}
"""What each status permits of `_RESTRICTED`. Commands that resolve, take back or correct are always permitted."""

MAX_DESCRIPTION: Final = 200

MOST_AT_ONCE: Final = 100
"""Entries after which a step lets no further lot expire, and events after which it announces none. The next goes on."""

_RESTRICTED: Final = (Reserve, Extend, Grant, Deposit)
_CLOSED_AS: Final[dict[ReservationState, type[ReservationClosed]]] = {
    ReservationState.SETTLED: ReservationSettled,
    ReservationState.RELEASED: ReservationReleased,
    ReservationState.EXPIRED: ReservationExpired,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits that the deployment sets."""

    max_reservation: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The account afterwards, and the outcome of each command. `drafts` is empty when nothing is posted."""

    account: Account
    drafts: tuple[EntryDraft, ...]
    outcomes: tuple[CommandVerdict | Rejection, ...]
    events: tuple[events.AccountEvent, ...]
    changed: bool
    """Whether there is anything to write; a replay changes nothing."""


@dataclass(slots=True)
class _Book:
    """The account while a list of commands is applied to it."""

    account: Account
    at_us: int
    rules: Rules
    drafts: list[EntryDraft] = field(default_factory=list)
    published: list[events.AccountEvent] = field(default_factory=list)

    def post(self, draft: EntryDraft, kept: lots.Lots) -> EntryDraft:
        """Adds an entry, the new balance and level, and the events."""
        was = self.account.level
        self.account = replace(
            self.account,
            lots=lots.freeze(kept, self.account.disputes),
            balance=draft.balance_after,
            debt=self.account.debt + draft.debt,
            sequence=draft.sequence,
        )
        self.account = replace(self.account, level=events.level_of(self.account))
        self.drafts.append(draft)
        self.published.append(events.entry_posted(self.account, draft))
        self.published.extend(events.level_changed(self.account, was))
        if draft.debt > 0:
            self.published.append(events.debt_grew(self.account, draft))
        return draft

    def close(self, reservation: Reservation, closed: Closed) -> None:
        """Moves a reservation from the open ones to the remembered ones."""
        account = self.account
        recent = (*account.recent, closed.text())
        self.account = replace(
            account,
            reserved=account.reserved - reservation.amount,
            reservations=tuple(open for open in account.reservations if open.id != reservation.id),
            recent=recent[-RECENT:],
            forgot=account.forgot or len(recent) > RECENT,
        )


def decide(account: Account, commands: Sequence[Command], at_us: int, rules: Rules) -> Decision:
    """Applies the commands in order. `at_us` must be later than the account's last change."""
    ensure(at_us > account.updated_at_us or account.version == 0, "an account's time strictly grows")
    book = _Book(replace(account, updated_at_us=at_us), at_us, rules)
    outcomes: list[CommandVerdict | Rejection] = []
    for command in commands:
        before, drafts, published = book.account, len(book.drafts), len(book.published)
        try:
            outcomes.append(_apply(book, command))
        except Rejection as refusal:
            book.account = before
            del book.drafts[drafts:], book.published[published:]
            outcomes.append(refusal)
    after = book.account
    changed = after != replace(account, updated_at_us=at_us)
    if changed:
        after = replace(after, version=account.version + 1)
        check(after)
    return Decision(after if changed else account, tuple(book.drafts), tuple(outcomes), tuple(book.published), changed)


def _apply(book: _Book, command: Command) -> CommandVerdict:
    status = book.account.status
    if isinstance(command, _RESTRICTED) and not isinstance(command, ALLOWED[status]):
        raise AccountNotActive(status.value)
    match command:
        case Reserve():
            return _reserve(book, command)
        case Extend():
            return _extend(book, command)
        case Settle():
            return _settle(book, command)
        case Release():
            return _release(book, command)
        case SweepAccount():
            return _sweep(book)
        case Grant() | Deposit() | Clawback() | Refund() | Adjust() | Reverse():
            return _post(book, command)
        case FreezeLots() | SetStatus() | SetThreshold():
            return _change(book, command)
        case _:
            assert_never(command)


def _reserve(book: _Book, command: Reserve) -> CommandVerdict:
    if (open := book.account.reservation(command.id)) is not None:
        if open.input != command.input:
            raise KeyReused("This reservation was made with another input", reservation_id=open.id)
        return CommandVerdict("reserved", open, replayed=True)
    if (closed := book.account.closed(command.id)) is not None:
        raise _CLOSED_AS[closed.state](closed.id)
    if command.at_least > book.rules.max_reservation:
        raise ReservationTooLarge(required=command.at_least, limit=book.rules.max_reservation)
    _resolve_overdue(book)
    return _held(book, holds.reserve(book.account, command, book.at_us, book.rules.max_reservation))


def _extend(book: _Book, command: Extend) -> CommandVerdict:
    open = _open(book.account, command.reservation_id)
    return _held(book, holds.extend(book.account, open, command, book.at_us, book.rules.max_reservation))


def _held(book: _Book, held: holds.Held) -> CommandVerdict:
    book.account = held.account
    return CommandVerdict("reserved", held.reservation, most=held.most)


def _settle(book: _Book, command: Settle) -> CommandVerdict:
    asked, closed = command.input, book.account.closed(command.reservation_id)
    if closed is not None and closed.input == asked:
        return CommandVerdict("settled", closed.reservation(), sequence=closed.sequence, replayed=True)
    open = _open(book.account, command.reservation_id)
    charge = min(command.amount, open.amount)
    if charge == 0:
        return CommandVerdict("settled", _resolve(book, open, ReservationState.RELEASED, asked))
    kept, lines = lots.resolve(book.account.lots, open.holds, charge)
    draft = EntryDraft(
        account=book.account.uid,
        sequence=book.account.sequence + 1,
        kind=Kind.SETTLE,
        amount=-charge,
        counterpart="platform:revenue",
        lots=lines,
        debt=0,
        balance_after=book.account.balance - charge,
        key=command.key,
        input=asked,
        reference=command.reference,
        at_us=book.at_us,
        reason=command.reason,
        description=command.description[:MAX_DESCRIPTION],
        price_book=command.price_book,
        usage=plain_usage(command.usage),
    )
    book.close(open, _closed(book, open, ReservationState.SETTLED, draft, asked))
    book.post(draft, kept)
    book.account = keyed.charged(book.account, open, charge, book.at_us)
    settled = replace(open, state=ReservationState.SETTLED, captured=charge, closed_at_us=book.at_us)
    return CommandVerdict("settled", settled, (draft,))


def _release(book: _Book, command: Release) -> CommandVerdict:
    closed = book.account.closed(command.reservation_id)
    if closed is not None and closed.state is ReservationState.RELEASED:
        return CommandVerdict("released", closed.reservation(), replayed=True)
    open = _open(book.account, command.reservation_id)
    return CommandVerdict("released", _resolve(book, open, ReservationState.RELEASED, ""))


def _sweep(book: _Book) -> CommandVerdict:
    drafts, closed = _resolve_overdue(book)
    noticed = []
    for lot in book.account.lots:
        due = lot.due_at_us() if len(book.published) < MOST_AT_ONCE else None
        while due is not None and due <= book.at_us and not lot.expired(book.at_us):
            lot = replace(lot, noticed=lot.noticed + 1)
            upcoming = lot.due_at_us()
            if upcoming is None or upcoming > book.at_us:
                book.published.append(events.lot_expiring(book.account, lot))
            due = upcoming
        noticed.append(lot)
    book.account = replace(book.account, lots=tuple(noticed))
    return CommandVerdict("swept", drafts=drafts, closed=closed)


def _resolve_overdue(book: _Book) -> tuple[tuple[EntryDraft, ...], tuple[Reservation, ...]]:
    """Expires overdue reservations, then what is free in expired lots; what is held stays (T-39)."""
    overdue = [open for open in book.account.reservations if open.expires_at_us <= book.at_us]
    closed = tuple(_resolve(book, open, ReservationState.EXPIRED, "") for open in overdue)
    for reservation in closed:
        book.published.append(events.reservation_expired(book.account, reservation))
    drafts = []
    for lot in book.account.lots:
        if lot.expired(book.at_us) and lot.free > 0 and len(book.drafts) < MOST_AT_ONCE:
            drafts.append(book.post(*expiry(book.account, lot, book.at_us)))
    return tuple(drafts), closed


def _post(book: _Book, command: Posting) -> CommandVerdict:
    for draft in book.drafts:
        if draft.key == command.key:
            if draft.input != command.input:
                raise KeyReused("This key was used with another input", key=command.key)
            return CommandVerdict("posted", drafts=(draft,), replayed=True)
    command = counted(command, book.drafts)
    draft, kept = posting(book.account, command, book.at_us)
    book.post(draft, kept)
    if (payment_id := finished_payment(command)) is not None:
        book.account = _disputed(book.account, payment_id, frozen=False)
    return CommandVerdict("posted", drafts=(draft,))


def _change(book: _Book, command: FreezeLots | SetStatus | SetThreshold) -> CommandVerdict:
    account = book.account
    match command:
        case FreezeLots(payment_id, frozen):
            if not (frozen and nothing_to_freeze(command, book.drafts)):
                book.account = _disputed(account, payment_id, frozen=frozen)
            if book.account.status is not account.status:
                book.published.append(events.status_changed(book.account, "too_many_disputes"))
        case SetStatus(status, reason):
            if status is not account.status:
                book.account = replace(account, status=status)
                book.published.append(events.status_changed(book.account, reason))
        case SetThreshold(amount):
            ensure(amount >= 0, "a threshold is not negative")
            book.account = replace(account, low_threshold=amount, level=BalanceLevel.OK)
            book.account = replace(book.account, level=events.level_of(book.account))
        case _:
            assert_never(command)
    return CommandVerdict("changed")


def _disputed(account: Account, payment_id: str, *, frozen: bool) -> Account:
    """The account with one payment under dispute, or no longer so. Where it cannot remember one more, it is frozen."""
    if frozen and payment_id in account.disputes:
        return account
    others = tuple(id for id in account.disputes if id != payment_id)
    if not frozen:
        return replace(account, disputes=others, lots=lots.thaw(account.lots, payment_id))
    account = replace(account, lots=lots.freeze(account.lots, (payment_id,)))
    if len(others) < MAX_DISPUTES:
        return replace(account, disputes=(*others, payment_id))
    return replace(account, status=AccountStatus.FROZEN) if account.status is AccountStatus.ACTIVE else account


def _open(account: Account, id: str) -> Reservation:
    if (open := account.reservation(id)) is not None:
        return open
    if (closed := account.closed(id)) is not None:
        raise _CLOSED_AS[closed.state](id)
    raise ReservationUnknown(id)


def _resolve(book: _Book, open: Reservation, state: ReservationState, asked: str) -> Reservation:
    """Closes a reservation without a charge."""
    kept, _ = lots.resolve(book.account.lots, open.holds, charge=0)
    book.account = replace(book.account, lots=kept)
    book.close(open, _closed(book, open, state, None, asked))
    return replace(open, state=state, closed_at_us=book.at_us)


def _closed(book: _Book, open: Reservation, state: ReservationState, draft: EntryDraft | None, asked: str) -> Closed:
    captured, sequence = (-draft.amount, draft.sequence) if draft else (0, 0)
    return Closed(open.id, state, open.amount, captured, sequence, book.at_us, asked)
