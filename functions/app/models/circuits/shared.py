"""Circuits that instances share through the Realtime Database, and the public status that follows from them.

Each model whose circuit opened has a node, written when it opens and when it closes. A request reads nothing for it and
waits for nothing: at most every `HEAR_US` a task beside it reads all nodes at once. Each instance sends probes of its
own. While the database fails, an instance goes by what it saw itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from app.kit import telemetry
from app.kit.clock import seconds
from app.kit.concurrency import Concurrency, Task
from app.kit.errors import Fault
from app.kit.stores.realtime import Json, Realtime
from app.models.circuits import circuit as circuits
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import Circuit, Permit

HEAR_US: Final = seconds(5)
_NODES: Final = "models/circuits"
_STATUS: Final = "system/status"
_WORDS: Final = {"closed": "up", "half_open": "degraded", "open": "down"}
_MOST: Final = 1 << 53
"""What a node holds is smaller: JavaScript and the database keep such numbers exactly."""
_UNFIT: Final = re.compile(r"[.$#\[\]/%]")

_log = telemetry.log("models")


class SharedBreakers(Breakers):
    """The circuits of this instance, told to the others and heard from them."""

    def __init__(
        self, now_us: Callable[[], int], realtime: Callable[[], Realtime], concurrency: Concurrency, *, most: int
    ) -> None:
        super().__init__(now_us, most=most)
        self._realtime = realtime
        self._concurrency = concurrency
        self._heard_us = 0
        self._odd: frozenset[str] = frozenset()
        """The models of nodes that were nonsense when they were read last."""
        self._tasks: list[Task] = []

    def take(self, model: str) -> Permit | None:
        now_us = self._now_us()
        if not 0 <= now_us - self._heard_us < HEAR_US:
            self._heard_us = now_us
            self._listen()
        return super().take(model)

    def settle(self) -> None:
        """Waits for what was begun beside requests. For tests."""
        for task in self._tasks:
            task.join()

    def _changed(self, model: str) -> None:
        try:
            self._beside("circuit-told", lambda: self._tell(model))
        except RuntimeError as failure:
            _log.warning("circuit_not_told", model=model, reason=str(failure))

    def _listen(self) -> None:
        try:
            self._beside("circuits-heard", self._hear)
        except RuntimeError as failure:
            _log.warning("circuits_not_heard", reason=str(failure))

    def _beside(self, name: str, body: Callable[[], None]) -> None:
        """Raises RuntimeError where the process may start no more threads."""
        self._tasks = [*self._tasks[-8:], self._concurrency.start(name, body)]

    def _tell(self, model: str) -> None:
        # What it is now: of two tasks that change places the later one writes the same.
        circuit, at_us = self.known(model)
        node: Json = {"openings": circuit.openings, "until": circuit.until_us, "at": at_us}
        try:
            self._realtime().update({f"{_NODES}/{key_of(model)}": node})
        except Fault as fault:
            _log.warning("circuit_not_told", model=model, reason=str(fault))

    def _hear(self) -> None:
        try:
            found = self._realtime().get(_NODES)
        except Fault as fault:
            _log.warning("circuits_not_heard", reason=str(fault))
            return
        nodes = read(found)
        odd = {model for model, node in nodes.items() if node is None or not self.adopt(model, *node)}
        for model in sorted(odd - self._odd):
            _log.warning("circuit_node_ignored", model=model[:80])
        self._odd = frozenset(odd)


def read(found: Json) -> dict[str, tuple[Circuit, int] | None]:
    """The circuits in the nodes by model, each with the time of its last change; None for what cannot be read."""
    return {unquote(key): _node(node) for key, node in found.items()} if isinstance(found, dict) else {}


def key_of(model: str) -> str:
    """The name of a model as a key of the Realtime Database, which takes none of `. $ # [ ] /`: percent-encoded."""
    return _UNFIT.sub(lambda one: f"%{ord(one[0]):02X}", model)


def status_of(models: Iterable[str], found: Mapping[str, tuple[Circuit, int] | None], now_us: int) -> dict[str, Json]:
    """What `/system/status` shows of these models. `status`: `ok`, or `down` when all are, else `degraded`."""
    states: dict[str, Json] = {}
    for model in models:
        circuit, at_us = found.get(model) or (circuits.CLOSED, 0)
        known = circuit if circuits.believable(circuit, at_us, now_us) else circuits.CLOSED
        states[key_of(model)] = _WORDS[circuits.state(circuits.heard(circuits.CLOSED, known, at_us, now_us), now_us)]
    kinds = {str(state) for state in states.values()}
    status = "ok" if kinds <= {"up"} else "down" if kinds == {"down"} else "degraded"
    return {"status": status, "models": states}


def show_status(realtime: Realtime, models: Iterable[str], now_us: int) -> int:
    """Brings `/system/status` to what the nodes say; returns 1 when it changed. Other members of it stay."""
    wanted = status_of(models, read(realtime.get(_NODES)), now_us)
    shown = realtime.get(_STATUS)
    changed = {
        f"{_STATUS}/{name}": value
        for name, value in wanted.items()
        if not isinstance(shown, dict) or shown.get(name) != value
    }
    if changed:
        realtime.update(changed)
    return int(bool(changed))


def _node(node: Json) -> tuple[Circuit, int] | None:
    openings, until_us, at_us = (_whole(node, name) for name in ("openings", "until", "at"))
    if openings is None or until_us is None or at_us is None:
        return None
    return Circuit(openings=openings, until_us=until_us if openings else 0), at_us


def _whole(node: Json, name: str) -> int | None:
    value = node.get(name) if isinstance(node, dict) else None
    return value if type(value) is int and 0 <= value < _MOST else None
