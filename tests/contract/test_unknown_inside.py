"""What another version of the code wrote inside a document, in a map of a list or of a map, is ignored and kept.

Every map inside every document that the whole backend writes is tried, by way of a run of it (`docs.everything`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pytest

from app.chat import conversation as conversations
from app.credits.ledger import document as accounts
from app.keys import api_key
from app.kit.stores.broken_rows import BrokenRows
from app.kit.stores.documents import Create, Document, Fields, Merge, Opaque, Replace, Value, Version, map_field
from app.models.faults import ModelFault
from app.orchestration.queue import operation_document as operations
from app.orchestration.sagas import saga_document as sagas
from docs.everything import run
from support.chat_world import ChatWorld
from support.clock import ManualClock
from support.credits_world import CreditsWorld, deposit, promo, reserve, settle
from support.memory import MemoryDocuments
from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]

THEIRS: Final[Value] = {"version": [1], "place": Opaque("geo_point_value", b"\x42\x00")}
Place = tuple[str | int, ...]


def places(value: Value, at: Place = ()) -> Iterator[Place]:
    """Where the maps inside a value are, that of the value itself not among them."""
    members = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        here = (*at, name)
        if isinstance(member, Mapping):
            yield here
        yield from places(member, here)


def put(value: Value, place: Place) -> Value:
    """A copy with a member in the map at `place` that nobody knows."""
    if not place:
        assert isinstance(value, Mapping)
        return {**value, "theirs": THEIRS}
    if isinstance(value, Mapping):
        return {name: put(member, place[1:]) if name == place[0] else member for name, member in value.items()}
    assert isinstance(value, list)
    return [put(member, place[1:]) if index == place[0] else member for index, member in enumerate(value)]


def at(value: Value, place: Place) -> Value:
    for name in place:
        value = value[name]  # type: ignore[index]  # the place was found in a value of this shape
    return value


def kind(path: str, fields: Fields) -> str:
    """The collections that a document is in; those of `jobs/` that are signed are a kind of their own."""
    found = "/".join(path.split("/")[::2])
    return "jobs of proofs" if found == "jobs" and "serial" in fields else found


def shape(place: Place) -> str:
    return ".".join("*" if isinstance(name, int) else name for name in place)


def conversation(path: str, fields: Fields) -> Fields:
    found = conversations.read(path.rpartition("/")[2], fields)
    assert found is not None
    return conversations.write(found)


def job(path: str, fields: Fields) -> Fields:
    """A list of broken rows, after a run that met one more."""
    documents, name = MemoryDocuments(), path.rpartition("/")[2]
    documents.commit([Create(path, fields)])
    rows = BrokenRows(documents, ManualClock())
    was = rows.record(name)
    rows.keep(name, was, was, {"things/new": "broken"}, lambda _: True)
    stored = documents.get(path)
    assert stored is not None
    return stored.fields


WRITTEN_AGAIN: Final[Mapping[str, Callable[[str, Fields], Fields]]] = {
    "accounts": lambda _, fields: accounts.write(accounts.read(fields)),
    "operations": lambda path, fields: operations.to_fields(
        operations.from_document(Document(path, fields, Version(1)))
    ),
    "sagas": lambda path, fields: sagas.to_fields(sagas.from_document(Document(path, fields, Version(1)))),
    "users/conversations": conversation,
    "jobs": job,
    "api_keys": lambda path, fields: api_key.write(api_key.read(path.rpartition("/")[2], fields)),
}
"""How a document becomes a value and a document again. Its own unknown fields are the commit's (`keep_others`)."""

OTHERWISE: Final = {
    "accounts/entries": "never written again",
    "audit_log": "never written again",
    "accounts/rollups": "only merged into",
    "users/conversations/messages": "a turn's maps belong to its end, which is written once; see below",
    "completions": "written once, and deleted or merged into once",
    "checkpoints": "a copy of what the archive has",
    "sealed": "a copy of what the archive has",
    "jobs of proofs": "signed as a whole: what somebody added is not ours",
    "breaches": "signed by parts, and otherwise only merged into",
    "users/preferences": "its owner puts it whole: what is inside is what was put",
    "users/quotes": "who used it is written over what is stored, and nothing else",
}

