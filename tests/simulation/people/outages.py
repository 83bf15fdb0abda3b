"""Outages that touch a part: a tablet that refuses three accounts, mirrors whose triggers are lost, rows in front of
all others, and a Realtime Database that hangs.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from app.api.auth import Principal
from app.kit.clock import minutes, seconds
from app.kit.errors import Unavailable
from app.kit.stores.documents import Create, Delete, Fields, Merge, Opaque, Replace, Value, Write, int_field
from app.orchestration.queue.operation import OPEN
from app.orchestration.sagas.sagas import SagaStart
from app.ports import Identity
from simulation.audit.records import JUNK
from simulation.edge import HttpRequest
from simulation.instance import Backend
from simulation.machine.kernel import CALM
from simulation.people.door import Door
from simulation.world import World

_LONG_AGO: Final = "2026-01-01T00:00:00.000000Z"
_PROMPT_US: Final = seconds(5)
"""What does not need the Realtime Database is done so soon after a sweep began."""
_SWEPT_US: Final = seconds(60) + seconds(30)
"""In calm weather what is over is ended by the next sweep."""
_ODD: Final = Opaque("geo_point_value", b"\x42\x00")
_TURNS: Final = "/messages/"
_MENDED: Final = f"{JUNK}mended"
_MANY: Final = 320
"""More rows than a chore handles in three runs."""


class Guests:
    """Opens accounts over HTTP, each of another person, and sets credits aside."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._kernel = world, world.kernel
        self._door = Door(world, name)
        self.found = self._door.found

    def opens(self, uid: str) -> bool:
        """Opens the account and leaves it alone; whether it is open."""
        return self._asks(uid, HttpRequest("GET", "/v1/credits/balance"), 200)

    def holds(self, uid: str, *, for_s: int) -> bool:
        """Opens the account and holds something; whether it is held."""
        body = f'{{"amount": "1", "purpose": "x", "expires_in": {for_s}}}'.encode()
        return self._asks(uid, HttpRequest("POST", "/v1/credits/reserve", body=body), 201)

    def _asks(self, uid: str, request: HttpRequest, wanted: int) -> bool:
        world = self._world
        who = Identity(uid, "google.com", f"google-{uid}", f"{uid}@gmail.com", True, self._kernel.now_us)
        world.outside.people.known[uid] = who
        token = world.outside.tokens.issue(Principal(uid))
        for number in range(8):
            headers = {"Idempotency-Key": f"{uid}-{number}", "X-Forwarded-For": f"198.19.{len(uid) + ord(uid[-1])}.1"}
            heard = self._door.ask(replace(request, token=token, headers=headers))
            if heard is not None and heard.status == wanted:
                return True
            self._kernel.sleep(5_000_000)
        return False


class SickTablet:
    """Three accounts whose commits Firestore refuses from now on. They are due before everybody else's."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._guests = Guests(world, "tablet")
        self._sick: set[str] = set()
        self.found = self._guests.found
        world.documents.tries.append(self._refuse)

    def live(self) -> None:
        """Their credits and those of a healthy one are held, and nobody lets go."""
        uids = [f"{JUNK}sick{number}" for number in range(3)]
        for uid in uids:
            self._guests.holds(uid, for_s=40)
            self._sick.add(f"accounts/{uid}")
        self._guests.holds("patient", for_s=90)

    def _refuse(self, writes: Sequence[Write]) -> None:
        if self._kernel.current is not None and any(write.path in self._sick for write in writes):
            raise Unavailable("the store refused: too much contention on this tablet")


class LostMirrors:
    """Accounts of whose change no trigger tells, just before the Realtime Database is away for a sweep."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._guests = Guests(world, "mirrors")
        self._left: list[str] = []

    def live(self) -> None:
        """They are opened once, and never touched again but by the sweep."""
        uids = [f"quiet{number}" for number in range(3)]
        self._world.deaf.update(uids)
        self._kernel.sleep(self._kernel.random.randrange(minutes(2)))
        opened = [uid for uid in uids if self._guests.opens(uid)]
        # Mirrors are compared a minute after a change, with the next sweep.
        self._kernel.sleep(seconds(50))
        outage = self._world.realtime.outage
        outage.reason, outage.until_us = "UNAVAILABLE", self._kernel.now_us + seconds(75)
        self._kernel.sleep(seconds(80))
        # The second look at mirrors comes half an hour later: the first one may not have passed them.
        for _ in range(12 if not self._world.faults.stall else 0):
            shown = self._world.realtime.real.peek
            self._left = [uid for uid in opened if shown(f"users/{uid}/balance") is None]
            if not self._left:
                return
            self._world.sweep()
            self._kernel.sleep(seconds(20))

    @property
    def found(self) -> list[str]:
        """What was wrong."""
        late = [f"the mirrors of {self._left} are missing, long after the Realtime Database came back"]
        return [*self._guests.found, *(late if self._left else [])]


