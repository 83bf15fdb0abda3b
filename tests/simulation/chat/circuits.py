"""What is right of the requests that one instance sends to one model, counted at the model's end.

A model that failed several times in a row, for several users, is left alone for a while, and then tried with one
request at a time until text comes. One user alone takes a model from nobody (docs/decisions.md).
"""

from collections.abc import Callable, Iterator
from typing import Final

from simulation.machine.kernel import Instance
from simulation.outside.book import Priced
from simulation.outside.model_vendor import VendorAnswer
from simulation.world import World

_FAILURES: Final = 5
_USERS: Final = 2


class Line:
    """The requests of `instance` to `model`. `whose` tells which user sent a question."""

    def __init__(self, world: World, instance: Instance, model: Priced, whose: Callable[[str], str]) -> None:
        self._kernel = world.kernel
        self._instance, self._model, self._whose = instance, model, whose
        self._asked: list[VendorAnswer] = []
        self._at_us: dict[int, int] = {}
        """By the answer's number, when it was asked for."""
        self._tried: list[VendorAnswer] = []
        """Those of `_asked` that came while it was open."""
        self.found: list[str] = []
        world.outside.models.watchers.append(self._hears)

    @property
    def opened(self) -> bool:
        """Whether it failed so often that it is left alone, or tried with one request at a time.

        A request that went out before says nothing of it any more.
        """
        row: list[str] = []
        opened_us = 0
        for at_us, what, one in sorted(self._events(), key=lambda event: event[0]):
            if what != "failed" and 0 < opened_us < self._at_us[one.number]:
                row, opened_us = [], 0
            elif what == "over" and not opened_us:
                row = []
            elif what == "failed":
                row.append(self._whose(one.question))
                enough = len(row) >= _FAILURES and len({*row}) >= _USERS
                opened_us = opened_us or (at_us if enough else 0)
        return opened_us > 0

    def _events(self) -> Iterator[tuple[int, str, VendorAnswer]]:
        for one in self._asked:
            if one.texts:
                yield one.spoke_us, "spoke", one
            if one.failing is not None and one.failing.follows.sick:
                yield one.heard_us, "failed", one
            elif one.failing is None and one.over:
                yield one.heard_us, "over", one

    @property
    def busy(self) -> bool:
        """Whether a try is under way."""
        return any(map(_under_way, self._tried))

    def reached(self, question: str) -> bool:
        """Whether the model was asked this."""
        return any(one.question == question for one in self._asked)

    def _hears(self, asked: VendorAnswer) -> None:
        instance = None if asked.asker is None else asked.asker.instance
        if asked.model != self._model.vendor_id or instance is not self._instance:
            return
        if not self.opened:
            self._tried = []
        elif self.busy:
            self.found.append(f"{self._model.id} is tried with several requests at once: {asked.question!r}")
        if self.opened:
            self._tried.append(asked)
        self._asked.append(asked)
        self._at_us[asked.number] = self._kernel.now_us


def _under_way(one: VendorAnswer) -> bool:
    return one.failing is None and not one.texts and not one.over and not one.closed_us
