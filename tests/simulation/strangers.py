"""Those who come in by the back door: operators who edit documents by hand, and attackers with all rights and no key.

Neither passes through the backend, so no trigger and no watcher hears of what they write.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from app.api.auth import Principal
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.errors import Failure
from app.kit.stores.documents import Create, Delete, Document, Fields, Opaque, Replace, Value, int_field
from simulation.audit.records import JUNK, Records
from simulation.edge import HttpRequest, serve
from simulation.world import World

_ODD: Final[Mapping[str, Value]] = {"theirs": Opaque("geo_point_value", b"\x42\x00"), "next": {"version": [1]}}
_LONG_AGO: Final = "2026-01-01T00:00:00.000000Z"
_BREAKS: Final[tuple[Value, ...]] = (Opaque("geo_point_value", b"\x12\x00"), "of a later version", 0.5, None, [None])


@dataclass(frozen=True)
class _Kind:
    """Documents whose paths match. Broken copies have `spoilt` broken and `due` long ago: `job` has to list them."""

    matches: Callable[[str], bool]
    spoilt: str
    due: str
    job: str
    more: Mapping[str, Value] = field(default_factory=dict)


_KINDS: Final = (
    _Kind(lambda path: path.startswith("accounts/") and path.count("/") == 1, "status", "next_expiry_at", "expiry"),
    # One that cannot be read keeps the others of its line waiting, because they may not overtake it. So it has no line.
    _Kind(lambda path: path.startswith("operations/"), "state", "wake_at", "overdue_operations", {"key": None}),
    _Kind(lambda path: path.startswith("sagas/"), "status", "check_at", "sagas"),
    _Kind(lambda path: "/messages/" in path, "attempt", "lease_until", "chat_orphans", {"state": "running"}),
)


class Operator:
    """Adds fields that no version knows, leaves broken copies of documents, and removes fields that say nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._marked: list[str] = []
        self._left: dict[str, str] = {}
        """Broken rows, and the job that has to list them."""

    def comes(self, times: int) -> None:
        """Acts so many times in the first eight minutes."""
        kernel = self._world.kernel
        for _ in range(times):
            kernel.after(kernel.random.randrange(30_000_000, 480_000_000), self._act)

    def verdict(self, records: Records) -> Iterator[str]:
        """Every broken row was passed over and is listed; fields that nobody knows are kept."""
        for path, job in self._left.items():
            row = records.one(path)
            if row is None or row.fields.get("state") == "dead":
                continue  # It went with its conversation, or is a dead letter.
            stored = records.one(f"jobs/{job}")
            listed = stored.fields.get("broken") if stored else ()
            if path not in [one.get("path") for one in listed or () if isinstance(one, Mapping)]:  # type: ignore[union-attr]
                yield f"{path} cannot be read, and {job} does not list it"
        for path in self._marked:
            kept = records.one(path)
            if kept is not None and any(kept.fields.get(name) != value for name, value in _ODD.items()):
                yield f"{path} lost the fields that an operator had added"

    def _act(self) -> None:
        random, real = self._world.kernel.random, self._world.documents.real
        kind = random.choice(_KINDS)
        found = [one for path, one in sorted(real.all().items()) if kind.matches(path) and JUNK not in path]
        if not found:
            return
        chosen = random.choice(found)
        self._world.kernel.note(f"an operator edits {chosen.path}")
        random.choice((self._mark, self._spoil, self._tidy))(chosen, kind)

    def _mark(self, chosen: Document, kind: _Kind) -> None:
        # A repeated message is a new document, and one of a deleted conversation goes.
        if kind.job != "chat_orphans":
            self._marked.append(chosen.path)
        self._write(chosen, {**chosen.fields, **_ODD})

    def _spoil(self, chosen: Document, kind: _Kind) -> None:
        broken = self._world.kernel.random.choice(_BREAKS)
        path = f"{chosen.path.rpartition('/')[0]}/{JUNK}{len(self._left)}"
        fields = {**chosen.fields, **kind.more, kind.due: _LONG_AGO, kind.spoilt: broken}
        self._world.documents.real.commit([Create(path, fields)])
        self._left[path] = kind.job

    def _tidy(self, chosen: Document, _: _Kind) -> None:
        """Fields of an account that say nothing: no dispute, nothing forgotten."""
        if chosen.path.startswith("accounts/"):
            self._write(chosen, {name: it for name, it in chosen.fields.items() if name not in _IDLE or it})

    def _write(self, chosen: Document, fields: Fields) -> None:
        self._world.documents.real.commit([Replace(chosen.path, fields, chosen.version)])


_IDLE: Final = ("disputes", "forgot")


