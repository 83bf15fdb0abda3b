"""Users whose connection breaks and who repeat their key until they have an answer, and what happened to it meanwhile.

Their instance dies at a commit or in the middle of the text, stands still, or lives and writes slowly; or the client
alone is gone, before anything was told, in the middle or after the end. What they may expect stands in
`simulation.audit.keys`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.kit.errors import Failure
from app.kit.ids import derived
from app.kit.money import from_decimal
from app.kit.stores.documents import Fields, Replace, Write, text_field
from app.ports import Identity
from simulation.devices import Http, Refusal
from simulation.instance import Backend
from simulation.outside.model_vendor import SLOWLY
from simulation.workload import Known
from simulation.world import World
from support.memory import Change

SECOND: Final = 1_000_000
COMEBACKS_S: Final = (1, 66, 85, 140, 180, 350)
"""When the key is repeated, in seconds after the first time; some of them at random."""
LATE_S: Final = 885
"""Just before the sweep removes the live text of an attempt that ended when it had hardly begun."""
_SWEPT_US: Final = 85_000_000
"""From then until that text was due for more than a minute."""
QUIET_S: Final = 1_100
"""By then the storm is over, and so is every lease that began in it."""
_QUIET: Final = (QUIET_S, QUIET_S + 200, QUIET_S + 400)
_FROZEN_S: Final = (150, 420)
"""How long an instance stands still: until the next attempt begins, or beyond its end."""
_SLOW_US: Final = 3 * SECOND
"""How long a write of a sweep is on its way that somebody overtakes."""
MARK: Final = "of_a_later_version"
"""A field of a turn that no version knows."""
_AT_COMMITS: Final = ("before reserving", "after reserving", "before settling", "after settling")


@dataclass(frozen=True)
class Said:
    """What one request with the key was told. `state` is empty when it got no end; `code` is that of a refusal."""

    at_us: int
    state: str = ""
    cost: int = 0
    text: str = ""
    code: str = ""
    quiet: bool = False
    """It was sent after the storm."""
    dead_s: float = 0
    """How long its turn's instance had been known to be dead by then, in seconds."""


@dataclass
class Key:
    """One message, its key, and all that was told to its repeats."""

    message: str
    path: str
    moment: str
    said: list[Said] = field(default_factory=list)
    marked: bool = False
    """An operator has added a field that no version knows to its turn."""


