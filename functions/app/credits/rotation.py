"""Verifies the chain of every account in turn, some with each sweep, also those that nobody reads or changes.

Three cursors in `jobs/chain_verification` go round and round: over the accounts (each from its first entry), over what
was sealed (accounts and seals that vanished), and over the chain of checkpoints. Accounts that a reader found broken
come first. A run is bounded in time, and each of its four parts does at least one thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core.account import GENESIS_HASH
from app.credits.ledger import document
from app.credits.proofs.archived import CHECKPOINTS, Advance, ArchivedState, Breach, merged, subject_of
from app.credits.proofs.checkpoints import BUDGET_US, WHOLE, Checkpoints, SealingParts
from app.credits.proofs.judging import FOLDED_AT_MOST, NOT_JUDGED, Budget, Judgement
from app.credits.proofs.sealing import checkpoint_holds
from app.credits.proofs.signed_record import SignedRecord, link_fields, link_of
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import Link
from app.kit.clock import from_rfc3339, to_rfc3339
from app.kit.stores.documents import (
    Document,
    Fields,
    Query,
    Value,
    Where,
    as_map,
    int_field,
    optional_text,
    text_field,
)

RECORD: Final = "jobs/chain_verification"
ENTRIES_A_RUN: Final = 5_000
"""Entries that one run reads of the accounts in turn, and again of suspected ones: of these the last is read whole."""
CHECKPOINTS_A_RUN: Final = 100
HEALED_A_RUN: Final = 20
"""Archived checkpoints that one run reads to put their copies right; each is a hundred kilobytes where many pay."""
_GROUPS: Final = 256


@dataclass(frozen=True, slots=True)
class Rounds:
    """Where the rounds stand. `account`: the last that was verified, or (with `link`) the one that is half done;
    `group` and `member`: the last sealed account that was looked at; `number` and `hash`: the last checkpoint.
    `began_us`: begin of the present round over accounts, `whole_us`: of the last one that was finished (0: none).
    `suspect`: how far the chain of a suspected account is verified that is too long for one run.
    `verified` and `not_judged` count the present round, `accounts` and `not_judged_before` the last whole one: accounts
    that were verified, and chains among them that hold what this version does not know.
    """

    account: str = ""
    link: Link | None = None
    group: int = 0
    member: str = ""
    number: int = 0
    hash: str = GENESIS_HASH
    began_us: int = 0
    whole_us: int = 0
    verified: int = 0
    accounts: int = 0
    suspect: Link | None = None
    not_judged: int = 0
    not_judged_before: int = 0

    @property
    def unjudged(self) -> int:
        """Chains that could not be judged in the present round, or in the last whole one if these were more."""
        return max(self.not_judged, self.not_judged_before)


class Rotation:
    """The verification in turn."""

    def __init__(self, parts: SealingParts, checkpoints: Checkpoints, record: SignedRecord, keys: KeyRing) -> None:
        self._documents, self._clock, self._judge = parts.documents, parts.clock, parts.judge
        self._checkpoints, self._record, self._keys = checkpoints, record, keys

    def verify_next(self, limit: int, for_us: int = BUDGET_US) -> int:
        """Verifies the next `limit` accounts, and as many that were sealed, in about `for_us` microseconds; how many
        were verified. The next run goes on where this one stopped.
        """
        rounds = self.rounds()
        state = self._checkpoints.current()
        if state is None:
            return 0
        ends = [self._checkpoints.budget(for_us * quarter // 4) for quarter in (1, 2, 3, 4)]
        suspected, suspects, after = self._suspected(state, rounds, limit, ends[0])
        found, after = self._accounts(state, after, limit, ends[1])
        gone, after = self._sealed(state, after, limit, ends[2])
        cut, after = self._chain(state, after, ends[3])
        advance = merged([suspected, found, gone, cut])
        if advance and self._checkpoints.advance(state, advance, self._clock.now_us()) is None:
            return 0  # another run was faster; this run is made again
        for uid in suspects:
            self._checkpoints.breaches.unfounded(uid)
        self._record.write(_fields(after))
        ended = after.account == "" and after.link is None
        return (after.accounts if ended else after.verified) - rounds.verified + len(suspects)

    def rounds(self) -> Rounds:
        """Where the rounds stand; the beginning when the record is lost."""
        fields = self._record.read()
        return _rounds(fields) if fields else Rounds(began_us=self._clock.now_us())

    def age_us(self) -> int:
        """How long ago the last whole round began: no account is unverified for longer. Since 1970 when none ended."""
        return max(0, self._clock.now_us() - self.rounds().whole_us)

    def _suspected(
        self, state: ArchivedState, rounds: Rounds, limit: int, budget: Budget
    ) -> tuple[Advance, list[str], Rounds]:
        """Verifies the accounts that a reader found broken: what the next checkpoint changes, and those that hold."""
        found: list[Advance] = []
        unfounded: list[str] = []
        left = ENTRIES_A_RUN
        suspects = self._checkpoints.breaches.suspected(limit)
        if (half := rounds.suspect) is not None:  # it is ended first, or two long chains would replace each other
            suspects.sort(key=lambda uid: uid != half.account)
        accounts = self._documents.get_all([document.account_path(uid) for uid in suspects]) if suspects else []
        gone = self._vanished(state, [uid for uid, stored in zip(suspects, accounts) if stored is None], budget)
        for uid, stored in zip(suspects, accounts):
            if left <= 0 or (found and budget.spent()):
                break
            if stored is None:
                advance = gone.get(uid, Advance())
            else:
                start = rounds.suspect if rounds.suspect and rounds.suspect.account == uid else Link(uid)
                advance, judgement = self._judged(state, stored, start, WHOLE, budget)
                left -= judgement.entries
                if _is_half_done(judgement):
                    return merged(found), unfounded, replace(rounds, suspect=judgement.link)
                rounds = replace(rounds, suspect=None)
            found.append(advance)
            if not advance.broken:
                unfounded.append(uid)
        return merged(found), unfounded, rounds

    def _accounts(self, state: ArchivedState, rounds: Rounds, limit: int, budget: Budget) -> tuple[Advance, Rounds]:
        found: list[Advance] = []
        page, left = self._next(rounds, limit), ENTRIES_A_RUN
        for stored in page:
            if left <= 0 or (found and budget.spent()):
                return merged(found), rounds
            begun = rounds.link if rounds.link and rounds.link.account == stored.id else None
            advance, judgement = self._judged(state, stored, begun or Link(stored.id), left, budget)
            if _is_half_done(judgement):
                if found and begun is None and _is_short(stored):
                    # Its lots are computed again where it is read in one go, as the first one of the next run.
                    return merged(found), rounds
                return merged(found), replace(rounds, account=stored.id, link=judgement.link)
            found.append(advance)
            left -= judgement.entries
            unknown = judgement.fault is not None and judgement.fault.check == NOT_JUDGED
            rounds = replace(
                rounds,
                account=stored.id,
                link=None,
                verified=rounds.verified + 1,
                not_judged=rounds.not_judged + unknown,
            )
        if len(page) < limit:
            now = self._clock.now_us()
            rounds = replace(
                rounds,
                account="",
                link=None,
                began_us=now,
                whole_us=rounds.began_us,
                verified=0,
                accounts=rounds.verified,
                not_judged=0,
                not_judged_before=rounds.not_judged,
            )
        return merged(found), rounds

    def _next(self, rounds: Rounds, limit: int) -> list[Document]:
        half = self._documents.get(document.account_path(rounds.account)) if rounds.link else None
        after = (rounds.account,) if rounds.account else ()
        rest = self._documents.query(Query("accounts", order_by=("__name__",), limit=limit, start_after=after))
        return [half, *rest][:limit] if half else rest

    def _judged(
        self, state: ArchivedState, stored: Document, start: Link, limit: int, budget: Budget
    ) -> tuple[Advance, Judgement]:
        """What an account's chain means for the next checkpoint, after at most `limit` entries of it."""
        uid = stored.id
        if subject_of(uid) in state.broken:
            return Advance(), Judgement(start, whole=True)
        judgement = self._judge.whole(stored, self._checkpoints.sealed(state, uid), start, limit, budget)
        if _is_half_done(judgement):
            return Advance(), judgement
        return self._checkpoints.judged(state, uid, judgement), judgement

    def _sealed(self, state: ArchivedState, rounds: Rounds, limit: int, budget: Budget) -> tuple[Advance, Rounds]:
        """Accounts that were sealed must be there, with their latest seal."""
        uids: list[str] = []
        group, member = rounds.group, rounds.member
        for _ in range(_GROUPS):
            name = f"{group:02x}"
            members = self._checkpoints.group(state, name) if name in state.groups else {}
            taken = sorted(uid for uid in members if uid > member)[: limit - len(uids)]
            uids += taken
            member = taken[-1] if taken else member
            if len(uids) == limit or budget.spent():
                break
            group, member = (group + 1) % _GROUPS, ""
        return merged(self._vanished(state, uids, budget).values()), replace(rounds, group=group, member=member)

    def _vanished(self, state: ArchivedState, uids: Sequence[str], budget: Budget) -> dict[str, Advance]:
        """What the next checkpoint says of sealed accounts that are not there, or whose seal is not theirs. While the
        breach of the copies is open it puts such seals right instead, as many as the time allows.
        """
        sealed = {uid: link for uid in uids if (link := self._checkpoints.sealed(state, uid)) is not None}
        kept = [uid for uid in sealed if subject_of(uid) not in state.broken]
        if not kept:
            return {}
        accounts = self._documents.get_all([document.account_path(uid) for uid in kept])
        seals = self._documents.get_all([f"sealed/{uid}" for uid in kept])
        copies = self._checkpoints.copies
        found: dict[str, Advance] = {}
        for uid, account, seal in zip(kept, accounts, seals):
            if account is None:
                found[uid] = Advance(broken={subject_of(uid): Breach(1, "missing")})
            elif CHECKPOINTS not in state.broken:
                found[uid] = self._checkpoints.copy_advance(state, uid, seal)
            elif not budget.spent() and copies.seal_differs(state, sealed[uid], seal):
                copies.heal_seal(sealed[uid])
        return found

    def _chain(self, state: ArchivedState, rounds: Rounds, budget: Budget) -> tuple[Advance, Rounds]:
        """The checkpoints in Firestore follow each other from the first to the archive's last."""
        if CHECKPOINTS in state.broken:
            return Advance(), self._healed(state, rounds, budget)
        where = (Where("number", ">", rounds.number),)
        page = self._documents.query(Query("checkpoints", where, ("number",), limit=CHECKPOINTS_A_RUN))
        for stored in page:
            number = rounds.number + 1
            fields = stored.fields
            if number > state.number and _follows(fields, number, rounds.hash, self._keys):
                return Advance(), rounds  # made meanwhile
            same = number != state.number or fields.get("hash") == state.hash
            if stored.id != f"{number:012d}" or not same or not _follows(fields, number, rounds.hash, self._keys):
                start = replace(rounds, number=0, hash=GENESIS_HASH)
                return Advance(broken={CHECKPOINTS: Breach(number, "checkpoint")}), start
            rounds = replace(rounds, number=number, hash=text_field(fields, "hash"))
        if len(page) < CHECKPOINTS_A_RUN:
            cut = rounds.number < state.number
            rounds = replace(rounds, number=0, hash=GENESIS_HASH)
            if cut:
                return Advance(broken={CHECKPOINTS: Breach(state.number, "checkpoint")}), rounds
        return Advance(), rounds

    def _healed(self, state: ArchivedState, rounds: Rounds, budget: Budget) -> Rounds:
        """While the breach of the copies is open, each checkpoint's are compared with the archive and put right."""
        for number in range(rounds.number + 1, min(rounds.number + HEALED_A_RUN, state.number) + 1):
            hashed = self._checkpoints.copies.heal(number, budget)
            if hashed is None:
                return rounds  # not all of its copies are written
            rounds = replace(rounds, number=number, hash=hashed)
            if budget.spent():
                break
        if rounds.number < state.number:
            return rounds
        self._checkpoints.copies.remove_beyond(state.number)
        return replace(rounds, number=0, hash=GENESIS_HASH)


