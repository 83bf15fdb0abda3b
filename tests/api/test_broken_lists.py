"""Every list: 200 rows that nobody can read stand in front of a good one, which is found; they are reported (T-105)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest

from api.test_every_list import ALICE_CHAT, Town
from app.api.reference import openapi
from app.kit.stores.documents import Create, Document, Fields, Merge, Replace, Value
from contract.test_broken_rows import BREAKS, MANY
from support.credits_world import deposit
from support.world import World

FUTURE: Final = "2031-01-01T00:00:00.000000Z"
CHAT: Final = f"users/alice/conversations/{ALICE_CHAT}"


@dataclass(frozen=True)
class Case:
    """A list: its path, who reads it, and the collection of its rows. The copies of one row that stand in front have
    `front`, and are broken in `spoilt`. `job` is where they are reported.
    """

    path: str
    route: str
    collection: str
    spoilt: str
    front: Fields
    job: str
    by: str = "alice"
    items: str = "items"
    where: tuple[str, Value] | None = None

    def __str__(self) -> str:
        return f"{self.path} {self.spoilt}"


CASES: Final = (
    Case(
        "/v1/chat/conversations",
        "/v1/chat/conversations",
        "users/alice/conversations",
        "created_at",
        {"updated_at": FUTURE},
        "conversations_list",
    ),
    Case(
        f"/v1/chat/conversations/{ALICE_CHAT}/messages",
        "/v1/chat/conversations/{conversation_id}/messages",
        f"{CHAT}/messages",
        "reserved",
        {"created_at": FUTURE},
        "turns_list",
    ),
    Case(
        f"/v1/chat/conversations/{ALICE_CHAT}/messages",
        "/v1/chat/conversations/{conversation_id}/messages",
        f"{CHAT}/messages",
        "created_at",
        {},
        "turns_list",
    ),
    Case(
        "/v1/credits/history",
        "/v1/credits/history",
        "accounts/alice/entries",
        "amount",
        {"sequence": 10_000},
        "history_list",
    ),
    Case(
        "/v1/orchestration/operations?state=queued",
        "/v1/orchestration/operations",
        "operations",
        "level",
        {"created_at": FUTURE},
        "operations_list",
        by="ada",
        where=("state", "queued"),
    ),
    Case(
        "/v1/orchestration/dead-letters",
        "/v1/orchestration/dead-letters",
        "operations",
        "finished_at",
        {},
        "operations_list",
        by="ada",
        where=("state", "dead"),
    ),
    Case(
        "/v1/orchestration/sagas",
        "/v1/orchestration/sagas",
        "sagas",
        "status",
        {"created_at": FUTURE},
        "sagas_list",
        by="ada",
    ),
    Case(
        "/v1/orchestration/audit-log",
        "/v1/orchestration/audit-log",
        "audit_log",
        "action",
        {"at": FUTURE},
        "audit_list",
        by="ada",
    ),
    Case("/v1/orchestration/audit-log", "/v1/orchestration/audit-log", "audit_log", "at", {}, "audit_list", by="ada"),
)
NOT_OF_ROWS: Final = {
    "/v1/chat/search": "of two collections, read through GuardedRows; nothing here puts broken rows in front of it yet",
    "/v1/credits/explain": "a sum: test_an_entry_that_cannot_be_read_is_not_left_out_of_a_sum",
    "/v1/credits/validate-chain": "a verification",
    "/v1/shared/{token}": "a branch, read as messages are; nothing here spoils a turn of it yet",
}


def rows_of(world: World, case: Case) -> list[Document]:
    depth = case.collection.count("/") + 1
    found = [one for path, one in world.documents.all().items() if path.startswith(f"{case.collection}/")]
    rows = [one for one in found if one.path.count("/") == depth]
    return [one for one in rows if case.where is None or one.fields[case.where[0]] == case.where[1]]


def put_in_front(world: World, row: Document, case: Case) -> None:
    for number in range(MANY):
        fields: dict[str, Value] = {**row.fields, **case.front}
        list(BREAKS.values())[number % len(BREAKS)](fields, case.spoilt)
        world.documents.commit([Create(f"{case.collection}/b{number:03d}", fields)])


def pages(town: Town, case: Case, limit: int) -> Iterator[list[Any]]:
    """All pages; none may fail."""
    cursor: str | None = None
    join = "&" if "?" in case.path else "?"
    while True:
        behind = f"&cursor={quote(cursor)}" if cursor else ""
        answer = town.callers[case.by].get(f"{case.path}{join}limit={limit}{behind}")
        body: Any = answer.json
        assert answer.status_code == 200, answer.text
        yield body[case.items]
        cursor = body["next_cursor"]
        if cursor is None:
            return


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_hundred_broken_rows_hide_no_good_one(case: Case) -> None:
    town = Town()
    rows = rows_of(town.world, case)
    put_in_front(town.world, rows[0], case)
    for limit in (20, 100):
        shown = [item for page in pages(town, case, limit) for item in page]
        whole = len(rows)
        assert len(shown) >= whole
    report = town.world.documents.get(f"jobs/{case.job}")
    listed = report and report.fields["broken"]
    assert isinstance(listed, list) and len(listed) >= MANY * 5 // len(BREAKS)
    known = {str(row["path"]) for row in listed if isinstance(row, Mapping)}
    assert known.isdisjoint(row.path for row in rows)


def test_every_list_is_tried() -> None:
    """Whatever takes a cursor."""
    town = World()
    document: Any = openapi.document(town.app)
    lists = {
        path
        for path, methods in document["paths"].items()
        if "get" in methods and any(one["name"] == "cursor" for one in methods["get"].get("parameters", ()))
    }
    assert lists == {case.route for case in CASES} | NOT_OF_ROWS.keys()


def spoilt_entry(how: Callable[[dict[str, Value], str], object], field: str, sequence: int = 2) -> World:
    """A world in which an entry of alice, of four, cannot be read."""
    world = World()
    bank = world.system.credits.service
    for number in range(3):
        bank.post("alice", deposit(f"p{number}", 5))
    stored = world.documents.get(f"accounts/alice/entries/{sequence:012d}")
    assert stored is not None
    fields = dict(stored.fields)
    how(fields, field)
    world.documents.commit([Replace(stored.path, fields)])
    return world


@pytest.mark.parametrize("path", ["explain", "analytics", "audit"])
@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
def test_an_entry_that_cannot_be_read_is_not_left_out_of_a_sum(
    path: str, how: Callable[[dict[str, Value], str], object]
) -> None:
    world = spoilt_entry(how, "kind")
    answer = world.client("alice").get(f"/v1/credits/{path}")
    assert answer.status_code == 409, answer.text
    assert (answer.json or {})["code"] == "ledger_check_failed"


def test_a_past_balance_is_not_told_from_an_entry_that_cannot_be_read() -> None:
    world = spoilt_entry(BREAKS["an unknown word"], "kind", 4)
    answer = world.client("alice").get("/v1/credits/balance?at=2030-01-01T00:00:00Z")
    assert (answer.status_code, (answer.json or {})["code"]) == (409, "ledger_check_failed")


def test_a_breach_that_cannot_be_read_hides_no_other() -> None:
    world = World()
    good: Fields = {
        "subject": "account-zoe",
        "account": "zoe",
        "state": "open",
        "sequence": 1,
        "check": "head",
        "found_at": FUTURE,
    }
    for number in range(MANY):
        world.documents.commit([Create(f"breaches/account-b{number:03d}", {**good, "sequence": "one"})])
    world.documents.commit([Create("breaches/account-zoe", good)])
    answer: Any = world.client(world.user("ada", role="admin")).get("/v1/credits/breaches").json
    assert [item["subject"] for item in answer["items"]] == ["account-zoe"]


def test_a_suspicion_that_cannot_be_read_keeps_no_other_waiting() -> None:
    world = World()
    world.system.credits.service.account("zoe")
    breaches = world.system.credits.service.checkpoints.breaches
    for number in range(MANY):
        world.documents.commit([Create(f"breaches/a{number:03d}", {"state": "suspected", "account": number})])
    breaches.suspect("zoe")
    assert breaches.suspected(5) == ["zoe"]


def test_a_reservation_that_cannot_be_read_hides_no_other() -> None:
    world = World()
    bank = world.system.credits.service
    bank.post("alice", deposit("p", 500))
    alice = world.client("alice")
    made: Any = alice.post("/v1/credits/reserve", json={"amount": "0.0001", "purpose": "test"}).json
    alice.post("/v1/credits/release-reservation", json={"reservation_id": made["id"]})
    recent = bank.existing("alice").recent
    world.documents.commit([Merge("accounts/alice", {"recent": [*recent, "of a later version"]})])
    answer: Any = alice.get("/v1/credits/reservations").json
    assert [item["id"] for item in answer["items"]] == [made["id"]]


def test_rollups_that_cannot_be_read_are_counted_again() -> None:
    world = World()
    bank = world.system.credits.service
    bank.post("alice", deposit("p", 500))
    world.clock.advance(minutes=1)
    alice = world.client("alice")
    whole: Any = alice.get("/v1/credits/analytics").json
    [day] = [path for path in world.documents.all() if "/rollups/0" in path]
    world.documents.commit([Merge(day, {"movements": "many"})])
    again: Any = alice.get("/v1/credits/analytics").json
    assert (again["movements"], again["complete"]) == (whole["movements"], True)
    assert "deposit" in again["movements"]
