"""firestore.indexes.json serves every query that the features make: the emulator does not ask for an index, the real
service refuses a query without one.

https://firebase.google.com/docs/firestore/query-data/index-overview
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.reference import openapi
from app.kit.stores.documents import Document, Query
from support.firestore.indexes import CONFIGURED
from support.memory import MemoryDocuments
from support.world import MemoryPorts, World

FILE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "firestore.indexes.json").read_text())


class Recording(MemoryDocuments):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Query] = []

    def query(self, query: Query) -> list[Document]:
        self.asked.append(query)
        return super().query(query)


@pytest.fixture(scope="module")
def asked() -> list[Query]:
    """The queries of every GET of the API with every combination of its filters, of some POSTs, and of the sweep."""
    documents = Recording()
    variables = {"WELCOME_BONUS_CHECKS": "on", "WELCOME_BONUS_ON_PURCHASE": "1"}
    world = World(variables=variables, ports=MemoryPorts(documents=documents))
    client = world.client(world.user("root", role="admin"))
    conversation = client.post("/v1/chat/conversations", json={}).json
    assert conversation is not None
    for path, operation in reads(world):
        for query in combinations(operation, openapi.document(world.app)["components"]["schemas"]):
            client.get(
                path.replace("{conversation_id}", conversation["id"]).replace("{", "").replace("}", ""),
                query_string=query,
            )
    client.post("/v1/chat/messages/msg_none/cancel")
    told = {"subscriber": "welcome", "event": "CreditsDeposited"}
    always = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
    assert client.post("/v1/orchestration/events/replay", json={**told, **always}).status_code == 200
    world.system.orchestration.sweep()
    return documents.asked


def reads(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in openapi.document(world.app)["paths"].items():
        if "get" in item:
            yield path, item["get"]


def combinations(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[dict[str, str]]:
    filters = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] not in ("limit", "cursor"):
            filters.append([(parameter["name"], value) for value in values(parameter, schemas)] + [None])
    for chosen in itertools.islice(itertools.product(*filters), 200):
        yield dict(each for each in chosen if each is not None)


def values(parameter: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    choices = [parameter["schema"], *parameter["schema"].get("anyOf", [])]
    choices += [schemas[choice["$ref"].rpartition("/")[2]] for choice in choices if "$ref" in choice]
    known: list[str] = [value for choice in choices for value in choice.get("enum", [])]
    if known:
        return known[:2] if len(choices) > 2 else known
    return ["2020-01-01T00:00:00Z" if parameter["name"] in ("from", "to") else "x"]


def order_of(query: Query) -> list[str]:
    return [field for field in query.order_by if field.lstrip("-") != "__name__"]


class TestIndexes:
    def test_serve_every_query(self, asked: list[Query]) -> None:
        """Every store of the tests refuses a query without an index; here each of the API is asked for sure."""
        assert [query for query in asked if not CONFIGURED.serve(query)] == []

    def test_are_all_needed_by_somebody(self, asked: list[Query]) -> None:
        used = {(query.collection.rpartition("/")[2], tuple(order_of(query)[-1:])) for query in asked}
        for index in FILE["indexes"]:
            last = index["fields"][-1]
            name = ("-" if last["order"] == "DESCENDING" else "") + last["fieldPath"]
            assert (index["collectionGroup"], (name,)) in used, index

    def test_the_queries_were_really_asked(self, asked: list[Query]) -> None:
        collections = {query.collection.rpartition("/")[2] for query in asked}
        assert collections >= {"accounts", "entries", "conversations", "messages", "operations", "sagas", "audit_log"}

    def test_the_time_to_live_is_set_where_documents_carry_it(self) -> None:
        living = {each["collectionGroup"] for each in FILE["fieldOverrides"] if each.get("ttl")}
        assert living == {"completions", "idempotency", "inbox", "operations", "quotes", "sagas"}
        assert all(not each["indexes"] for each in FILE["fieldOverrides"] if each.get("ttl"))
