"""The circuits of all models, as this instance knows them.

A model is of one vendor, so each circuit is one of a vendor and a model.
"""

import threading
from collections.abc import Callable
from typing import Final

from app.kit import telemetry
from app.models.circuits import circuit as circuits
from app.models.circuits.circuit import CLOSED, Circuit, CircuitState, Permit

_log = telemetry.log("models")
_SECOND_US: Final = 1_000_000


class Breakers:
    """Thread-safe. `most` failures in a row open a circuit."""

    def __init__(self, now_us: Callable[[], int], *, most: int) -> None:
        self._now_us = now_us
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[str, Circuit] = {}
        self._changed_us: dict[str, int] = {}
        """When a circuit last opened or closed, here or elsewhere."""

    def state(self, model: str) -> CircuitState:
        """What a model's circuit is now."""
        return circuits.state(self._known.get(model, CLOSED), self._now_us())

    def wait_s(self, model: str) -> int:
        """In how many seconds a request to it may go out."""
        return -(-circuits.waits_us(self._known.get(model, CLOSED), self._now_us()) // _SECOND_US)

    def take(self, model: str) -> Permit | None:
        """Lets a request out to this model, if one may go out. It must be followed by one of the methods below."""
        with self._lock:
            found, now_us = self._known.get(model, CLOSED), self._now_us()
            if not circuits.admits(found, now_us):
                return None
            self._known[model] = found = circuits.asked(found, now_us)
            return circuits.permit(found, model)

    def spoke(self, permit: Permit) -> None:
        """Notes the first text of an answer."""
        self._move(permit, circuits.spoke)

    def answered(self, permit: Permit) -> None:
        """Notes a complete answer."""
        self._move(permit, circuits.answered)

    def failed(self, permit: Permit, account: str) -> None:
        """Notes a failure that is not the user's, which this account met."""
        now_us = self._now_us()
        self._move(permit, lambda found: circuits.failed(found, account, now_us, most=self._most))

    def left(self, permit: Permit) -> None:
        """Notes that a request told nothing of the model."""
        self._move(permit, circuits.left)

    def put_off(self, permit: Permit, until_us: int) -> None:
        """Notes that a probe was not sent, and that the next one may be until then."""
        self._move(permit, lambda found: circuits.put_off(found, until_us))

    def known(self, model: str) -> tuple[Circuit, int]:
        """A model's circuit, and when it last opened or closed."""
        with self._lock:
            return self._known.get(model, CLOSED), self._changed_us.get(model, 0)

    def adopt(self, model: str, theirs: Circuit, at_us: int) -> bool:
        """Takes over what another instance knew at `at_us` by its clock, if nothing has happened here since.

        Returns False when that cannot be true.
        """
        with self._lock:
            now_us = self._now_us()
            if not circuits.believable(theirs, at_us, now_us):
                return False
            # What was heard is compared by the clock that told it, so that no node is news twice.
            if at_us > self._changed_us.get(model, 0):
                self._known[model] = circuits.heard(self._known.get(model, CLOSED), theirs, at_us, now_us)
                self._changed_us[model] = at_us
            return True

    def _changed(self, model: str) -> None:
        """Called when a circuit has opened or closed."""

    def _move(self, permit: Permit, move: Callable[[Circuit], Circuit]) -> None:
        model = permit.model
        with self._lock:
            before = self._known.get(model, CLOSED)
            if permit.generation != before.generation:
                return
            self._known[model] = after = move(before)
            if after.openings == before.openings:
                return
            # A later change has a later time, also where the clock stands still.
            self._changed_us[model] = max(self._now_us(), self._changed_us.get(model, 0) + 1)
        self._changed(model)
        if after.openings > before.openings:
            pause_s = (after.until_us - self._now_us()) // _SECOND_US
            _log.warning("circuit_opened", model=model, seconds=pause_s, openings=after.openings)
        else:
            _log.info("circuit_closed", model=model)