class Reaper:
    """Ends instances at certain moments of certain turns: `wanted` holds moments by the path of the turn. `overtaken`
    holds what happens while a sweep that ends a turn waits for its store, `untold` what happens between that and the
    sweep that tells of it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.wanted: dict[str, str] = {}
        self.overtaken: dict[str, Callable[[], None]] = {}
        self.untold: dict[str, Callable[[], None]] = {}
        self.forsaken: set[str] = set()
        """Turns that were given up by an attempt that never began: their users do not come back."""
        self.died_us: dict[str, int] = {}
        """When instances died that were giving an answer, by the name that its turn has for them."""
        world.documents.tries.append(self._tried)
        world.documents.watchers.append(self._committed)

    def strike(self, path: str) -> None:
        """Ends the instance of the current process, once for this turn."""
        kernel = self._world.kernel
        process, turn = kernel.current, self._world.documents.real.get(path)
        if self.wanted.pop(path, "") and process is not None and process.instance is not None:
            if turn is not None:
                self.died_us.setdefault(text_field(turn.fields, "instance"), kernel.now_us)
            kernel.crashes_left += 1
            kernel.crash(process)

    def _tried(self, writes: Sequence[Write]) -> None:
        kernel = self._world.kernel
        for write in writes:
            if write.path in self.overtaken and self._by_sweep:
                self.overtaken.pop(write.path)()
                kernel.sleep(_SLOW_US)
            stored = self._world.documents.real.get(write.path) if write.path in self.wanted else None
            moment = self.wanted.get(write.path)
            if (moment == "before reserving" and stored is None) or (
                moment == "before settling" and stored is not None and stored.fields["state"] == "running"
            ):
                self.strike(write.path)

    @property
    def _by_sweep(self) -> bool:
        process = self._world.kernel.current
        return process is not None and process.name.startswith("chore")

    def _committed(self, changes: list[Change]) -> None:
        for path, before, after in changes:
            if path in self.untold and self._by_sweep and after is not None and after["state"] != "running":
                self.untold.pop(path)()
            moment = self.wanted.get(path)
            if moment is None:
                continue
            begins = before is None and after is not None
            ends = (
                before is not None and before["state"] == "running" and (after is None or after["state"] != "running")
            )
            if (moment == "after reserving" and begins) or (moment == "after settling" and ends):
                self.strike(path)
        self._gave_up({path: after for path, _, after in changes if after is not None})

    def _gave_up(self, now: dict[str, Fields]) -> None:
        """Whoever repeated the key has resolved what the dead attempt had reserved, and dies before it reserves."""
        for path, moment in [*self.wanted.items()]:
            account = now.get(f"accounts/{path.split('/')[1]}")
            if moment == "giving up" and account is not None and path not in now:
                turn = self._world.documents.real.get(path)
                if turn is not None and turn.fields["state"] == "running" and not _holds(account, turn.fields):
                    self.forsaken.add(path)
                    self.strike(path)


def _holds(account: Fields, turn: Fields) -> bool:
    """Whether the account still sets aside what the turn has reserved."""
    return text_field(turn, "reservation_id") in str(account["reservations"])


class Client(Http):
    """Reads an answer over HTTP, and is interrupted at a moment: `each` is called with the text so far."""

    def follow(self, backend: Backend, ask: Ask, each: Callable[[str], bool]) -> Said:
        """What is told. Leaves when `each` says so."""
        path = f"/api/v1/chat/conversations/{ask.conversation_id}/messages"
        headers = {"Idempotency-Key": str(ask.key), "Accept": "text/event-stream"}
        answer = self._ask(backend, "POST", path, {"content": ask.content, "model": ask.model}, headers)
        now_us = self.kernel.now_us
        if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            self._told(answer)
            return Said(now_us)
        text = ""
        for name, data in self._frames(answer):
            if name == "delta":
                text += str(data["text"])
            elif name in ("done", "error"):
                answer.close()
                cost = from_decimal(str(data.get("cost", "0")))
                return Said(now_us, name, cost, text, str(data.get("code", "")))
            if each(text):
                break
        answer.close()
        return Said(now_us)


class Returning:
    """One user with an account and a conversation of their own."""

    def __init__(self, world: World, known: Known, reaper: Reaper) -> None:
        self._world, self._known, self._reaper = world, known, reaper
        self._kernel = world.kernel
        self.uid = "returning"
        token = world.outside.tokens.issue(Principal(self.uid))
        self._client = Client(self._kernel, self.uid, token, known.keyed)
        self.keys: list[Key] = []

    def comes(self) -> None:
        """In the first minutes, in some seeds."""
        if self._kernel.chance(0.75):
            mail = f"{self.uid}@other.example"
            self._world.outside.people.known[self.uid] = Identity(self.uid, "google.com", "google-r", mail, True, 0)
            delay_us = self._kernel.random.randrange(5, 200) * SECOND
            self._kernel.after(delay_us, lambda: self._kernel.start(self.uid, self._live))

    def _live(self) -> None:
        self._world.comes_online(self.uid)
        self._kernel.sleep(5 * SECOND)
        for number, moment in enumerate(self._kernel.random.sample(self._moments(), 2)):
            conversation = self._world.request("returning begins", self._client.begin)
            if isinstance(conversation, str):
                self._kernel.start(self.uid, partial(self._message, conversation, number, moment))

    def _moments(self) -> list[str]:
        """What may interrupt an answer in this weather."""
        found = ["nothing told", "nothing told", "in the middle", "after the end", "slow", "slow", "late"]
        if self._world.faults.unavailable:
            found += ["unwritten"] * 4
        if self._world.faults.stall:
            found += ["frozen"] * 12
        if self._world.faults.crash:
            found += [*_AT_COMMITS, *["dead"] * 6, "slow"]
            found += ["giving up", "overtaken", "untold"] * 3 + ["giving up"] * 4
        return found

    def _message(self, conversation: str, number: int, moment: str) -> None:
        random = self._kernel.random
        content = f"{'soon' if moment in _AT_COMMITS else SLOWLY}, what is new, {number} of {self.uid}?"
        ask = Ask(self.uid, conversation, content, model=random.choice(("small", "large")), key=f"again-{number}")
        message = derived("msg", self.uid, conversation, f"again-{number}")
        path = conversation_path(self.uid, conversation)
        self._known.conversations[message], self._known.questions[message] = path, content
        key = Key(message, f"{path}/messages/{message}", moment)
        self.keys.append(key)
        began_us = self._kernel.now_us
        self._kernel.start("returning asks", partial(self._first, ask, key))
        for comeback_s in self._comebacks(moment):
            self._kernel.sleep(max(0, began_us + comeback_s * SECOND - self._kernel.now_us))
            if key.path in self._reaper.forsaken:
                break
            if moment == "slow":
                self._tidy()
            elif self._kernel.chance(0.8):
                self._mark(key)
            if comeback_s == LATE_S:
                # The scheduler comes while the answer is given again, and takes away what the first attempt had shown.
                self._kernel.after(_SWEPT_US, self._world.sweep)
            self._again(ask, key, quiet=comeback_s >= QUIET_S)

    def _comebacks(self, moment: str) -> list[int]:
        """When the key is repeated. Who was given up and whose next attempt died does not come back at all, and who
        overtakes a sweep comes with it.
        """
        if moment == "late":
            return [LATE_S, *_QUIET]
        if moment in ("overtaken", "untold"):
            return [*_QUIET]
        some = sorted(self._kernel.random.sample(COMEBACKS_S, 4))
        return [*some, 200] if moment == "giving up" else [*some, *_QUIET]

    def _tidy(self) -> None:
        """An operator removes what instances have told of themselves: whoever lives says it again in a moment."""
        if self._kernel.chance(0.8):
            self._world.realtime.real.update({"orchestration/instances": None})

    def _mark(self, key: Key) -> None:
        """An operator, or a later version, adds a field once to a turn that has ended; another attempt keeps that."""
        real = self._world.documents.real
        stored = real.get(key.path)
        if stored is not None and stored.fields["state"] != "running" and not key.marked:
            real.commit([Replace(key.path, {**stored.fields, MARK: True}, stored.version)])
            key.marked = True

    def _first(self, ask: Ask, key: Key) -> None:
        if key.moment in _AT_COMMITS:
            self._reaper.wanted[key.path] = key.moment
        elif key.moment == "overtaken":
            self._reaper.overtaken[key.path] = partial(self._overtakes, ask, key)
        elif key.moment == "untold":
            self._reaper.untold[key.path] = partial(self._overtakes, ask, key)
        pieces = 0

        def ask_once(backend: Backend) -> Said:
            def each(text: str) -> bool:
                nonlocal pieces
                pieces += 1
                return self._interrupted(backend, key, pieces)

            return self._client.follow(backend, ask, each)

        self._note(key, self._world.request("returning asks", ask_once), quiet=False)

    def _interrupted(self, backend: Backend, key: Key, pieces: int) -> bool:
        """Called after the start of the answer and after each piece; whether the client is gone."""
        if key.moment in ("nothing told", "late"):
            return True
        if pieces < 3:
            return False
        if key.moment == "frozen" and pieces == 3:
            backend.instance.frozen_us = self._kernel.now_us + self._kernel.random.choice(_FROZEN_S) * SECOND
        if key.moment == "unwritten" and pieces == 3:
            # Five writes of live text are refused, one after another, and the answer goes on.
            self._world.realtime.outage.reason = "RESOURCE_EXHAUSTED"
            self._world.realtime.outage.until_us = self._kernel.now_us + 4 * SECOND
        if key.moment in ("dead", "giving up", "overtaken", "untold") and pieces == 3:
            self._reaper.wanted[key.path] = "now"
            if key.moment == "giving up":
                self._kernel.after(SECOND, lambda: self._reaper.wanted.__setitem__(key.path, "giving up"))
            self._reaper.strike(key.path)
        return key.moment == "in the middle"

    def _overtakes(self, ask: Ask, key: Key) -> None:
        """The key is repeated just when the sweep has seen that nobody answers it."""
        self._kernel.start("returning overtakes", partial(self._again, ask, key, quiet=False))

    def _again(self, ask: Ask, key: Key, *, quiet: bool) -> None:
        dead_s = self._dead_s(key)
        told = self._world.request("returning repeats", lambda b: self._client.follow(b, ask, lambda _: False))
        self._note(key, told, quiet=quiet, dead_s=dead_s)

    def _note(self, key: Key, told: object, *, quiet: bool, dead_s: float = 0) -> None:
        if isinstance(told, Said):
            key.said.append(replace(told, quiet=quiet, dead_s=dead_s))
            if told.state == "done" and told.text:
                self._known.answers.setdefault(key.message, set()).add(told.cost)
                self._known.whole.setdefault(key.message, set()).add(told.text)
        elif isinstance(told, Failure):
            code = str(told.answer.fields.get("code")) if isinstance(told, Refusal) else "unavailable"
            key.said.append(Said(self._kernel.now_us, code=code, quiet=quiet, dead_s=dead_s))

    def _dead_s(self, key: Key) -> float:
        """For how long it could be known that nobody gives this answer, because its instance told of it and died."""
        turn = self._world.documents.real.get(key.path)
        if turn is None or turn.fields["state"] != "running":
            return 0
        name = text_field(turn.fields, "instance")
        if self._world.realtime.real.peek(f"orchestration/instances/{name}/at") is None:
            return 0
        died_us = self._reaper.died_us.get(name)
        return 0 if died_us is None else (self._kernel.now_us - died_us) / SECOND
