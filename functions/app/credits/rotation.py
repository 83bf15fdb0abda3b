"""Verifies the chain of every account in turn, some with each sweep, also those that nobody reads or changes.

Three cursors in `jobs/chain_verification` go round and round: over the accounts (each from its first entry), over what
was sealed (accounts and seals that vanished), and over the chain of checkpoints. Accounts that a reader found broken
come first.
"""

from dataclasses import asdict, dataclass, replace
from typing import Final

from app.credits.core.account import GENESIS_HASH
from app.credits.ledger import document
from app.credits.proofs.archived import CHECKPOINTS, Advance, ArchivedState, Breach, subject_of
from app.credits.proofs.checkpoints import WHOLE, Checkpoints, SealingParts, merged
from app.credits.proofs.sealing import checkpoint_holds
from app.credits.proofs.signed_record import SignedRecord
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


class Rotation:
    """The verification in turn."""

    def __init__(self, parts: SealingParts, checkpoints: Checkpoints, record: SignedRecord, keys: KeyRing) -> None:
        self._documents, self._clock, self._judge = parts.documents, parts.clock, parts.judge
        self._checkpoints, self._record, self._keys = checkpoints, record, keys

    def verify_next(self, limit: int) -> int:
        """Verifies the next `limit` accounts, and as many that were sealed; how many were verified."""
        rounds = self.rounds()
        state = self._checkpoints.current()
        suspected, suspects = self._suspected(state, limit)
        found, after = self._accounts(state, rounds, limit)
        gone, after = self._sealed(state, after, limit)
        cut, after = self._chain(state, after)
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

    def _suspected(self, state: ArchivedState, limit: int) -> tuple[Advance, list[str]]:
        """Verifies the accounts that a reader found broken: what the next checkpoint changes, and those that hold."""
        found: list[Advance] = []
        unfounded: list[str] = []
        left = ENTRIES_A_RUN
        for uid in self._checkpoints.breaches.suspected(limit):
            if left <= 0:
                break
            stored = self._documents.get(document.account_path(uid))
            if stored is None:
                advance = self._vanished(state, uid)
            else:
                advance, _, entries = self._judged(state, stored, Link(uid), WHOLE)
                left -= entries
            found.append(advance)
            if not advance.broken:
                unfounded.append(uid)
        return merged(found), unfounded

    def _accounts(self, state: ArchivedState, rounds: Rounds, limit: int) -> tuple[Advance, Rounds]:
        found: list[Advance] = []
        page, left = self._next(rounds, limit), ENTRIES_A_RUN
        for stored in page:
            if left <= 0:
                return merged(found), rounds
            start = rounds.link if rounds.link and rounds.link.account == stored.id else Link(stored.id)
            advance, link, entries = self._judged(state, stored, start, left)
            found.append(advance)
            left -= entries
            rounds = replace(rounds, account=stored.id, link=link, verified=rounds.verified + (link is None))
            if link is not None:
                return merged(found), rounds
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
            )
        return merged(found), rounds

    def _next(self, rounds: Rounds, limit: int) -> list[Document]:
        half = self._documents.get(document.account_path(rounds.account)) if rounds.link else None
        after = (rounds.account,) if rounds.account else ()
        rest = self._documents.query(Query("accounts", order_by=("__name__",), limit=limit, start_after=after))
        return [half, *rest][:limit] if half else rest

    def _judged(
        self, state: ArchivedState, stored: Document, start: Link, limit: int
    ) -> tuple[Advance, Link | None, int]:
        """What an account's chain means, where to go on with it after `limit` entries, and how many were read."""
        uid = stored.id
        if subject_of(uid) in state.broken:
            return Advance(), None, 0
        sealed = self._checkpoints.sealed(state, uid)
        judgement = self._judge.whole(stored, sealed, start, limit)
        if judgement.fault is None and not judgement.whole:
            return Advance(), judgement.link, judgement.entries
        return self._checkpoints.judged(state, uid, judgement), None, judgement.entries

    def _sealed(self, state: ArchivedState, rounds: Rounds, limit: int) -> tuple[Advance, Rounds]:
        """Accounts that were sealed must be there, with their latest seal."""
        found: list[Advance] = []
        left = limit
        for _ in range(_GROUPS):
            name = f"{rounds.group:02x}"
            members = sorted(uid for uid in self._checkpoints.group(state, name) if uid > rounds.member)
            for uid in members[:left]:
                found.append(self._vanished(state, uid))
                rounds, left = replace(rounds, member=uid), left - 1
            if left == 0:
                break
            rounds = replace(rounds, group=(rounds.group + 1) % _GROUPS, member="")
        return merged(found), rounds

    def _vanished(self, state: ArchivedState, uid: str) -> Advance:
        sealed = self._checkpoints.sealed(state, uid)
        if sealed is None or subject_of(uid) in state.broken:
            return Advance()
        if self._documents.get(document.account_path(uid)) is None:
            return Advance(broken={subject_of(uid): Breach(1, "missing")})
        if CHECKPOINTS in state.broken and self._checkpoints.copies.seal_differs(state, sealed):
            self._checkpoints.copies.heal_seal(sealed)
        return self._checkpoints.copy_advance(state, uid)

    def _chain(self, state: ArchivedState, rounds: Rounds) -> tuple[Advance, Rounds]:
        """The checkpoints in Firestore follow each other from the first to the archive's last."""
        if CHECKPOINTS in state.broken:
            return Advance(), self._healed(state, rounds)
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

    def _healed(self, state: ArchivedState, rounds: Rounds) -> Rounds:
        """While the breach of the copies is open, each checkpoint's are compared with the archive and put right."""
        for number in range(rounds.number + 1, min(rounds.number + HEALED_A_RUN, state.number) + 1):
            rounds = replace(rounds, number=number, hash=self._checkpoints.copies.heal(number))
        if rounds.number < state.number:
            return rounds
        self._checkpoints.copies.remove_beyond(state.number)
        return replace(rounds, number=0, hash=GENESIS_HASH)


