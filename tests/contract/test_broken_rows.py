"""Every job over many rows: 200 broken rows stand in front of a good one, which is served; they are reported once.

T-105. The rows are broken in each way that an operator, or a newer version of the code, can break them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from app.kit.clock import to_rfc3339
from app.kit.stores.documents import Create, Delete, Documents, Fields, Opaque, Value
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.saga import StepStatus
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sagas.sagas import SagaStart
from metering.gallery import LEASE_US, Gallery
from orchestration.shop import Shop
from support.credits_world import CreditsWorld, deposit, promo
from support.world import World

MANY = 200
RUNS = 3
"""Sweeps after which the good row must be served."""

BREAKS: Mapping[str, Callable[[dict[str, Value], str], object]] = {
    "a geo point": lambda fields, name: fields.update({name: Opaque("geo_point_value", b"\x12\x00")}),
    "bytes": lambda fields, name: fields.update({name: Opaque("bytes_value", b"\x92\x01\x01\x00")}),
    "a reference": lambda fields, name: fields.update({name: Opaque("reference_value", b"\x2a\x01a")}),
    "an unknown word": lambda fields, name: fields.update({name: "of a later version"}),
    "a number": lambda fields, name: fields.update({name: 0.5}),
    "null": lambda fields, name: fields.update({name: None}),
    "nothing": lambda fields, name: fields.pop(name, None),
    "a list of nulls": lambda fields, name: fields.update({name: [None, {"a": None}]}),
}


@dataclass(frozen=True)
class Case:
    """A job. `good` stores a row that is served and returns its path; `served` says whether it was. The row's field
    `spoilt` decides whether it can be read, and its field `order` when it is looked at.
    """

    good: Callable[[World], str]
    served: Callable[[World, Fields | None], bool]
    spoilt: str
    order: str
    report: str


def account(world: World) -> str:
    """An account with a lot that has expired."""
    credits = world.system.credits.service
    credits.account("zoe")
    credits.post("zoe", promo("gift", 5, world.clock.now_us() + 60_000_000))
    world.clock.advance(minutes=2)
    return "accounts/zoe"


def bought(world: World) -> str:
    """An account whose mirror missed a write."""
    credits = world.system.credits.service
    credits.account("zoe")
    credits.post("zoe", deposit("p", 7))
    return "accounts/zoe"


def operation(world: World) -> str:
    """An operation for which nobody rang."""
    queue = world.system.orchestration.queue
    (row,) = queue.rows([Order("chat.delete_conversation", payload={"uid": "zoe", "conversation": "c"})])
    world.documents.commit([row])
    return row.path


def rung(world: World, fields: Fields | None) -> bool:
    return world.realtime.get("orchestration/queue/default") is not None


def mirrored(world: World, fields: Fields | None) -> bool:
    return world.realtime.get("users/zoe/balance") is not None


def expired(world: World, fields: Fields | None) -> bool:
    return fields is not None and fields["next_expiry_at"] is None


CASES = {
    "expiry": Case(account, expired, "status", "next_expiry_at", "expiry"),
    "mirrors": Case(bought, mirrored, "level", "updated_at", "mirror_comparison"),
    "operations": Case(operation, rung, "state", "wake_at", "overdue_operations"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
class TestTwoHundredBrokenRows:
    def test_do_not_keep_a_good_one_waiting(self, case: Case) -> None:
        world, path = stored(case)
        for _ in range(RUNS):
            world.clock.advance(minutes=1)
            world.system.orchestration.sweeper.tick()
        found = world.documents.get(path)
        assert case.served(world, None if found is None else found.fields)

    def test_are_listed_and_logged_once(self, case: Case) -> None:
        world, _ = stored(case)
        with capture_logs() as logged:
            for _ in range(RUNS):
                world.clock.advance(minutes=1)
                world.system.orchestration.sweeper.tick()
        told = [line["path"] for line in logged if line["event"] == "row_broken" and line["job"] == case.report]
        assert len(told) == len(set(told)) == MANY
        report = world.documents.get(f"jobs/{case.report}")
        listed = report and report.fields["broken"]
        assert isinstance(listed, list) and len(listed) == MANY
        figures = {one.labels.get("job"): one.value for one in world.system.orchestration_admin.figures()}
        assert figures[case.report] == MANY


def test_do_not_keep_an_abandoned_call_waiting() -> None:
    money = CreditsWorld()
    gallery = Gallery(money)
    gallery.begin("img_1")
    money.clock.advance(us=LEASE_US + 1)
    put_in_front(money.documents, "tasks/img_1", "attempt", {"due_us": 1})
    with capture_logs() as logged:
        ended = [gallery.sweep() for _ in range(RUNS)]
    assert sum(ended) == 1
    assert len([line for line in logged if line["event"] == "row_broken"]) == MANY


def test_do_not_keep_a_saga_waiting() -> None:
    shop = Shop(sagas=[SagaDefinition("one", 1, (SagaStep("only", lambda _: StepDone()),))])
    shop.rings = False
    shop.sagas.start(SagaStart("lost", "one"))
    shop.documents.commit([Delete(f"operations/{operation}") for operation in shop.operations()])
    shop.rings = True
    put_in_front(shop.documents, "sagas/lost", "status", {"check_at": to_rfc3339(shop.clock.now_us() - 1)})
    shop.pass_time(minutes=20)
    assert shop.sagas.get("lost").steps["only"].status is StepStatus.DONE


def test_an_idle_ledger_is_swept_without_a_read_per_account() -> None:
    """An hour after the last change; but for checkpoints and chains, which look at some accounts in turn."""
    world = World()
    world.system.credits.service.account("zoe")
    whole = world.documents.get("accounts/zoe")
    assert whole is not None
    for start in range(0, 1_000, 500):
        copies = [f"idle{number:04d}" for number in range(start, start + 500)]
        world.documents.commit([Create(f"accounts/{uid}", {**whole.fields, "uid": uid}) for uid in copies])
    chores = [
        one for feature in world.system.features for one in feature.chores() if one.name not in ("checkpoint", "chains")
    ]
    reads = 0
    for _ in range(60):
        world.clock.advance(minutes=1)
        before = world.documents.reads
        for chore in chores:
            chore.work(chore.limit)
        reads = world.documents.reads - before
    assert reads <= 8, "one document or two of each job"


def stored(case: Case) -> tuple[World, str]:
    """A world in which broken copies of a good row stand in front of it."""
    world = World()
    path = case.good(world)
    put_in_front(world.documents, path, case.spoilt, {case.order: to_rfc3339(world.clock.now_us() - 30 * 60_000_000)})
    return world, path


def put_in_front(documents: Documents, path: str, spoilt: str, order: Fields) -> None:
    """Stores copies of the document at `path` in which `spoilt` is broken in turn in every way."""
    whole = documents.get(path)
    assert whole is not None
    breaks = list(BREAKS.values())
    for number in range(MANY):
        fields = {**whole.fields, **order}
        breaks[number % len(breaks)](fields, spoilt)
        documents.commit([Create(f"{path.rpartition('/')[0]}/b{number:03d}", fields)])