class BrokenCrowd:
    """Hundreds of accounts that cannot be read stand before everybody else, in calm weather; nobody waits for them."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._guests = Guests(world, "hasty")
        self._ended_us = 0
        self.found = self._guests.found
        world.documents.watchers.append(self._committed)

    def live(self) -> None:
        """Somebody's reservation is over while they stand there."""
        self._kernel.sleep(seconds(70))
        stored = self._world.documents.real.all()
        accounts = [
            one for path, one in sorted(stored.items()) if path.startswith("accounts/") and path.count("/") == 1
        ]
        if not accounts:
            return
        breaks: tuple[Value, ...] = (Opaque("geo_point_value", b"\x12\x00"), "of a later version", 0.5)
        for broken in breaks:
            fields = {**accounts[0].fields, "status": broken, "next_expiry_at": _LONG_AGO}
            for number in range(_MANY // len(breaks)):
                path = f"accounts/{JUNK}crowd-{breaks.index(broken)}-{number}"
                self._world.documents.real.commit([Create(path, fields)])
        held = self._guests.holds("hasty", for_s=60)
        due_us = self._kernel.now_us + seconds(60)
        self._kernel.sleep(seconds(60) + _SWEPT_US)
        crowd = [path for path in self._world.documents.real.all() if f"{JUNK}crowd" in path]
        for path in crowd:
            self._world.documents.real.commit([Delete(path)])
        if held and not due_us - seconds(5) < self._ended_us < due_us + _SWEPT_US:
            self.found.append(f"a reservation was due at {due_us} and ended at {self._ended_us}, behind broken rows")

    def _committed(self, changes: Sequence[tuple[str, Fields | None, Fields | None]]) -> None:
        for path, before, after in changes:
            if path == "accounts/hasty" and before and after and before["reservations"] and not after["reservations"]:
                self._ended_us = self._kernel.now_us


class Clumsy:
    """An operator leaves operations that nobody can read at the head of lines in which others wait, adds a field to
    accounts that no version knows, and breaks a copy of a turn whose owner stops it meanwhile.
    """

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._left = 0
        self._marked: set[str] = set()
        self._door = Door(world, "clumsy")
        self.found = self._door.found
        world.documents.watchers.append(self._committed)

    def live(self) -> None:
        """A few of them."""
        for _ in range(4):
            self._kernel.sleep(self._kernel.random.randrange(seconds(20), seconds(120)))
            self._leave()
            self._mark()
            self._copy()

    def _copy(self) -> None:
        """A copy of a turn under another name, which nobody can read, while the owner stops the turn."""
        real = self._world.documents.real
        stored = [one for path, one in sorted(real.all().items()) if path.startswith("users/user") and _TURNS in path]
        copied = {one.fields["id"] for one in stored if JUNK in one.path}
        turns = [one for one in stored if one.fields["id"] not in copied]
        if not turns:
            return
        chosen = self._kernel.random.choice(turns)
        path = f"{chosen.path.rpartition('/')[0]}/{JUNK}copy"
        real.commit([Create(path, {**chosen.fields, "state": "done", "attempt": "of a later version"})])
        token = self._world.outside.tokens.issue(Principal(chosen.path.split("/")[1]))
        self._door.ask(HttpRequest("POST", f"/v1/chat/messages/{chosen.id}/cancel", token))
        real.commit([Delete(path)])

    def _mark(self) -> None:
        path = self._kernel.random.choice(("accounts/user0", "accounts/user1"))
        if (stored := self._world.documents.real.get(path)) is not None:
            self._world.documents.real.commit([Replace(path, {**stored.fields, "theirs": _ODD}, stored.version)])
            self._marked.add(path)

    def _committed(self, changes: Sequence[tuple[str, Fields | None, Fields | None]]) -> None:
        for path, _, after in changes:
            if path in self._marked and after is not None and after.get("theirs") != _ODD:
                self._marked.remove(path)
                self.found.append(f"{path} lost the field that an operator had added")

    def _leave(self) -> None:
        stored = self._world.documents.real.all()
        keyed = [one for path, one in sorted(stored.items()) if path.startswith("operations/") and JUNK not in path]
        waiting = [one for one in keyed if one.fields["key"] is not None and one.fields["state"] in OPEN]
        if not waiting:
            return
        chosen = self._kernel.random.choice(waiting)
        fields: dict[str, Value] = {
            **chosen.fields,
            "state": "queued",
            "level": "of a later version",
            "position": int_field(chosen.fields, "position") - 1,
            "line": f"{chosen.fields['lane']}/{chosen.fields['key']}",
            "lease": None,
        }
        self._world.documents.real.commit([Create(f"operations/{JUNK}head-{self._left}", fields)])
        self._left += 1


class Mender:
    """An operator breaks the account of somebody who rests, and puts it right after some sweeps."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._guests = Guests(world, "mender")
        self._mended = False

    def live(self) -> None:
        """Once; nobody else touches it."""
        self._world.deaf.add(_MENDED)
        if not self._guests.opens(_MENDED):
            return
        real, path = self._world.documents.real, f"accounts/{_MENDED}"
        whole = real.get(path)
        assert whole is not None
        real.commit([Replace(path, {**whole.fields, "low_threshold": _ODD})])
        self._kernel.sleep(seconds(200))
        stored = real.get(path)
        assert stored is not None
        real.commit([Replace(path, {**stored.fields, "low_threshold": whole.fields["low_threshold"]})])
        self._mended = True

    @property
    def found(self) -> list[str]:
        """What was wrong: whatever passed it over has come back to it."""
        stored = [one for path, one in self._world.documents.real.all().items() if path.startswith("jobs/")]
        listing = [one.id for one in stored if self._mended and f"accounts/{_MENDED}'" in str(one.fields.get("broken"))]
        return [*self._guests.found, *(f"{job} still lists {_MENDED}, which can be read" for job in listing)]


class Hiccup:
    """Firestore does not answer the first tries to settle an answer, or to show a key; a later try is heard."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._refused: dict[str, int] = {}
        self.found: list[str] = []
        world.documents.tries.append(self._refuse)

    def live(self) -> None:
        """Nothing else: it goes on for as long as the storm."""

    def _refuse(self, writes: Sequence[Write]) -> None:
        process = self._kernel.current
        if process is None or self._kernel.faults == CALM:
            return
        if any(write.path.startswith("ledger_keys/") for write in writes) and not process.name.startswith("chore"):
            # Whoever signs first keeps its key in the archive; the sweep shows it.
            raise Unavailable("the store does not answer")
        for write in writes if self._kernel.chance(0.4) else ():
            if isinstance(write, Merge) and _TURNS in write.path and self._refused.setdefault(write.path, 0) < 2:
                self._refused[write.path] += 1
                raise Unavailable("the store does not answer")


class Hanging:
    """The Realtime Database answers nobody for some minutes, while three sweeps run in one instance."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._guests = Guests(world, "punctual")
        self.found = self._guests.found

    def happens(self) -> None:
        """After the storm. What does not need it is done in time, and what hangs is not begun again."""
        kernel, world = self._kernel, self._world
        kernel.faults = CALM
        for _ in range(30):
            # A call would not hang for minutes, so that nobody may be waiting for an answer.
            if not kernel.names(None):
                break
            kernel.run(kernel.now_us + seconds(60))
            world.sweep()
        held: list[bool] = []
        kernel.spawn("punctual", lambda: held.append(self._guests.holds("punctual", for_s=20)))
        kernel.run(kernel.now_us + seconds(60))
        backend = next((one for one in world.backends if self._stands_ready(one)), None)
        if held != [True] or kernel.names(None) or backend is None:
            return
        outage = world.realtime.outage
        self._saga_lost()
        outage.hangs, outage.until_us = True, kernel.now_us + minutes(7)
        for number in range(3):
            kernel.spawn("sweep", partial(_sweep, backend), backend.instance)
            kernel.run(kernel.now_us + _PROMPT_US)
            if number == 0:
                self._look("reservations are not given back")
            kernel.run(kernel.now_us + minutes(2) - _PROMPT_US)
            begun = [name for name in kernel.names(backend.instance) if name.startswith("chore ")]
            if len(begun) != len({*begun}):
                self.found.append(f"what hangs was begun again: {begun}")
        if world.documents.real.get("sealed/punctual") is None:
            self.found.append("no checkpoint is made while the Realtime Database hangs")
        kernel.run(outage.until_us + seconds(60))
        outage.hangs = False

    def _stands_ready(self, backend: Backend) -> bool:
        """Whether it does not stand still, and sweeps nothing."""
        sweeps = [name for name in self._kernel.names(backend.instance) if name.startswith(("chore ", "sweep"))]
        return backend.instance.frozen_us <= self._kernel.now_us and not sweeps

    def _saga_lost(self) -> None:
        """A saga whose first step is gone is due: what repairs it rings, and so waits for the Realtime Database."""
        real, rows = self._world.documents.real, self._world.backends[0].orchestration.sagas.rows
        saga, *_ = rows(SagaStart("buy_punctual", "buy", "punctual", {"amount": 10_000_000}))
        assert isinstance(saga, Create)
        real.commit([Create(saga.path, {**saga.fields, "check_at": _LONG_AGO})])

    def _look(self, complaint: str) -> None:
        stored = self._world.documents.real.get("accounts/punctual")
        if stored is None or stored.fields["reservations"]:
            self.found.append(f"{complaint} while the Realtime Database hangs")


def _sweep(backend: Backend) -> None:
    backend.orchestration.sweep()
