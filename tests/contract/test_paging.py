"""No position that a cursor can hold is one that a store refuses."""

import pytest

from app.api.paging import as_id, as_integer, as_time
from app.kit.ids import RandomIds
from app.kit.stores.documents import Create, Documents, Query, Value
from support.clock import ManualClock

TIMES = ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z")
IDS = ("_", "-", "0", "z" * 128)
NUMBERS = (-(2**63), -1, 0, 2**53, 2**63 - 1)


@pytest.mark.parametrize("direction", ["", "-"])
def test_every_extreme_is_a_place(documents: Documents, direction: str) -> None:
    name = RandomIds(ManualClock()).new("pages")
    documents.commit([Create(f"{name}/one", {"at": "2026-11-21T08:30:00.000250Z", "number": 7})])
    places: list[tuple[str, Value, str]] = [("at", as_time(at), as_id(id)) for at in TIMES for id in IDS]
    places += [("number", as_integer(number), as_id(id)) for number in NUMBERS for id in IDS]
    found = []
    for field, value, id in places:
        order = (f"{direction}{field}", f"{direction}__name__")
        found.append(len(documents.query(Query(name, order_by=order, limit=2, start_after=(value, id)))))
    assert (0 in found, 1 in found) == (True, True)