def _follows(fields: Fields, number: int, prev_hash: str, keys: KeyRing) -> bool:
    said = (fields.get("number"), fields.get("prev_hash"))
    return said == (number, prev_hash) and checkpoint_holds({**fields}, keys)


def _fields(rounds: Rounds) -> dict[str, Value]:
    link = rounds.link
    return {
        "account": rounds.account,
        "link": asdict(link) if link else None,
        "group": rounds.group,
        "member": rounds.member,
        "number": rounds.number,
        "hash": rounds.hash,
        "began_at": to_rfc3339(rounds.began_us),
        "whole_at": to_rfc3339(rounds.whole_us) if rounds.whole_us else None,
        "verified": rounds.verified,
        "accounts": rounds.accounts,
    }


def _rounds(fields: Fields) -> Rounds:
    whole = optional_text(fields, "whole_at")
    return Rounds(
        account=text_field(fields, "account"),
        link=None if fields.get("link") is None else _link(as_map(fields["link"])),
        group=int_field(fields, "group") % _GROUPS,
        member=text_field(fields, "member"),
        number=int_field(fields, "number"),
        hash=text_field(fields, "hash"),
        began_us=from_rfc3339(text_field(fields, "began_at")),
        whole_us=from_rfc3339(whole) if whole else 0,
        verified=int_field(fields, "verified"),
        accounts=int_field(fields, "accounts"),
    )


def _link(fields: Fields) -> Link:
    return Link(
        account=text_field(fields, "account"),
        sequence=int_field(fields, "sequence"),
        head_hash=text_field(fields, "head_hash"),
        balance=int_field(fields, "balance"),
        debt=int_field(fields, "debt"),
        created_at=text_field(fields, "created_at"),
    )
