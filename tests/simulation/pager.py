"""The telephone of whoever is on duty: the log lines with the severity of an error, and which process wrote them."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from simulation.machine.kernel import Kernel, Process

_WARNING = 30
_HEARD = ("model_passed_over",)
"""Warnings that the auditor asks for."""


@dataclass
class Pager:
    """Hears every line while it listens, and lets none be written."""

    kernel: Kernel
    calls: list[tuple[Process | None, MutableMapping[str, Any]]] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the place of the logs' configuration inside the `with` block."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._rings],
            wrapper_class=structlog.make_filtering_bound_logger(_WARNING),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def about(self, event: str, process: Process) -> list[MutableMapping[str, Any]]:
        """The lines with this event that a process wrote."""
        return [line for writer, line in self.calls if writer is process and line["event"] == event]

    def _rings(self, _: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level != "warning" or line["event"] in _HEARD:
            self.calls.append((self.kernel.current, line))
        raise structlog.DropEvent