def _is_short(stored: Document) -> bool:
    sequence = stored.fields.get("sequence")
    return isinstance(sequence, int) and sequence <= FOLDED_AT_MOST


def _is_half_done(judgement: Judgement) -> bool:
    return judgement.fault is None and not judgement.whole


def _follows(fields: Fields, number: int, prev_hash: str, keys: KeyRing) -> bool:
    said = (fields.get("number"), fields.get("prev_hash"))
    return said == (number, prev_hash) and checkpoint_holds({**fields}, keys)


def _fields(rounds: Rounds) -> dict[str, Value]:
    return {
        "account": rounds.account,
        "link": link_fields(rounds.link),
        "group": rounds.group,
        "member": rounds.member,
        "number": rounds.number,
        "hash": rounds.hash,
        "began_at": to_rfc3339(rounds.began_us),
        "whole_at": to_rfc3339(rounds.whole_us) if rounds.whole_us else None,
        "verified": rounds.verified,
        "accounts": rounds.accounts,
        "suspect": link_fields(rounds.suspect),
        "not_judged": rounds.not_judged,
        "not_judged_before": rounds.not_judged_before,
    }


def _rounds(fields: Fields) -> Rounds:
    whole = optional_text(fields, "whole_at")
    return Rounds(
        account=text_field(fields, "account"),
        link=_link(fields, "link"),
        group=int_field(fields, "group") % _GROUPS,
        member=text_field(fields, "member"),
        number=int_field(fields, "number"),
        hash=text_field(fields, "hash"),
        began_us=from_rfc3339(text_field(fields, "began_at")),
        whole_us=from_rfc3339(whole) if whole else 0,
        verified=int_field(fields, "verified"),
        accounts=int_field(fields, "accounts"),
        suspect=_link(fields, "suspect"),
        not_judged=int_field({"not_judged": 0, **fields}, "not_judged"),
        not_judged_before=int_field({"not_judged_before": 0, **fields}, "not_judged_before"),
    )


def _link(fields: Fields, name: str) -> Link | None:
    return None if fields.get(name) is None else link_of(as_map(fields[name]))
