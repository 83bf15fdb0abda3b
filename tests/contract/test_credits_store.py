"""What the ledger promises, proved on the in-memory store and on Firestore's emulator alike."""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from app.credits.core.rejections import InsufficientCredits
from app.credits.ledger.step import Participant
from app.credits.proofs.verification import Link, verify_chain
from app.kit.concurrency import Threads
from app.kit.errors import AlreadyExists
from app.kit.money import credits
from app.kit.stores.documents import Create, Documents
from support.credits_world import CreditsWorld, deposit, promo, reserve, settle
from support.memory import MemoryDocuments

BONUS = credits(1000)


@pytest.fixture(params=["memory", pytest.param("firestore", marks=pytest.mark.suite)])
def documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    if request.param == "memory":
        yield MemoryDocuments()
        return
    if "FIRESTORE_EMULATOR_HOST" not in os.environ:
        request.getfixturevalue("suite")
    from app.kit.stores.firestore import connect

    yield connect("demo-credits")


@pytest.fixture
def world(documents: Documents) -> CreditsWorld:
    return CreditsWorld(documents, concurrency=Threads())


@pytest.fixture
def alice() -> str:
    return f"alice-{secrets.token_hex(6)}"


def test_what_is_read_back_verifies(world: CreditsWorld, alice: str) -> None:
    """T-52: the store keeps every hashed value exactly, times included."""
    world.clock.advance(us=123_457)
    world.credits.post(alice, promo("k", credits(5), world.clock.now_us() + 86_400_000_123))
    world.credits.reserve(alice, reserve("r", credits(5)))
    world.clock.advance(us=1)
    world.credits.settle(alice, settle("r", 1_234_567))
    assert world.audit(alice).sequence == 3
    for entry in world.entries(alice):
        assert world.credits.verify(alice, entry.id).valid


def test_entries_come_back_byte_for_byte(world: CreditsWorld, alice: str) -> None:
    """T-52, T-54"""
    world.credits.reserve(alice, reserve("r", credits(5)))
    settled = world.credits.settle(alice, settle("r", 7))
    assert settled.entry is not None
    stored = list(world.credits.ledger.entries(alice))
    assert stored[-1] == settled.entry.fields()
    assert verify_chain(stored, world.credits.ledger.keys, Link(alice)).valid


def test_a_hundred_postings_at_once_make_one_chain(world: CreditsWorld, alice: str) -> None:
    """T-51, T-33: nothing forks, from the very first entry on."""
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda i: world.credits.post(alice, deposit(f"p{i}", credits(1))), range(100)))
    account = world.audit(alice)
    assert (account.sequence, account.balance) == (101, BONUS + credits(100))


def test_fifty_spends_at_once_on_a_balance_for_k(world: CreditsWorld, alice: str) -> None:
    """T-32: exactly k succeed."""

    def spend(index: int) -> bool:
        try:
            world.credits.reserve(alice, reserve(f"r{index}", credits(60)))
        except InsufficientCredits:
            return False
        world.credits.settle(alice, settle(f"r{index}", credits(60)))
        return True

    with ThreadPoolExecutor(50) as pool:
        spent = sum(pool.map(spend, range(50)))
    account = world.audit(alice)
    assert spent == 16
    assert account.balance == BONUS - 16 * credits(60)


def test_several_instances_write_one_chain(world: CreditsWorld, alice: str) -> None:
    """T-51: no instance knows of the others, and each may remember an old head."""
    instances = [world.instance() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: instances[i % 4].post(alice, deposit(f"p{i}", 1)), range(40)))
    assert world.audit(alice).balance == BONUS + 40


def test_a_companion_that_meets_a_document_writes_nothing(world: CreditsWorld, alice: str) -> None:
    path = f"turns/{alice}"
    world.documents.commit([Create(path, {"state": "old"})])
    with pytest.raises(AlreadyExists):
        world.credits.reserve(alice, reserve("r", 1), Participant(writes=lambda _, __: [Create(path, {})]))
    assert world.credits.account(alice).reserved == 0
    world.audit(alice)


def test_replays_answer_without_a_write(world: CreditsWorld, alice: str) -> None:
    """T-59: one deposit per payment, whatever the vendor repeats."""
    world.credits.reserve(alice, reserve("r", credits(5)))
    first = world.credits.settle(alice, settle("r", 7))
    posted = world.credits.post(alice, deposit("p", 5))
    version = world.account(alice).version
    assert world.credits.settle(alice, settle("r", 7)).entry == first.entry
    assert world.credits.post(alice, deposit("p", 5)).entry == posted.entry
    assert world.account(alice).version == version


def test_the_sweeper_finds_what_is_due(world: CreditsWorld, alice: str) -> None:
    world.credits.reserve(alice, reserve("r", credits(5)))
    world.clock.advance(minutes=31)
    while world.credits.expire_due(limit=50).more:
        pass
    assert world.audit(alice).reserved == 0


class Counted(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts documents that cross the wire."""

    def __init__(self) -> None:
        self.reads = self.writes = 0

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.writes += len(getattr(request, "writes", ()))
        self.reads += details.method.endswith("GetDocument")
        return continuation(details, request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        self.reads += max(1, len(getattr(request, "documents", ())))
        return continuation(details, request)


@pytest.mark.suite
@pytest.mark.parametrize(
    ("step", "reads", "writes"), [("reserve", 1, 1), ("settle", 1, 2), ("release", 1, 1), ("settle again", 2, 0)]
)
def test_each_step_stays_within_its_budget_on_the_wire(
    request: pytest.FixtureRequest, alice: str, step: str, reads: int, writes: int
) -> None:
    """As tests/credits/test_lanes.py, but counted where Firestore bills, by an instance that remembers nothing."""
    if "FIRESTORE_EMULATOR_HOST" not in os.environ:
        request.getfixturevalue("suite")
    from app.kit.stores.firestore import connect

    world = CreditsWorld(connect("demo-credits"))
    before = world.credits
    before.reserve(alice, reserve("r" if step != "reserve" else "other", 5))
    if step == "settle again":
        before.settle(alice, settle("r", 5))
    counted = Counted()
    wired = connect("demo-credits", intercept=lambda channel: grpc.intercept_channel(channel, counted))
    fresh = CreditsWorld(wired, archive=world.archive)
    match step:
        case "reserve":
            fresh.credits.reserve(alice, reserve("r", 5))
        case "release":
            fresh.credits.release(alice, "r", "test")
        case _:
            fresh.credits.settle(alice, settle("r", 5))
    assert (counted.reads, counted.writes) == (reads, writes)
