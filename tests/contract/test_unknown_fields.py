"""A field that this version of the code does not know survives the updates of its document, in each kind of document.

An operator, or a newer version that runs beside this one during a deploy, put it there.
"""

from collections.abc import Mapping

import pytest

from app.bonus.rules import Mark
from app.bonus.welcome import counted
from app.kit.stores.documents import Increment, Merge, Opaque, Value
from app.orchestration.queue.handler import Handler
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sagas.sagas import SagaStart
from metering.gallery import LEASE_US, Gallery
from orchestration.shop import Shop, Spy, order
from support.credits_world import CreditsWorld, deposit, reserve, settle
from support.memory import MemoryDocuments
from support.world import World

PUT: Mapping[str | tuple[str, ...], Value | Increment] = {
    "theirs": Opaque("geo_point_value", b"\x42\x00"),
    "next": {"version": [1]},
}


def put(documents: MemoryDocuments, path: str) -> None:
    """Adds the fields to a stored document."""
    assert documents.get(path) is not None
    documents.commit([Merge(path, PUT)])


def stays(documents: MemoryDocuments, path: str) -> bool:
    stored = documents.get(path)
    return stored is not None and all(stored.fields.get(str(name)) == value for name, value in PUT.items())


@pytest.fixture
def world() -> World:
    return World()


def test_of_an_account(world: World) -> None:
    credits = world.system.credits.service
    credits.account("zoe")
    put(world.documents, "accounts/zoe")
    credits.post("zoe", deposit("p", 700))
    credits.reserve("zoe", reserve("r", 500))
    credits.settle("zoe", settle("r", 300))
    assert stays(world.documents, "accounts/zoe")


def test_of_an_account_that_is_repaired(world: World) -> None:
    world.system.credits.service.account("zoe")
    put(world.documents, "accounts/zoe")
    world.documents.commit([Merge("accounts/zoe", {"balance": 5})])
    root = world.client(world.user("root", role="admin"))
    done = root.post("/v1/credits/repair", json={"uid": "zoe"}).json
    assert done is not None and done["repaired"]
    assert stays(world.documents, "accounts/zoe")


def test_of_an_operation() -> None:
    shop = Shop([Handler("work", Spy())])
    path = f"operations/{shop.queue.enqueue(order())}"
    put(shop.documents, path)
    shop.drain()
    assert shop.states() == ["succeeded"]
    assert stays(shop.documents, path)


def test_of_a_saga() -> None:
    shop = Shop(sagas=[SagaDefinition("one", 1, (SagaStep("only", lambda _: StepDone()),))])
    shop.sagas.start(SagaStart("s", "one"))
    put(shop.documents, "sagas/s")
    shop.drain()
    assert stays(shop.documents, "sagas/s")


def test_of_a_conversation(world: World) -> None:
    alice = world.client("alice")
    made = alice.post("/v1/chat/conversations", json={}).json
    assert made is not None
    path = f"users/alice/conversations/{made['id']}"
    put(world.documents, path)
    assert alice.patch(f"/v1/chat/conversations/{made['id']}", json={"title": "Mine"}).status_code == 200
    assert stays(world.documents, path)


def test_of_a_paid_call() -> None:
    money = CreditsWorld()
    assert isinstance(money.documents, MemoryDocuments)
    gallery = Gallery(money)
    gallery.begin("img_1")
    put(money.documents, "tasks/img_1")
    money.clock.advance(us=LEASE_US + 1)
    assert gallery.sweep() == 1
    assert stays(money.documents, "tasks/img_1")


def test_of_a_correction(world: World) -> None:
    world.system.credits.service.account("zoe")
    root = world.client(world.user("root", role="admin"))
    made = root.post("/v1/credits/corrections", json={"uid": "zoe", "amount": "1", "reason": "a mistake"}).json
    assert made is not None
    put(world.documents, f"corrections/{made['id']}")
    assert root.post(f"/v1/credits/corrections/{made['id']}/reject").status_code == 200
    assert stays(world.documents, f"corrections/{made['id']}")


def test_of_a_cursor_of_analytics(world: World) -> None:
    credits = world.system.credits.service
    credits.account("zoe")
    credits.analyst.catch_up("zoe")
    put(world.documents, "accounts/zoe/rollups/cursor")
    credits.post("zoe", deposit("p", 700))
    credits.analyst.catch_up("zoe")
    assert stays(world.documents, "accounts/zoe/rollups/cursor")


def test_of_a_bonus_mark() -> None:
    documents, marks = MemoryDocuments(), [Mark("m", 9)]
    documents.commit(counted(marks, "zoe", (None,)) or [])
    put(documents, "bonus_marks/m")
    documents.commit(counted(marks, "amy", (documents.get("bonus_marks/m"),)) or [])
    stored = documents.get("bonus_marks/m")
    assert stored is not None and stored.fields["count"] == 2
    assert stays(documents, "bonus_marks/m")
