"""A newer deployment beside this one: it adds fields to lots, reservations and leases that this one does not know.

Whoever writes such a document again keeps them, for as long as the lot, the reservation or the lease is there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from app.kit.clock import seconds
from app.kit.stores.documents import Document, Fields, Opaque, Replace, Value, as_map, list_field
from simulation.audit.records import JUNK
from simulation.drills.orders import Orders
from simulation.world import World
from support.memory import Change

_ODD: Final[Value] = {"version": [2], "place": Opaque("geo_point_value", b"\x42\x00")}
_NAME: Final = "of_a_newer_version"
_LONG_S: Final = 150
"""The lease of work that takes so long is renewed."""

Parts = dict[str, Fields]
"""Maps inside a document, by a name that stays theirs."""


@dataclass(frozen=True)
class _Place:
    """Where the maps are: how they are read, and how a document is made of them again."""

    read: Callable[[Fields], Parts]
    put: Callable[[Fields, Parts], Fields]


def _listed(name: str) -> _Place:
    def read(fields: Fields) -> Parts:
        return {str(as_map(one)["id"]): as_map(one) for one in list_field(fields, name)}

    return _Place(read, lambda fields, parts: {**fields, name: list[Value](parts.values())})


def _lease(fields: Fields) -> Parts:
    lease = fields.get("lease")
    return {} if lease is None else {str(as_map(lease)["token"]): as_map(lease)}


_ACCOUNT: Final = (_listed("lots"), _listed("lots"), _listed("reservations"))
_OPERATION: Final = (_Place(_lease, lambda fields, parts: {**fields, "lease": next(iter(parts.values()))}),)


class Newer:
    """Adds one field at a time, some in a minute, and looks at every write that follows."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._orders = Orders(world, "newer")
        self._marked: dict[tuple[str, str], _Place] = {}
        """By path and name, the maps with a field more."""
        self.found: list[str] = []
        world.documents.watchers.append(self._committed)

    def live(self) -> None:
        """Eight minutes."""
        self._orders.enter([self._orders.order("parade", _LONG_S)])
        for _ in range(self._kernel.random.randrange(12, 20)):
            self._kernel.sleep(self._kernel.random.randrange(seconds(8), seconds(30)))
            self._mark(self._kernel.random.choice((self._accounts(), self._running())))

    def verdict(self) -> list[str]:
        """Its own work was done once."""
        return self._orders.verdict()

    def _accounts(self) -> list[Document]:
        found = (self._world.documents.real.get(f"accounts/{uid}") for uid in ("user0", "user1", "shop"))
        return [one for one in found if one is not None]

    def _running(self) -> list[Document]:
        stored = self._world.documents.real.all()
        found = [one for path, one in stored.items() if path.startswith("operations/") and JUNK not in path]
        return [one for one in found if one.fields["lease"] is not None]

    def _mark(self, documents: list[Document]) -> None:
        if not documents:
            return
        chosen = self._kernel.random.choice(documents)
        place = self._kernel.random.choice(_ACCOUNT if chosen.path.startswith("accounts/") else _OPERATION)
        parts = place.read(chosen.fields)
        if not parts:
            return
        name = self._kernel.random.choice([*parts])
        more = place.put(chosen.fields, {**parts, name: {**parts[name], _NAME: _ODD}})
        self._world.documents.real.commit([Replace(chosen.path, more, chosen.version)])
        self._marked[chosen.path, name] = place

    def _committed(self, changes: list[Change]) -> None:
        after = {path: fields for path, _, fields in changes}
        for path, name in [*self._marked]:
            if path in after:
                self.found += self._looked(path, name, after[path])

    def _looked(self, path: str, name: str, fields: Fields | None) -> Iterator[str]:
        part = None if fields is None else self._marked[path, name].read(fields).get(name)
        if part is None or part.get(_NAME) != _ODD:
            del self._marked[path, name]  # It is over, or this is told once.
        if part is not None and part.get(_NAME) != _ODD:
            yield f"{name} of {path} lost the field that a newer version had written"
