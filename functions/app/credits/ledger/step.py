"""One decided step on its way into a commit: entries sealed, outcomes told, participants asked.

Pure but for one look-up: the entry that an earlier, equal command made. `store.py` commits what stands here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.credits.core import entry as ledger
from app.credits.core import events
from app.credits.core.account import Account, opened
from app.credits.core.commands import (
    AccountSwept,
    Changed,
    Command,
    CommandVerdict,
    Grant,
    Outcome,
    Posted,
    Released,
    Reserved,
    Settled,
)
from app.credits.core.decide import Decision, Rules, decide
from app.credits.core.entry import Entry, Signs
from app.credits.ledger import document
from app.kit.documents import Create, Document, Merge, Replace, Version, Write
from app.kit.errors import Failure, InvariantViolation, Rejection

Seen = tuple[Document | None, ...]
ParticipantWrites = Callable[[Outcome, Seen], Sequence[Write]]


def no_writes(_: Outcome, __: Seen) -> Sequence[Write]:
    """Nothing goes along."""
    return ()


def any_replay(_: Outcome) -> None:
    """A repeat is welcome to the first outcome."""


@dataclass(frozen=True, slots=True)
class Participant:
    """What else belongs to a command: documents read beside the account, and writes in the same commit.

    `writes` is pure: it is asked again on every attempt, with the outcome and the documents of that attempt. A
    `Rejection` that it raises refuses the command. It is not asked for a replay, because a replay writes nothing;
    `replayed` is, and may refuse it likewise: not everyone who repeats a reservation may go on and spend it.
    """

    reads: tuple[str, ...] = ()
    writes: ParticipantWrites = no_writes
    replayed: Callable[[Outcome], None] = any_replay


NO_PARTICIPANT = Participant()


@dataclass(frozen=True, slots=True)
class OpeningGrants:
    """What a new account gets in its first commit, and what records that."""

    grants: tuple[Grant, ...] = ()
    writes: tuple[Write, ...] = ()


def no_grants(_: Seen) -> OpeningGrants:
    """An account that opens empty."""
    return OpeningGrants()


@dataclass(frozen=True, slots=True)
class AccountOpening:
    """What belongs to the first touch of an account; `grants` is pure and sees the documents in `reads`."""

    low_threshold: int = 0
    reads: tuple[str, ...] = ()
    grants: Callable[[Seen], OpeningGrants] = no_grants


@dataclass(slots=True, eq=False)
class PendingCommand:
    """One command on its way through the funnel."""

    command: Command
    participant: Participant = NO_PARTICIPANT
    result: Outcome | Failure | None = None

    def outcome(self) -> Outcome:
        """The outcome, or the failure raised."""
        if self.result is None:
            raise InvariantViolation("every command that ran has a result")
        if isinstance(self.result, Failure):
            raise self.result
        return self.result


@dataclass(frozen=True, slots=True)
class AccountHead:
    """The account as this attempt knows it; no account while nobody touched it."""

    account: Account | None
    version: Version | None
    seen: Mapping[str, Document | None] = field(default_factory=dict)
    fresh: bool = True
    """Whether it was just read. A head that is only remembered may say yes (the commit checks it), never no."""

    def documents(self, paths: Sequence[str]) -> Seen:
        """What was read at `paths`."""
        return tuple(self.seen.get(path) for path in paths)


@dataclass(frozen=True, slots=True)
class PlannedCommit:
    """What to commit, and what each command is told once that succeeded."""

    account: Account
    writes: tuple[Write, ...]
    results: tuple[tuple[PendingCommand, Outcome | Failure], ...]
    changed: bool


@dataclass(frozen=True, slots=True)
class Deciding:
    """What a step is decided with, beside the account and the commands."""

    rules: Rules
    signer: Signs
    publish: events.Publish
    load: Callable[[str, int], Entry | None]


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The account that a step starts from, in its moment."""

    account: Account
    head: AccountHead
    opening: AccountOpening | None
    at_us: int


def touch(uid: str, head: AccountHead, opening: AccountOpening | None, now_us: int) -> StartingPoint:
    """The starting point; an account's time strictly grows, whatever the machines' clocks say."""
    if head.account is None:
        threshold = opening.low_threshold if opening else 0
        return StartingPoint(opened(uid, now_us, threshold), head, opening, now_us)
    return StartingPoint(head.account, head, None, max(now_us, head.account.updated_at_us + 1))