SEEN: Final = "2027-01-14T08:30:00.000000Z"
ROW: Final[Value] = {"path": "things/old", "reason": "broken", "first_seen": SEEN, "last_seen": SEEN}
BROKEN: Final[Fields] = {"after": [], "pass_began_at": SEEN, "unlisted": 0, "broken": [ROW]}
"""The run meets no broken row."""

NESTED: Final = {
    "accounts: lots.*",
    "accounts: reservations.*",
    "accounts: reservations.*.holds.*",
    "accounts: reservations.*.reference",
    "operations: lease",
    "operations: history.*",
    "operations: payload",
    "operations: result",
    "sagas: steps",
    "sagas: steps.only",
    "sagas: timeline.*",
    "users/conversations: window.*",
    "jobs: broken.*",
    "api_keys: older.*",
}
"""What the run must show; it may show more."""


@pytest.fixture(scope="module")
def written(vendor_process: Vendor) -> list[tuple[str, Fields]]:
    vendor_process.reset()
    return [*run(vendor_process).documents.documents, ("jobs/turns_list", BROKEN)]


def test_every_kind_of_document_with_maps_inside_is_known_here(written: list[tuple[str, Fields]]) -> None:
    found = {kind(path, fields) for path, fields in written if any(places(dict(fields)))}
    assert found - {*WRITTEN_AGAIN, *OTHERWISE} == set()
    assert found >= {*WRITTEN_AGAIN}


def test_every_map_inside_keeps_what_is_not_known(written: list[tuple[str, Fields]]) -> None:
    tried: set[str] = set()
    for path, fields in written:
        of = kind(path, fields)
        if of not in WRITTEN_AGAIN or fields.get("state") == "deleting":
            continue
        for place in places(dict(fields)):
            name = f"{of}: {shape(place)}"
            if name in tried:
                continue
            tried.add(name)
            theirs = put(dict(fields), place)
            assert isinstance(theirs, Mapping)
            again = at(dict(WRITTEN_AGAIN[of](path, theirs)), place)
            assert isinstance(again, Mapping) and again.get("theirs") == THEIRS, name
    assert tried >= NESTED


def test_an_account_at_work_keeps_it_while_lot_and_reservation_are_there() -> None:
    world = CreditsWorld(bonus=0)
    bank, documents = world.credits, world.documents
    for command in (promo("gift", 500, None), deposit("pay_1", 700)):
        bank.post("zoe", command)
    bank.reserve("zoe", reserve("held", 600))
    stored = documents.get("accounts/zoe")
    assert stored is not None
    fields: Value = dict(stored.fields)
    for place in [*places(fields)]:
        fields = put(fields, place)
    assert isinstance(fields, Mapping)
    documents.commit([Replace(stored.path, fields)])
    bank.post("zoe", deposit("pay_2", 900))
    bank.reserve("zoe", reserve("other", 800))
    bank.settle("zoe", settle("other", 300))
    world.audit("zoe")
    now = documents.get("accounts/zoe")
    assert now is not None
    for place in places(dict(stored.fields)):
        kept = at(dict(now.fields), place)
        assert isinstance(kept, Mapping) and kept.get("theirs") == THEIRS, place


class TestATurn:
    def test_that_is_tried_again_keeps_it(self, vendor: Vendor) -> None:
        world = ChatWorld(vendor)
        conversation = world.conversation()
        vendor.arrange("status=500", times=None)
        with pytest.raises(ModelFault):
            world.ask(conversation, key="k").over()
        [path] = [one for one in world.documents.all() if "/messages/" in one]
        world.documents.commit([Merge(path, {"theirs": THEIRS})])
        vendor.reset()
        over = world.ask(conversation, key="k").over()
        stored = world.documents.get(path)
        assert stored is not None
        assert (over.turn.attempt, stored.fields["state"]) == (2, "done")
        assert stored.fields["theirs"] == THEIRS

    def test_is_read_whatever_its_usage_counts(self, vendor: Vendor) -> None:
        world = ChatWorld(vendor)
        conversation = world.conversation()
        world.answered(conversation)
        [path] = [one for one in world.documents.all() if "/messages/" in one]
        world.documents.commit([Merge(path, {("usage", "theirs"): THEIRS})])
        [turn] = world.turns(conversation)
        stored = world.documents.get(path)
        assert turn.end is not None and stored is not None
        assert {**turn.end.usage, "theirs": THEIRS} == map_field(stored.fields, "usage")
