"""Answers a repeated command from the entry that its first run made: one key has one effect, and no second write."""

from collections.abc import Callable, Mapping, Sequence

from app.credits.core.account import Account, Reservation, ReservationState
from app.credits.core.commands import (
    Command,
    Extend,
    Outcome,
    Posted,
    Posting,
    Release,
    Reserve,
    Settle,
    Settled,
    settle_key,
)
from app.credits.core.entry import Entry
from app.credits.core.rejections import ReservationSettled
from app.credits.ledger.step import AccountHead, PendingCommand, no_writes
from app.kit.errors import Failure, KeyReused, Rejection

Find = Callable[[Sequence[str]], Mapping[str, Entry | Failure]]
"""Looks entries up by their keys. One that is not what was signed is a failure in its place, as is one that cannot be
verified because the archive of keys is silent.
"""


def answered(works: Sequence[PendingCommand], head: AccountHead, find: Find) -> dict[PendingCommand, Outcome | Failure]:
    """The outcomes of those `works` that existing entries answer. `find` looks entries up by their keys.

    Safe beside concurrent writers: the look-up is later than the head, and a commit on an outdated head fails.
    An account without entries needs no look-up, and neither does a reservation that the account still knows.
    """
    answers: dict[PendingCommand, Outcome | Failure] = {}
    if head.account is None or head.account.sequence == 0:
        return answers
    keys = {work: key for work in works if (key := _key_to_look_up(head.account, work)) is not None}
    known = find(list(dict.fromkeys(keys.values()))) if keys else {}
    for work, key in keys.items():
        found = known.get(key)
        if isinstance(found, Failure):
            answers[work] = found
        elif found is not None:
            answers[work] = _answer(work.command, found, head.account)
    return answers


def _key_to_look_up(account: Account, work: PendingCommand) -> str | None:
    command = work.command
    if isinstance(command, Posting):
        return command.key
    if not isinstance(command, Settle | Release | Extend | Reserve):
        return None
    id = command.id if isinstance(command, Reserve) else command.reservation_id
    if not account.forgot or account.reservation(id) is not None or account.closed(id) is not None:
        return None
    if isinstance(command, Reserve) and work.participant.writes is not no_writes:
        # The participant's own document is the durable record of this id: a chat's turn, an agent's step.
        return None
    return settle_key(id)


def _answer(command: Command, known: Entry, account: Account) -> Outcome | Rejection:
    if isinstance(command, Posting):
        if known.draft.input != command.input:
            return KeyReused("This key was used with another input", key=command.key)
        return Posted(known, account, replayed=True)
    id = known.key.removeprefix("settle:")
    if isinstance(command, Settle) and known.draft.input == command.input:
        return Settled(_settled(known, id), account, known, replayed=True)
    return ReservationSettled(id)


def _settled(known: Entry, id: str) -> Reservation:
    draft = known.draft
    return Reservation(
        id=id,
        amount=-draft.amount,
        holds=(),
        purpose="",
        reference_type=draft.reference.type,
        reference_id=draft.reference.id,
        created_at_us=draft.at_us,
        expires_at_us=draft.at_us,
        state=ReservationState.SETTLED,
        captured=-draft.amount,
        closed_at_us=draft.at_us,
    )
