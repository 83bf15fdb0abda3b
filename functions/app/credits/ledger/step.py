"""Turns a decision into one commit: seals entries, builds outcomes, collects the participants' extra writes.

Pure except for one look-up of the entry that an earlier, equal command made. `store.py` commits the result.
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
from app.kit.errors import Failure, InvariantViolation, Rejection
from app.kit.stores.documents import Create, Document, Merge, Replace, Version, Write

Seen = tuple[Document | None, ...]
ParticipantWrites = Callable[[Outcome, Seen], Sequence[Write]]


def no_writes(_: Outcome, __: Seen) -> Sequence[Write]:
    """No extra writes."""
    return ()


def any_replay(_: Outcome) -> None:
    """Gives every repeat the first outcome."""


@dataclass(frozen=True, slots=True)
class Participant:
    """What else belongs to a command: documents read beside the account, and writes in the same commit.

    `writes` is pure: it is called on every attempt, with the outcome and the documents of that attempt. A `Rejection`
    that it raises refuses the command. A replay writes nothing, so `replayed` is called for it instead, and may refuse
    it likewise: not every caller that repeats a reservation may go on and spend it.
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
    """What opening an account involves; `grants` is pure and gets the documents in `reads`."""

    low_threshold: int = 0
    reads: tuple[str, ...] = ()
    grants: Callable[[Seen], OpeningGrants] = no_grants


@dataclass(slots=True, eq=False)
class PendingCommand:
    """A command, and its result once it ran."""

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
    """The account as this attempt knows it; None before it is opened."""

    account: Account | None
    version: Version | None
    seen: Mapping[str, Document | None] = field(default_factory=dict)
    fresh: bool = True
    """Whether it was just read. A remembered head may grant a command (the commit checks it), but never reject one."""

    def documents(self, paths: Sequence[str]) -> Seen:
        """What was read at `paths`."""
        return tuple(self.seen.get(path) for path in paths)


@dataclass(frozen=True, slots=True)
class PlannedCommit:
    """What to commit, and each command's result once that has succeeded."""

    account: Account
    writes: tuple[Write, ...]
    results: tuple[tuple[PendingCommand, Outcome | Failure], ...]
    changed: bool


@dataclass(frozen=True, slots=True)
class Deciding:
    """Dependencies of a step."""

    rules: Rules
    signer: Signs
    publish: events.Publish
    load: Callable[[str, int], Entry | None]


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The account that a step starts from, and its time."""

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
    """Decides `works`. When a participant refuses its command, the others are decided again without that.

    Of two participants that write the same document, the second is left out: it saw the document before the
    first one's write and would undo that. Its command gets no result here and is decided in the next step.
    """
    refused: list[tuple[PendingCommand, Outcome | Failure]] = []
    left = list(works)
    while True:
        attempt = _Attempt(start, by, left)
        refusal = attempt.ask_participants()
        if refusal is not None:
            refused.append(refusal)
            left.remove(refusal[0])
        elif attempt.deferred:
            left = [work for work in left if work not in attempt.deferred]
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
        """For each document that participants write, whether they only merge: then they can share it."""
        self.deferred: list[PendingCommand] = []

    def ask_participants(self) -> tuple[PendingCommand, Rejection] | None:
        """Collects results and writes; returns the first command that its participant refuses, with the reason."""
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
                self.deferred.append(work)
        return None

    def _add(self, writes: Sequence[Write]) -> bool:
        """Adds a participant's writes; False when an earlier one writes the same document."""
        paths: dict[str, bool] = {}
        for write in writes:
            paths[write.path] = paths.get(write.path, True) and isinstance(write, Merge)
        if any(path in self._written and not (merges and self._written[path]) for path, merges in paths.items()):
            return False
        self._written |= paths
        self._writes.extend(writes)
        return True

    def step(self, refused: Sequence[tuple[PendingCommand, Outcome | Failure]]) -> PlannedCommit:
        """The commit that this attempt leads to; `refused` are the commands that were left out before."""
        results = (*self._results, *refused)
        if not self._decision.changed:
            return PlannedCommit(self._account, (), results, changed=False)
        uid, version = self._account.uid, self._start.head.version
        published = list(self._decision.events)
        if version is None:
            published.insert(0, events.account_opened(self._account))
        path, fields = document.account_path(uid), document.write(self._account)
        over = Create(path, fields) if version is None else Replace(path, fields, version, keep_others=True)
        writes: list[Write] = [over]
        writes += [Create(document.entry_path(uid, entry.sequence), entry.fields()) for entry in self._entries]
        writes += [*self._writes, *self._by.publish(published)]
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
        return Reserved(reservation, account, verdict.replayed, verdict.most)

    def _entry(self, sequence: int) -> Entry:
        for entry in self._entries:
            if entry.sequence == sequence:
                return entry
        found = self._by.load(self._account.uid, sequence)
        if found is None:
            raise InvariantViolation(f"entry {sequence} of the chain is missing")
        return found
