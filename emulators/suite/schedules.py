"""Plays Cloud Scheduler: firebase's emulator loads scheduled functions and never fires them.

It posts to each scheduled function on its schedule and says nothing unless one fails. Overlapping runs are not
started: the next tick waits for the last answer, as Cloud Scheduler does.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from emulators.suite.places import PROJECT, REGION, Ports, origin

_EVERY = re.compile(r"^every\s+(?:(\d+)\s+)?(second|sec|minute|min|hour|day)s?\b", re.IGNORECASE)
_CRON_STEP = re.compile(r"^(\*|\*/(\d+)|\d+)\s+(\*|\*/(\d+)|\d+)\s+\S+\s+\S+\s+\S+$")
_UNIT_S = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86400}
_TIMEOUT_S = 600
_GENERATION = 0  # the emulator's suffix; it grows only when background triggers are switched off and on through its hub


@dataclass(frozen=True)
class Schedule:
    """One scheduled function and its period."""

    function: str
    trigger: str
    period_s: int


def period_s(schedule: str) -> int:
    """The period of a Cloud Scheduler expression, in seconds. The hour of a daily job is not kept."""
    text = schedule.strip()
    if every := _EVERY.match(text):
        return int(every[1] or 1) * _UNIT_S[every[2].lower()]
    if cron := _CRON_STEP.match(text):
        if cron[1].startswith("*"):
            return int(cron[2] or 1) * 60
        if cron[3].startswith("*"):
            return int(cron[4] or 1) * 3600
    return 86400


def scheduled_functions(ports: Ports) -> list[Schedule]:
    """What the functions emulator has loaded, from its own list."""
    backends = requests.get(origin(ports.functions) + "/backends", timeout=10).json()["backends"]
    return [
        Schedule(
            str(trigger["entryPoint"]), f"{trigger['name']}-{_GENERATION}", period_s(trigger["schedule"]["schedule"])
        )
        for backend in backends
        for trigger in backend.get("functionTriggers", [])
        if trigger.get("schedule")
    ]


def run_once(ports: Ports, schedule: Schedule, *, timeout_s: float = _TIMEOUT_S) -> requests.Response:
    """Fire one scheduled function now. The emulator serves it, although its log calls it ignored."""
    return requests.post(
        f"{origin(ports.functions)}/{PROJECT}/{REGION}/{schedule.trigger}",
        headers={
            "X-CloudScheduler-JobName": schedule.function,
            "X-CloudScheduler-ScheduleTime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
        timeout=timeout_s,
    )


class Ticker:
    """One thread per scheduled function, until `stop`."""

    def __init__(self, ports: Ports, complain: Callable[[str], None]) -> None:
        self._ports = ports
        self._complain = complain
        self._stopped = threading.Event()

    def start(self, schedules: list[Schedule]) -> None:
        for schedule in schedules:
            threading.Thread(target=self._tick, args=(schedule,), name=f"tick-{schedule.function}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _tick(self, schedule: Schedule) -> None:
        while not self._stopped.wait(schedule.period_s):
            try:
                answer = run_once(self._ports, schedule)
            except requests.RequestException as failure:
                self._tell(f"scheduled function {schedule.function} could not be called: {failure}")
                continue
            if not answer.ok:
                self._tell(f"scheduled function {schedule.function} answered {answer.status_code}: {answer.text[:200]}")

    def _tell(self, problem: str) -> None:
        if not self._stopped.is_set():
            self._complain(problem)
