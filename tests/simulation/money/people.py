"""Who acts on money in a seed, and when: some in the storm, and some when it is over and days pass."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from simulation.audit.money import money
from simulation.audit.records import Records
from simulation.money.accountant import Accountant
from simulation.money.books import Books
from simulation.money.cashier import DAY_US, Cashier
from simulation.money.edges import Edges
from simulation.money.night import Night
from simulation.money.office import Office
from simulation.money.restorer import Restorer
from simulation.world import World

SHOP: Final = "shop"
LATE: Final = 0.33
"""How often days pass after the storm."""
_LATE_US: Final = 200 * DAY_US


class MoneyPeople:
    """The cashier, two administrators, an accountant and an operator; each seed has some of them."""

    def __init__(self, world: World) -> None:
        self._world, self._books = world, Books(world)
        self._office = Office(self._books)
        self._accountant = Accountant(self._books)
        self._restorer = Restorer(self._books, self._office)
        self._edges = Edges(self._books, self._office, self._restorer)
        self._night = Night(world)
        self._asked: list[str] = []
        self._over = False
        world.documents.reads.append(self._was_read)

    def come(self) -> None:
        """Some act while everything else happens."""
        kernel, uids = self._world.kernel, ["user0", "user1"]
        if kernel.chance(0.3):
            cashier = Cashier(self._books, self._office, SHOP)
            kernel.start("cashier", partial(cashier.works, 2))
            uids.append(SHOP)
            if kernel.chance(0.5):
                kernel.start("office", partial(self._office.works, SHOP, 3))
        if kernel.chance(0.3):
            kernel.start("accountant", partial(self._accountant.works, uids, 2))

    def verdict(self) -> Iterator[str]:
        """What the storm has left behind."""
        yield from self._asked
        yield from money(self._world, self._books, Records(self._world.documents.real))
        yield from self._accountant.verdict()

    def later(self) -> Iterator[str]:
        """Days pass in calm weather, and everybody acts once more."""
        kernel = self._world.kernel
        if not kernel.chance(LATE):
            return
        cashier = Cashier(self._books, self._office, SHOP, patient=True, held=self._restorer.backs_up)
        found: list[str] = []

        def live() -> None:
            cashier.works(2)
            self._restorer.backs_up(SHOP)
            cashier.works(3)
            self._office.works(SHOP, 3)
            # No sweep comes so soon: the last checkpoint seals an earlier entry.
            self._accountant.works([SHOP], 2, most_s=1)
            found.extend(self._restorer.works(SHOP))
            found.extend(self._edges.plays())
            if kernel.chance(0.8):
                found.extend(self._restorer.old_account())
            self._over = True

        begun_us = kernel.now_us
        kernel.start("late cashier", live)
        while not self._over and kernel.now_us < begun_us + _LATE_US:
            kernel.run(kernel.now_us + DAY_US)
        self._world.sweep()
        kernel.run(kernel.now_us + 60_000_000)
        if not self._over:
            yield "those who act on money have not come to an end"
        yield from found
        yield from self.verdict()
        yield from self._accountant.looks_closely(SHOP)
        # A siege sweeps very often, which so many accounts make dear.
        if kernel.seed % 4 != 1 and kernel.chance(0.35):
            yield from self._night.falls()

    def _was_read(self, path: str, _: object) -> None:
        """Whoever signs for the first time asks only the archive: Firestore would cost a message an operation."""
        process = self._world.kernel.current
        if path.startswith("ledger_keys/") and process is not None and not process.name.startswith(("sweep", "chore")):
            self._asked.append(f"{process.name} read {path}")