class Attacker:
    """Deletes and puts back with an administrator's rights on the database. The rest of the world goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._then: dict[str, Fields] = {}

    def looks(self) -> None:
        """Remembers what is stored at some time during the run."""
        kernel = self._world.kernel
        kernel.after(kernel.random.randrange(100_000_000, 500_000_000), self._remember)

    def verdict(self) -> Iterator[str]:
        """Acts, and says where that was not found out, or others have suffered."""
        random = self._world.kernel.random
        records = Records(self._world.documents.real)
        victims = [uid for uid in records.uids() if self._grown(uid)]
        if not victims:
            return
        victim = random.choice(victims)
        cuts = (self._cut, *[self._cut_with_seal] * 4)
        how = random.choice((*cuts, self._delete, self._delete_with_seal, self._enrich))
        how(victim)
        yield from self._found_out(victim, how.__name__)
        if how in cuts:
            yield from self._mended(victim, how.__name__)
        # The attacker erases the alarm, and the account spends again.
        self._erase(f"breaches/account-{victim}")
        self._change(f"accounts/{victim}", status="active")
        yield from self._found_out(victim, f"{how.__name__}, alarm erased")
        yield from self._others(victim)

    def _found_out(self, victim: str, how: str) -> Iterator[str]:
        for _ in range(2):
            self._world.sweep()
            self._world.kernel.run(self._world.kernel.now_us + 60_000_000)
        breach = self._stored(f"breaches/account-{victim}")
        if breach is None or breach["state"] != "open":
            yield f"{victim} was tampered with ({how}), and the breach is {breach}"
        account = self._stored(f"accounts/{victim}")
        if account is not None and account["status"] == "active":
            yield f"{victim} was tampered with ({how}) and may spend"
        try:
            self._spend(victim)
        except (Failure, ValueError):
            return
        yield f"{victim} was tampered with ({how}) and has spent"

    def _mended(self, victim: str, how: str) -> Iterator[str]:
        """An administrator asks for a repair. Entries that were cut are no ground for it, whatever Firestore says."""
        token = self._world.outside.tokens.issue(Principal("mender", "admin"))
        request = HttpRequest("POST", "/v1/credits/repair", token, json.dumps({"uid": victim}).encode())
        told: list[object] = []

        def ask() -> None:
            told.append(self._world.request("repair", lambda backend: serve(backend.system, request).status))

        self._world.kernel.spawn("mender", ask)
        self._world.kernel.run(self._world.kernel.now_us + 10_000_000)
        if told != [409]:
            yield f"{victim} was tampered with ({how}), and its repair is answered {told}"

    def _others(self, victim: str) -> Iterator[str]:
        credits = self._world.backends[0].credits
        for uid in Records(self._world.documents.real).uids():
            if uid == victim:
                continue
            if self._stored(f"breaches/account-{uid}") is not None:
                yield f"{uid} is held for broken, {victim} is"
            if not credits.validate_chain(uid).valid:
                yield f"{uid}: the chain does not verify after an attack on {victim}"

    def _spend(self, uid: str) -> None:
        reference = Reference("run", "x")
        self._world.backends[0].credits.reserve(uid, Reserve("loot", 1, 1, "api", reference, 600_000_000))

    def _grown(self, uid: str) -> bool:
        """Whether there is something to put back: an account that has got entries since."""
        then, now = self._then.get(f"accounts/{uid}"), self._stored(f"accounts/{uid}")
        return then is not None and now is not None and 0 < int_field(then, "sequence") < int_field(now, "sequence")

    def _cut(self, uid: str) -> None:
        account = f"accounts/{uid}"
        for path in list(self._world.documents.real.all()):
            if path.startswith(f"{account}/") and path not in self._then:
                self._erase(path)
        self._put(account, self._then[account])

    def _cut_with_seal(self, uid: str) -> None:
        self._cut(uid)
        seal = f"sealed/{uid}"
        if seal in self._then:
            self._put(seal, self._then[seal])
        else:
            self._erase(seal)

    def _delete(self, uid: str) -> None:
        for path in list(self._world.documents.real.all()):
            if path == f"accounts/{uid}" or path.startswith(f"accounts/{uid}/"):
                self._erase(path)

    def _delete_with_seal(self, uid: str) -> None:
        self._delete(uid)
        self._erase(f"sealed/{uid}")

    def _enrich(self, uid: str) -> None:
        stored = self._stored(f"accounts/{uid}")
        assert stored is not None
        self._change(f"accounts/{uid}", balance=int_field(stored, "balance") + 10**9)

    def _remember(self) -> None:
        stored = self._world.documents.real.all()
        self._then = {path: one.fields for path, one in stored.items() if path.startswith(("accounts/", "sealed/"))}

    def _stored(self, path: str) -> Fields | None:
        found = self._world.documents.real.get(path)
        return None if found is None else found.fields

    def _change(self, path: str, **fields: Value) -> None:
        stored = self._stored(path)
        if stored is not None:
            self._put(path, {**stored, **fields})

    def _put(self, path: str, fields: Fields) -> None:
        self._world.documents.real.commit([Replace(path, fields)])

    def _erase(self, path: str) -> None:
        if self._stored(path) is not None:
            self._world.documents.real.commit([Delete(path)])