def take_step(start: StartingPoint, works: Sequence[PendingCommand], by: Deciding) -> PlannedCommit:
    """Decides `works`. A participant's refusal takes its command out, and the others are decided again without it.

    A document that two participants write takes the second one out as well: it saw the document as the first did and
    would undo what that wrote. Such a command has no result yet, and its turn comes in the next step.
    """
    refused: list[tuple[PendingCommand, Outcome | Failure]] = []
    left = list(works)
    while True:
        attempt = _Attempt(start, by, left)
        culprit = attempt.ask_participants()
        if culprit is not None:
            refused.append(culprit)
            left.remove(culprit[0])
        elif attempt.crowded:
            left = [work for work in left if work not in attempt.crowded]
        else:
            return attempt.step(refused)


class _Attempt:
    def __init__(self, start: StartingPoint, by: Deciding, works: Sequence[PendingCommand]) -> None:
        self._start, self._by = start, by
        opening = start.opening
        self._grants = opening.grants(start.head.documents(opening.reads)) if opening else OpeningGrants()
        commands = [*self._grants.grants, *(work.command for work in works)]
        decision = decide(start.account, commands, start.at_us, by.rules)
        if opening and not decision.changed:
            decision = replace(decision, account=replace(start.account, version=1), changed=True)
        self._entries = ledger.seal(decision.drafts, start.account.head_hash, by.signer)
        head_hash = self._entries[-1].hash if self._entries else start.account.head_hash
        self._account = replace(decision.account, head_hash=head_hash)
        self._decision: Decision = decision
        self._works = list(zip(works, decision.outcomes[len(self._grants.grants) :]))
        self._results: list[tuple[PendingCommand, Outcome | Failure]] = []
        self._writes: list[Write] = [*self._grants.writes]
        self._written: dict[str, bool] = {}
        """Documents that participants write: whether by merges alone, which leave each other's fields as they are."""
        self.crowded: list[PendingCommand] = []

    def ask_participants(self) -> tuple[PendingCommand, Rejection] | None:
        """Collects results and writes; returns the first command that its participant refuses."""
        for work, verdict in self._works:
            if isinstance(verdict, Rejection):
                self._results.append((work, verdict))
                continue
            outcome = self._outcome(verdict)
            self._results.append((work, outcome))
            try:
                if verdict.replayed:
                    work.participant.replayed(outcome)
                    continue
                seen = self._start.head.documents(work.participant.reads)
                writes = work.participant.writes(outcome, seen)
            except Rejection as refusal:
                return work, refusal
            if not self._add(writes):
                self.crowded.append(work)
        return None

    def _add(self, writes: Sequence[Write]) -> bool:
        """Takes a participant's writes along; False when an earlier one writes the same document."""
        paths: dict[str, bool] = {}
        for write in writes:
            paths[write.path] = paths.get(write.path, True) and isinstance(write, Merge)
        if any(path in self._written and not (merges and self._written[path]) for path, merges in paths.items()):
            return False
        self._written |= paths
        self._writes.extend(writes)
        return True

    def step(self, refused: Sequence[tuple[PendingCommand, Outcome | Failure]]) -> PlannedCommit:
        """The whole, ready to be committed."""
        results = (*self._results, *refused)
        if not self._decision.changed:
            return PlannedCommit(self._account, (), results, changed=False)
        uid, version = self._account.uid, self._start.head.version
        told = list(self._decision.events)
        if version is None:
            told.insert(0, events.account_opened(self._account))
        path, fields = document.account_path(uid), document.write(self._account)
        writes: list[Write] = [Create(path, fields) if version is None else Replace(path, fields, version)]
        writes += [Create(document.entry_path(uid, entry.sequence), entry.fields()) for entry in self._entries]
        writes += [*self._writes, *self._by.publish(told)]
        return PlannedCommit(self._account, tuple(writes), results, changed=True)

    def _outcome(self, verdict: CommandVerdict) -> Outcome:
        account, reservation = self._account, verdict.reservation
        entries = tuple(self._entry(draft.sequence) for draft in verdict.drafts)
        match verdict.kind:
            case "posted":
                return Posted(entries[0], account, verdict.replayed)
            case "swept":
                return AccountSwept(account, verdict.closed, entries)
            case "changed":
                return Changed(account)
        if reservation is None:
            raise InvariantViolation("a verdict on a reservation names it")
        if verdict.kind == "settled":
            earlier = self._entry(verdict.sequence) if verdict.sequence else None
            return Settled(reservation, account, entries[0] if entries else earlier, verdict.replayed)
        if verdict.kind == "released":
            return Released(reservation, account, verdict.replayed)
        return Reserved(reservation, account, verdict.replayed)

    def _entry(self, sequence: int) -> Entry:
        for entry in self._entries:
            if entry.sequence == sequence:
                return entry
        found = self._by.load(self._account.uid, sequence)
        if found is None:
            raise InvariantViolation(f"entry {sequence} of the chain is missing")
        return found
