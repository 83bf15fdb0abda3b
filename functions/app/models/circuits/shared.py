"""Circuits that instances share through the Realtime Database, and the public status that follows from them.

Each model whose circuit opened has a node, written when it opens and when it closes. A request reads nothing for it and
waits for nothing: at most every `HEAR_US` a task beside it reads all nodes at once. Only a request that would be a
probe waits, for `CLAIM_S` at most, until its instance has the lease for it: one instance sends the probe for all. While
the database fails, an instance goes by what it saw itself.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from app.kit import telemetry
from app.kit.clock import seconds
from app.kit.concurrency import Concurrency, Task
from app.kit.errors import Fault
from app.kit.ids import Ids
from app.kit.stores.realtime import Json, Realtime
from app.models.circuits import circuit as circuits
from app.models.circuits import probes
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import CLOSED, Permit
from app.models.circuits.nodes import Told, key_of, read, read_node, write_node

HEAR_US: Final = seconds(5)
CLAIM_S: Final = 1
_NODES: Final = "models/circuits"
_STATUS: Final = "system/status"
_WORDS: Final = {"closed": "up", "half_open": "degraded", "open": "down"}

_log = telemetry.log("models")


class SharedBreakers(Breakers):
    """The circuits of this instance, told to the others and heard from them."""

    def __init__(
        self,
        now_us: Callable[[], int],
        realtime: Callable[[], Realtime],
        concurrency: Concurrency,
        ids: Ids,
        *,
        most: int,
    ) -> None:
        super().__init__(now_us, most=most)
        self._realtime = realtime
        self._concurrency = concurrency
        self._ids = ids
        self._name = ""
        """Of this instance, as the holder of leases; it has one from its first probe on."""
        self._heard_us = 0
        self._odd: frozenset[str] = frozenset()
        """The models of nodes that were nonsense when they were read last."""
        self._tasks: list[Task] = []

    def take(self, model: str) -> Permit | None:
        now_us = self._now_us()
        if not 0 <= now_us - self._heard_us < HEAR_US:
            self._heard_us = now_us
            self._listen()
        permit = super().take(model)
        if permit is None or not permit.probe:
            return permit
        refusal = self._claim(permit)
        if refusal is None:
            return permit
        self._give_way(permit, refusal)
        return super().take(model) if self.state(model) == "closed" else None

    def left(self, permit: Permit) -> None:
        super().left(permit)
        if permit.probe:
            self._spread("probe-freed", permit.model, lambda: self._free(permit))

    def settle(self) -> None:
        """Waits for what was begun beside requests. For tests."""
        for task in self._tasks:
            task.join()

    def _changed(self, model: str) -> None:
        self._spread("circuit-told", model, lambda: self._tell(model))

    def _spread(self, name: str, model: str, body: Callable[[], None]) -> None:
        try:
            self._beside(name, body)
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
        node = write_node(Told(*self.known(model)))
        try:
            self._realtime().update({_place(model): node})
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

    def _claim(self, permit: Permit) -> Json:
        """Takes the lease for a probe. Returns None when the probe may go out, else the node that says why not."""
        with self._lock:
            self._name = self._name or self._ids.new("ins")
        known, now_us, done = Told(*self.known(permit.model)), self._now_us(), self._concurrency.signal()
        refusals: list[Json] = []

        def claim() -> None:
            try:
                node = self._realtime().transact(
                    _place(permit.model),
                    lambda found: probes.claimed(found, known, self._probe(permit), self._name, now_us),
                )
                if probes.holder(node) != self._probe(permit):
                    refusals.append(node)
            except Fault as fault:
                _log.warning("probe_not_claimed", model=permit.model, reason=str(fault))
            finally:
                done.set()

        try:
            self._beside("probe-claimed", claim)
        except RuntimeError as failure:
            _log.warning("probe_not_claimed", model=permit.model, reason=str(failure))
        else:
            done.wait(CLAIM_S)
        return refusals[0] if refusals else None

    def _give_way(self, permit: Permit, node: Json) -> None:
        """Goes by what the node tells: the circuit has changed, or another instance has sent the probe."""
        if told := read_node(node):
            self.adopt(permit.model, *told)
        now_us = self._now_us()
        self.put_off(permit, min(probes.leased_until_us(node, now_us), now_us + HEAR_US))

    def _free(self, permit: Permit) -> None:
        try:
            self._realtime().transact(_place(permit.model), lambda found: probes.freed(found, self._probe(permit)))
        except Fault as fault:
            _log.warning("circuit_not_told", model=permit.model, reason=str(fault))

    def _probe(self, permit: Permit) -> str:
        return f"{self._name}.{permit.generation}"


def status_of(models: Iterable[str], found: Mapping[str, Told | None], now_us: int) -> dict[str, Json]:
    """What `/system/status` shows of these models. `status`: `ok`, or `down` when all are, else `degraded`."""
    states: dict[str, Json] = {}
    for model in models:
        circuit, at_us = found.get(model) or Told(CLOSED, 0)
        known = circuit if circuits.believable(circuit, at_us, now_us) else CLOSED
        states[key_of(model)] = _WORDS[circuits.state(circuits.heard(CLOSED, known, at_us, now_us), now_us)]
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


def _place(model: str) -> str:
    return f"{_NODES}/{key_of(model)}"
