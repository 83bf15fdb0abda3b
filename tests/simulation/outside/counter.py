"""A counter at which few are served at once, plugged into the backend as a lane; it remembers whom it served when.

Refuses to know who ordered how much and what would be fair: that is `simulation.people.crowd` and its auditor.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from app.feature import Feature
from app.kit.stores.documents import Increment, Merge, int_field
from app.orchestration.queue.handler import Done, Handler, Lane, Run
from app.orchestration.queue.operation import Priority
from simulation.machine.kernel import Kernel
from simulation.products import PATIENT

LANE: Final = "counter"
SEATS: Final = 4
CLERK: Final = "clerk"
YARD: Final = "yard"
MASON: Final = "mason"
SMITH: Final = "smith"
"""Of the vendors of the yard the mason takes one order at a time, and the smith as many as come. In the order of the
queue the smith stands behind the mason.
"""


@dataclass(frozen=True)
class Served:
    """One start of an order's work."""

    order: str
    account: str
    priority: Priority
    at_us: int


@dataclass
class Desk:
    """Who is served and by whom; `most` counts the most at once, of all and of the clerk's."""

    served: list[Served] = field(default_factory=list)
    worked: list[Served] = field(default_factory=list)
    """Starts in the yard and in the parade, which are no business of the counter."""
    busy: dict[str, int] = field(default_factory=lambda: {LANE: 0, CLERK: 0})
    most: dict[str, int] = field(default_factory=lambda: {LANE: 0, CLERK: 0})

    @contextmanager
    def seat(self, *, clerk: bool) -> Iterator[None]:
        """Somebody is served, until the end or until the runner dies."""
        taken = (LANE, CLERK) if clerk else (LANE,)
        for name in taken:
            self.busy[name] += 1
            self.most[name] = max(self.most[name], self.busy[name])
        try:
            yield
        finally:
            for name in taken:
                self.busy[name] -= 1


class CounterFeature(Feature):
    """The counter as a feature of one instance. An order's payload says how long it takes."""

    def __init__(self, kernel: Kernel, desk: Desk) -> None:
        super().__init__()
        self._kernel, self._desk = kernel, desk

    def lanes(self) -> Sequence[Lane]:
        return [Lane(LANE, SEATS, {CLERK: 1}), Lane(YARD, 3, {MASON: 1})]

    def handlers(self) -> Sequence[Handler]:
        return [
            Handler("counter.serve", self._serve, lane=LANE, retry=PATIENT),
            Handler("counter.clerk", self._serve, lane=LANE, retry=PATIENT, vendor=CLERK),
            Handler("parade", self._work, retry=PATIENT),
            Handler("yard.work", self._work, lane=YARD, retry=PATIENT),
            Handler("yard.mason", self._work, lane=YARD, retry=PATIENT, vendor=MASON),
            Handler("yard.smith", self._work, lane=YARD, retry=PATIENT, vendor=SMITH),
        ]

    def _work(self, run: Run) -> Done:
        operation, kernel = run.operation, self._kernel
        order = str(operation.payload["order"])
        self._desk.worked.append(Served(order, str(operation.account), operation.priority, kernel.now_us))
        kernel.sleep(int_field(operation.payload, "takes_us"))
        kernel.pause("worked")
        return Done(None, lambda: [Merge(f"marks/{order}", {"n": Increment(1)})])

    def _serve(self, run: Run) -> Done:
        operation, kernel = run.operation, self._kernel
        order = str(operation.payload["order"])
        with self._desk.seat(clerk=operation.vendor is not None):
            self._desk.served.append(Served(order, str(operation.account), operation.priority, kernel.now_us))
            kernel.sleep(int_field(operation.payload, "takes_us"))
        return Done(None, lambda: [Merge(f"marks/{order}", {"n": Increment(1)})])
