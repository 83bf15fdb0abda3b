"""Attackers with all rights on the database and no key, and administrators who answer them, on accounts of their own.

They come to a quarter of the seeds, when the storm is over and everything was judged. Each act says what must be seen
of it: that the account is held, or that nothing happens to it; that it stays so; and that it goes on once what was
taken is back.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

from app.credits.core.account import AccountStatus
from app.credits.core.commands import Deposit, Reserve
from app.credits.core.entry import Reference
from app.credits.proofs.archived import CHECKPOINTS, subject_of
from app.credits.proofs.breaches import Resolution
from app.credits.proofs.signing import Signer
from app.credits.service import Credits
from app.credits.settings import CreditsSettings
from app.kit.canonical import digest
from app.kit.clock import to_rfc3339
from app.kit.errors import Failure
from app.kit.stores.documents import Create, Delete, Replace
from simulation.instance import Backend
from simulation.machine.concurrency import Greenlets
from simulation.machine.kernel import Instance, InstanceClock
from simulation.people.sealers import at_once
from simulation.world import World
from support.memory import Change

ACTS: Final = 4
_NEXT: Final = b"\x05" * 32
_PRESENT: Final = Signer(bytes(range(32)))
Body = dict[str, Any]
Snapshot = dict[str, Body]
Found = Iterator[str]


class Siege:
    """Tampers with accounts of its own, one after another."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._written: set[tuple[str, str]] = set()
        """Place and hash of each entry that the backend committed."""
        self._unkept: set[str] = set()
        self._then: Snapshot = {}
        self._between: Snapshot = {}
        self._last: Snapshot = {}
        self._count = 0
        world.documents.watchers.append(self._committed)

    def verdict(self) -> Found:
        """What was not found out, and what was held although it is whole."""
        yield from (f"key {kid} signed before it was kept" for kid in sorted(self._unkept))
        if self._kernel.seed % 4 != 1:
            return
        random = self._kernel.random
        uids = [f"siege{number}" for number in range(ACTS)]
        self._then = self._lived(uids)
        self._between = self._lived(uids)
        self._last = self._lived(uids)
        acts = (
            self._back_in_time,
            self._back_in_time,
            self._deleted,
            self._head_without_key,
            self._search_misled,
            self._entry_edited,
            self._seal_put_back,
            self._checkpoint_cut,
            self._sealed_often,
        )
        yield from at_once(self._world, "siege-sealed", lambda: self._live("siege-sealed"))
        for uid, act in zip(uids, random.sample(acts, ACTS)):
            yield from (f"{act.__name__}: {what}" for what in act(uid))
        yield from self._honest(uids)
        yield from self._only_what_was_written()
        if random.random() < 0.5:
            yield from self._key_retired(uids[0])

    # --- acts

    def _back_in_time(self, uid: str) -> Found:
        """The account and its entries as they were an hour ago: the search for changes does not see it."""
        self._put_back(self._then, f"accounts/{uid}")
        self._sweep(2)
        yield from self._held(uid)
        pardons = (self._one_accepts, self._accepted_and_changed, self._pardon_forged, self._alarm_erased)
        for pardon in self._kernel.random.sample(pardons, 2):
            pardon(uid)
            self._sweep(2)
            yield from (f"{pardon.__name__}: {what}" for what in self._held(uid))
        yield from self._restored(uid)

    def _deleted(self, uid: str) -> Found:
        """The account is gone with all its entries, and the alarm goes as well."""
        self._put_back({}, f"accounts/{uid}")
        self._sweep(2)
        yield from self._held(uid)
        self._alarm_erased(uid)
        self._sweep(1)
        yield from self._held(uid)
        yield from self._restored(uid)

    def _head_without_key(self, uid: str) -> Found:
        """One more entry, which nobody signed; the verification in turn does not come by."""
        self._append(uid)
        yield from self._key_taken(uid)
        self._seal(2)
        yield from self._held(uid)
        self._pardon_forged(uid)
        self._sweep(1)
        yield from self._held(uid)
        yield from self._restored(uid)

    def _key_taken(self, uid: str) -> Found:
        """The forged entry has the key of a payment, which comes now: it is refused, and not taken for paid."""
        try:
            told = self._any().post(uid, Deposit("forged", 1_000_000, "stripe", Reference("payment", "forged")))
        except Failure:
            return
        except Exception as error:  # noqa: BLE001  # whatever else a caller is told is a fault of ours
            yield f"a payment met a forged entry of {uid}: {type(error).__name__}: {error}"
        else:
            yield f"a payment met a forged entry of {uid} and was answered {told.entry.id}"

    def _search_misled(self, uid: str) -> Found:
        """As before, and the search is told that it has seen everything."""
        never = "3000-01-01T00:00:00.000000Z"
        forged = {"since": never, "began": never, "after": never, "after_id": "z"}
        self._put("jobs/sealing", {**self._stored("jobs/sealing"), **forged})
        self._append(uid)
        self._seal(2)
        yield from self._held(uid)
        yield from self._restored(uid)

    def _entry_edited(self, uid: str) -> Found:
        """Somebody changes what an entry says, with its hash."""
        path = f"accounts/{uid}/entries/000000000001"
        entry = self._stored(path)
        self._put(path, _rehashed({**entry, "description": "something else"}))
        try:
            self._any().receipt(uid, entry["id"])
            yield f"a receipt was signed of an entry of {uid} that nobody signed"
        except Failure:
            pass
        self._sweep(2)
        yield from self._held(uid)
        yield from self._restored(uid)

    def _seal_put_back(self, uid: str) -> Found:
        """The copy of a seal is an old one; the account is whole, and its statements go on."""
        self._put(f"sealed/{uid}", self._then[f"sealed/{uid}"])
        credits = self._any()
        if not credits.validate_chain(uid).valid:
            yield f"{uid} does not verify because the copy of its seal is old"
        yield from self._copies_healed(uid)

    def _checkpoint_cut(self, uid: str) -> Found:
        """The last checkpoint goes, and no other follows."""
        self._sweep(2)
        last = max(path for path in self._world.documents.real.all() if path.startswith("checkpoints/"))
        self._world.documents.real.commit([Delete(last)])
        yield from self._copies_healed(uid)

    def _sealed_often(self, uid: str) -> Found:
        """Nobody attacks: an instance that remembers nothing finds what others have sealed."""
        for _ in range(10):
            self._live(uid)
            self._seal(1)
            yield from self._found_sealed(uid)

    def _found_sealed(self, uid: str) -> Found:
        """An instance that remembers nothing finds the account's last entry sealed."""
        evidence = self._fresh().credits.checkpoints.evidence(uid)
        stands = self._stored(f"accounts/{uid}")["sequence"]
        if evidence is None or evidence.sequence != stands:
            yield f"{uid} has {stands} entries, and an instance finds sealed {evidence and evidence.sequence}"

    def _key_retired(self, uid: str) -> Found:
        """A deployment signs with another key; an instance of the one before must not sign for longer than a day."""
        kernel, old = self._kernel, self._any()
        new = self._deployed(old.settings._replace(signing_key=_NEXT, retired_keys=(_PRESENT.public,)))
        new.publish_key()
        new.post(uid, Deposit("new-key", 1, "stripe", Reference("payment", "new-key")))
        kernel.run(kernel.now_us + 30 * 3_600_000_000)
        try:
            old.post(uid, Deposit("old-key", 1, "stripe", Reference("payment", "old-key")))
            yield "a key that was retired yesterday has signed"
        except Failure:
            pass
        if not new.validate_chain(uid).valid:
            yield f"{uid} does not verify after a change of keys"

    def _deployed(self, settings: CreditsSettings) -> Credits:
        """The credit system of an instance with other settings."""
        kernel, outside = self._kernel, self._world.outside
        return Credits(
            settings,
            documents=outside.documents,
            clock=InstanceClock(kernel, 0),
            concurrency=Greenlets(kernel, Instance(901)),
            draw=kernel.random.randrange,
            archive=outside.archive,
        )

    # --- administrators, true and false

    def _one_accepts(self, uid: str) -> None:
        self._resolve(subject_of(uid), by="root", accept=True)

    def _accepted_and_changed(self, uid: str) -> None:
        """Two accept what stands there, and then something else stands there."""
        for by in ("root", "boss"):
            self._resolve(subject_of(uid), by=by, accept=True)
        self._put_back(self._between, f"accounts/{uid}")

    def _alarm_erased(self, uid: str) -> None:
        self._put_back({}, f"breaches/{subject_of(uid)}")
        if account := self._stored(f"accounts/{uid}"):
            self._put(f"accounts/{uid}", {**account, "status": "active"})

    def _pardon_forged(self, uid: str) -> None:
        path = f"breaches/{subject_of(uid)}"
        breach, account = self._stored(path), self._stored(f"accounts/{uid}")
        signature, kid = self._any().sign(bytes(32))
        pardon = {
            "type": "credits-breach-resolution",
            "subject": subject_of(uid),
            "since": breach.get("since"),
            "accept": True,
            "by": "root",
            "reason": "mine",
            "at": to_rfc3339(self._kernel.now_us),
            "approved_by": "boss",
            "sequence": account["sequence"],
            "head_hash": account["head_hash"],
            "key_id": kid,
            "signature": signature,
        }
        self._put(path, {**breach, "resolution": pardon})

    def _restored(self, uid: str) -> Found:
        """What was taken is put back and an administrator says so: then the account goes on, unless others froze it."""
        status = self._stored(f"accounts/{uid}").get("status")
        fraud = status is not None and self._kernel.chance(0.5)
        if fraud:
            self._any().set_status(uid, AccountStatus.FROZEN, "fraud")
        self._put_back(self._last, f"accounts/{uid}")
        if status is not None:
            self._put(f"accounts/{uid}", {**self._stored(f"accounts/{uid}"), "status": status})
        self._resolve(subject_of(uid), by="root", accept=False)
        self._sweep(2)
        breach, account = self._stored(f"breaches/{subject_of(uid)}"), self._stored(f"accounts/{uid}")
        if breach.get("state") != "resolved":
            yield f"{uid} was restored, and its breach is {breach}"
        if account.get("status") != ("frozen" if fraud else "active"):
            yield f"{uid} was restored and is {account.get('status')}, frozen by others: {fraud}"

    def _copies_healed(self, uid: str) -> Found:
        """A copy that differs is alarmed and written anew, and costs nobody anything."""
        self._sweep(2)
        if self._stored(f"breaches/{CHECKPOINTS}").get("state") != "open":
            yield "a copy was put back or cut, and nobody was told"
        if self._stored(f"accounts/{uid}").get("status") != "active" or self._stored(f"breaches/{subject_of(uid)}"):
            yield f"{uid} is held for a copy that differs"
        self._sweep(5)
        self._resolve(CHECKPOINTS, by="root", accept=False)
        self._sweep(2)
        if self._stored(f"breaches/{CHECKPOINTS}").get("state") != "resolved":
            yield f"the copies were written anew, and the breach is {self._stored(f'breaches/{CHECKPOINTS}')}"

    def _resolve(self, subject: str, *, by: str, accept: bool) -> None:
        with contextlib.suppress(Failure):
            self._any().checkpoints.resolve(subject, Resolution(by, "as agreed", accept))

    # --- what must be seen

    def _held(self, uid: str) -> Found:
        breach, account = self._stored(f"breaches/{subject_of(uid)}"), self._stored(f"accounts/{uid}")
        if breach.get("state") != "open":
            yield f"{uid} was tampered with, and the breach is {breach}"
        if account.get("status") == "active":
            yield f"{uid} was tampered with and may spend"
        try:
            self._any().reserve(uid, Reserve("loot", 1, 1, "api", Reference("run", "x"), 600_000_000))
        except (Failure, ValueError):
            return
        yield f"{uid} was tampered with and has spent"

    def _honest(self, besieged: list[str]) -> Found:
        """Nobody else is held, and everybody's chain verifies."""
        self._sweep(2)
        credits = self._any()
        for path, account in self._world.documents.real.all().items():
            if not path.startswith("accounts/siege") or path.count("/") != 1:
                continue
            uid = account.id
            if self._stored(f"breaches/{subject_of(uid)}").get("state") == "open":
                yield f"{uid} is held, and is as it was signed"
            elif uid in besieged and not credits.validate_chain(uid).valid:
                yield f"{uid} does not verify"

    def _only_what_was_written(self) -> Found:
        """No checkpoint seals of these accounts what the backend has not written."""
        for name, content in self._world.outside.archive.kept.items():
            for leaf in json.loads(content)["leaves"] if name.startswith("checkpoints/") else ():
                place = f"accounts/{leaf['account']}/entries/{leaf['sequence']:012d}"
                ours = leaf["account"].startswith("siege")  # others bring accounts with a past
                if ours and (place, leaf["head_hash"]) not in self._written:
                    yield f"{name} seals {place}, which nobody has written"

    def _committed(self, changes: list[Change]) -> None:
        for path, _, after in changes:
            if after is None or "/entries/" not in path or not path.startswith("accounts/"):
                continue
            self._written.add((path, str(after["hash"])))
            if f"keys/{after['key_id']}.json" not in self._world.outside.archive.kept:
                self._unkept.add(str(after["key_id"]))

    # --- means

    def _lived(self, uids: list[str]) -> Snapshot:
        """Everybody pays something, a while passes and all is sealed; what is stored then."""
        for uid in uids:
            self._live(uid)
        self._kernel.run(self._kernel.now_us + 1_200_000_000)
        self._sweep(1)
        stored = self._world.documents.real.all()
        return {path: {**one.fields} for path, one in stored.items() if path.startswith(("accounts/siege", "sealed/"))}

    def _live(self, uid: str) -> None:
        self._count += 1
        payment = f"siege-{self._count}"
        credits = self._any()
        credits.account(uid)
        credits.post(uid, Deposit(payment, 1_000_000, "stripe", Reference("payment", payment)))

    def _append(self, uid: str) -> None:
        account = self._stored(f"accounts/{uid}")
        last = self._stored(f"accounts/{uid}/entries/{account['sequence']:012d}")
        sequence = account["sequence"] + 1
        forged = _rehashed(
            {**last, "id": "ent_forged", "key": "deposit:forged", "sequence": sequence, "prev_hash": last["hash"]}
        )
        self._put(f"accounts/{uid}/entries/{sequence:012d}", forged)
        now = to_rfc3339(self._kernel.now_us)
        changes = {"sequence": sequence, "head_hash": forged["hash"], "updated_at": now}
        self._put(f"accounts/{uid}", {**account, **changes})

    def _sweep(self, times: int) -> None:
        for _ in range(times):
            self._world.sweep()
            self._kernel.run(self._kernel.now_us + 60_000_000)

    def _seal(self, times: int) -> None:
        """Sweeps of which nothing but the sealing came to its end."""
        for _ in range(times):
            self._kernel.run(self._kernel.now_us + 60_000_000)
            self._any().checkpoints.seal()

    def _any(self) -> Credits:
        return self._kernel.random.choice(self._world.backends).credits

    def _fresh(self) -> Backend:
        return Backend(self._world.outside, Instance(900), self._world.alarm)

    def _stored(self, path: str) -> Body:
        found = self._world.documents.real.get(path)
        return {} if found is None else {**found.fields}

    def _put(self, path: str, fields: Body) -> None:
        self._world.documents.real.commit([Replace(path, fields)])

    def _put_back(self, then: Snapshot, root: str) -> None:
        real = self._world.documents.real
        for path in list(real.all()):
            if path == root or path.startswith(f"{root}/"):
                real.commit([Delete(path)])
        for path, fields in then.items():
            if path == root or path.startswith(f"{root}/"):
                real.commit([Create(path, fields)])


def _rehashed(fields: Body) -> Body:
    return {**fields, "hash": digest({name: v for name, v in fields.items() if name not in ("hash", "signature")})}
