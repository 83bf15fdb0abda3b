"""Which answers an instance is giving, told by itself every few seconds, so that others notice when it is dead.

The lease of a turn ends only when no function could live any longer. A user who repeats a key after a broken connection
need not wait for that when the instance that answered has fallen silent, or answers and does not name this message.
What is not known counts as alive: without a record, or a database to ask, the lease decides.
"""

from collections.abc import Mapping
from typing import Final

from app.kit import telemetry
from app.kit.clock import Clock, minutes, seconds
from app.kit.errors import Fault
from app.kit.stores.realtime import Json, Realtime

BEAT_US: Final = seconds(5)
SILENT_US: Final = seconds(60)
"""Whoever gives answers and was not heard for so long is taken for dead. Twelve beats, and more than clocks differ."""
_FORGET_US: Final = minutes(90)
"""No function lives so long: https://firebase.google.com/docs/functions/quotas"""
_INSTANCES: Final = "orchestration/instances"

_log = telemetry.log("chat.instances")


class Beats:
    """Tells, for one instance, which answers it is giving."""

    def __init__(self, realtime: Realtime, clock: Clock, instance: str) -> None:
        self._realtime = realtime
        self._clock = clock
        self._path = f"{_INSTANCES}/{instance}"
        self._told_us = 0

    def beat(self, answers: Mapping[str, int]) -> None:
        """Tells the attempts by message, if it is time to. Raises nothing when the database fails."""
        now_us = self._clock.now_us()
        if now_us - self._told_us < BEAT_US:
            return
        named: dict[str, Json] = dict(answers)
        try:
            self._realtime.update({self._path: {"at": now_us, "answers": named}})
        except Fault as fault:
            _log.warning("heartbeat_not_written", reason=str(fault))
        else:
            self._told_us = now_us


class Instances:
    """What instances have told."""

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        self._realtime = realtime
        self._clock = clock

    def gave_up(self, instance: str, message_id: str, attempt: int, *, began_us: int) -> bool:
        """Whether this instance surely does not give this answer any more, which it began at `began_us`.

        An answer that began less than `SILENT_US` ago may not have been told yet, or its predecessor may have been.
        """
        if self._clock.now_us() - began_us < SILENT_US:
            return False
        try:
            told = self._realtime.get(f"{_INSTANCES}/{instance}")
        except Fault as fault:
            _log.warning("heartbeat_not_read", reason=str(fault))
            return False
        at_us = told.get("at") if isinstance(told, Mapping) else None
        if not isinstance(told, Mapping) or not isinstance(at_us, int):
            return False
        if self._clock.now_us() - at_us > SILENT_US:
            return True
        answers = told.get("answers")
        named = answers.get(message_id) if isinstance(answers, Mapping) else None
        return at_us > began_us + 2 * BEAT_US and named != attempt

    def forget(self) -> int:
        """Removes what instances told that are gone; returns of how many. For the sweeper."""
        told = self._realtime.get(_INSTANCES)
        before_us = self._clock.now_us() - _FORGET_US
        gone = [name for name, one in told.items() if _at_us(one) < before_us] if isinstance(told, Mapping) else []
        if gone:
            self._realtime.update({f"{_INSTANCES}/{name}": None for name in gone})
        return len(gone)


def _at_us(told: Json) -> int:
    at_us = told.get("at") if isinstance(told, Mapping) else None
    return at_us if isinstance(at_us, int) else 0
