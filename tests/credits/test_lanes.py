"""Group commit and remembered heads are faster and change no outcome."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from app.credits.core.commands import Outcome
from app.credits.core.rejections import BalanceTooLarge, CreditsHeldByAnswers
from app.credits.ledger.group_commit import MAX_REMEMBERED
from app.credits.ledger.step import Participant
from app.kit.errors import AlreadyExists, Conflict, KeyReused, Unavailable
from app.kit.money import MAX_MICRO, credits
from app.kit.stores.documents import Create, Document, Replace, Write, list_field
from support.credits_world import CreditsWorld, deposit, reserve, settle
from support.memory import MemoryDocuments


class Crash(Exception):
    """The process dies here."""


class Crowd:
    """Holds the first commit until `size` other commands wait behind it."""

    def __init__(self, world: CreditsWorld, size: int) -> None:
        world.credits.account("alice")
        world.credits.post("alice", deposit("warm", 1))
        self._world, self._size = world, size
        self._first, self._go = threading.Event(), threading.Event()
        self.commits: list[int] = []
        memory(world).before_commit.append(self._watch)

    def _watch(self, writes: Sequence[Write]) -> None:
        self.commits.append(len(writes))
        if not self._first.is_set():
            self._first.set()
            assert self._go.wait(20)

    def run(self, commands: Sequence[Callable[[], object]]) -> list[Future[Any]]:
        with ThreadPoolExecutor(self._size + 1) as pool:
            lead = pool.submit(self._world.credits.post, "alice", deposit("lead", 1))
            assert self._first.wait(20)
            others = [pool.submit(command) for command in commands]
            lane = self._world.credits._funnel._queues["alice"]
            while len(lane.waiting) < self._size:
                threading.Event().wait(0.001)
            self._go.set()
        return [lead, *others]


def memory(world: CreditsWorld) -> MemoryDocuments:
    assert isinstance(world.documents, MemoryDocuments)
    return world.documents


class TestGroupCommit:
    def test_commands_that_meet_share_one_commit(self, world: CreditsWorld) -> None:
        """T-56"""
        crowd = Crowd(world, 20)
        done = crowd.run([partial(world.credits.post, "alice", deposit(f"p{i}", 1)) for i in range(20)])
        assert all(future.exception() is None for future in done)
        assert crowd.commits == [2, 21]
        assert world.audit("alice").balance == credits(1000) + 22

    def test_a_refusal_is_one_commands_own(self, world: CreditsWorld) -> None:
        """T-34: what fits succeeds, what does not is refused, in one commit."""
        crowd = Crowd(world, 12)
        asked = [reserve(f"r{index}", credits(100)) for index in range(12)]
        done = crowd.run([partial(world.credits.reserve, "alice", one) for one in asked])
        refused = [future.exception() for future in done if future.exception()]
        assert [type(error) for error in refused] == [CreditsHeldByAnswers] * 2
        assert len(crowd.commits) == 2
        assert world.audit("alice").reserved == credits(1000)

    def test_a_participants_refusal_takes_only_its_command_out(self, world: CreditsWorld) -> None:
        def refuse(_: Outcome, __: tuple[Document | None, ...]) -> Sequence[Write]:
            raise KeyReused("taken")

        crowd = Crowd(world, 3)
        done = crowd.run(
            [
                lambda: world.credits.reserve("alice", reserve("a", 5)),
                lambda: world.credits.reserve("alice", reserve("b", 5), Participant(writes=refuse)),
                lambda: world.credits.reserve("alice", reserve("c", 5)),
            ]
        )
        assert [type(future.exception()) for future in done[1:]] == [type(None), KeyReused, type(None)]
        assert world.audit("alice").reserved == 10

    def test_a_participant_that_meets_a_document_fails_alone(self, world: CreditsWorld) -> None:
        world.documents.commit([Create("turns/t", {})])
        crowd = Crowd(world, 3)
        taken = Participant(writes=lambda _, __: [Create("turns/t", {})])
        done = crowd.run(
            [
                lambda: world.credits.reserve("alice", reserve("a", 5)),
                lambda: world.credits.reserve("alice", reserve("b", 5), taken),
                lambda: world.credits.reserve("alice", reserve("c", 5)),
            ]
        )
        assert [type(future.exception()) for future in done[1:]] == [type(None), AlreadyExists, type(None)]
        assert world.audit("alice").reserved == 10

    def test_participants_that_write_one_document_see_each_other(self, world: CreditsWorld) -> None:
        """Two answers of one conversation that are settled together both stay in its window."""
        memory(world).commit([Create("lists/shared", {"names": []})])
        crowd = Crowd(world, 8)

        def adding(name: str) -> Participant:
            def writes(_: Outcome, seen: tuple[Document | None, ...]) -> list[Write]:
                [shared] = seen
                assert shared is not None
                names = [*list_field(shared.fields, "names"), name]
                return [Replace(shared.path, {"names": names}, shared.version), Create(f"lists/{name}", {})]

            return Participant(("lists/shared",), writes)

        calls = [partial(world.credits.post, "alice", deposit(f"p{n}", 1), adding(f"n{n}")) for n in range(7)]
        futures = crowd.run([*calls, partial(world.credits.post, "alice", deposit("other", 1))])
        assert [future.result().replayed for future in futures] == [False] * 9
        stored = memory(world).get("lists/shared")
        assert stored is not None
        assert sorted(str(name) for name in list_field(stored.fields, "names")) == [f"n{n}" for n in range(7)]
        assert len(crowd.commits) == 1 + 7
        assert world.audit("alice").sequence == 1 + 1 + 9

    def test_what_an_earlier_commit_of_a_batch_did_stays_done(self, world: CreditsWorld) -> None:
        """When the second step of a batch fails, the commands of the first get their outcome, not the failure."""
        memory(world).commit([Create("lists/shared", {})])
        crowd = Crowd(world, 2)

        def writes(_: Outcome, seen: tuple[Document | None, ...]) -> list[Write]:
            [shared] = seen
            assert shared is not None
            return [Replace(shared.path, {}, shared.version)]

        def fail_the_third(_: Sequence[Write]) -> None:
            if len(crowd.commits) == 3:
                raise Unavailable("no")

        memory(world).before_commit.append(fail_the_third)
        participant = Participant(("lists/shared",), writes)
        calls = [partial(world.credits.reserve, "alice", reserve(f"r{n}", 5), participant) for n in range(2)]
        _, *futures = crowd.run(calls)
        failures = [type(error) for future in futures if (error := future.exception())]
        assert failures == [Unavailable]
        assert len(world.audit("alice").reservations) == 1

    def test_the_same_command_twice_at_once_has_one_effect(self, world: CreditsWorld) -> None:
        """T-6, T-59"""
        crowd = Crowd(world, 8)
        done = crowd.run([lambda: world.credits.post("alice", deposit("p", 5))] * 8)
        assert all(future.exception() is None for future in done)
        assert world.audit("alice").balance == credits(1000) + 2 + 5

    def test_a_commit_that_loses_decides_everything_again(self, world: CreditsWorld) -> None:
        """T-34: a refusal decided on a lost head does not count."""
        crowd = Crowd(world, 2)
        other = world.instance()
        raced = False

        def race(writes: Sequence[Write]) -> None:
            nonlocal raced
            if len(crowd.commits) == 2 and not raced:
                raced = True
                other.post("alice", deposit("top-up", credits(500)))

        memory(world).before_commit.append(race)
        done = crowd.run(
            [
                lambda: world.credits.reserve("alice", reserve("a", credits(900))),
                lambda: world.credits.reserve("alice", reserve("b", credits(600))),
            ]
        )
        assert [future.exception() for future in done] == [None, None, None]
        assert world.audit("alice").reserved == credits(1500)

    def test_a_fault_reaches_everybody_and_the_lane_lives_on(self, world: CreditsWorld) -> None:
        crowd = Crowd(world, 3)

        def fail(writes: Sequence[Write]) -> None:
            if len(crowd.commits) == 2:
                raise Unavailable("the store is away")

        memory(world).before_commit.append(fail)
        done = crowd.run([partial(world.credits.post, "alice", deposit(f"p{i}", 1)) for i in range(3)])
        assert [type(future.exception()) for future in done[1:]] == [Unavailable] * 3
        crowd.commits.append(0)
        assert world.credits.post("alice", deposit("later", 1)).account.balance == credits(1000) + 3
        world.audit("alice")

    def test_nobody_waits_behind_a_thread_that_died(self, world: CreditsWorld) -> None:
        crowd = Crowd(world, 3)

        def die(writes: Sequence[Write]) -> None:
            if len(crowd.commits) == 2:
                raise Crash

        memory(world).before_commit.append(die)
        done = crowd.run([partial(world.credits.post, "alice", deposit(f"p{i}", 1)) for i in range(3)])
        assert sorted(type(future.exception()).__name__ for future in done[1:]) == [
            "Crash",
            "Unavailable",
            "Unavailable",
        ]
        crowd.commits.append(0)
        world.credits.post("alice", deposit("later", 1))
        world.audit("alice")

    def test_a_command_that_is_refused_fails_alone(self, world: CreditsWorld) -> None:
        crowd = Crowd(world, 2)
        done = crowd.run(
            [
                lambda: world.credits.post("alice", deposit("beyond every number", MAX_MICRO)),
                lambda: world.credits.post("alice", deposit("good", 1)),
            ]
        )
        assert [type(future.exception()) for future in done[1:]] == [BalanceTooLarge, type(None)]
        world.audit("alice")


class TestRememberedHeads:
    def test_save_the_read(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", 5))
        reads = memory(world).reads
        world.credits.settle("alice", settle("r", 5))
        assert memory(world).reads == reads

    def test_that_are_old_cost_a_retry_and_nothing_else(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", 5))
        world.instance().post("alice", deposit("p", 7))
        world.credits.settle("alice", settle("r", 5))
        assert world.pauses == 0
        assert world.audit("alice").balance == credits(1000) + 2

    def test_never_refuse_anything(self, world: CreditsWorld) -> None:
        """T-34, T-47: a top-up through another instance is spendable at once."""
        world.credits.reserve("alice", reserve("r", credits(1000)))
        world.instance().post("alice", deposit("p", credits(5)))
        assert world.credits.reserve("alice", reserve("s", credits(5))).amount == credits(5)

    def test_never_answer_for_what_another_instance_closed(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", 5))
        first = world.instance().settle("alice", settle("r", 5))
        assert world.credits.settle("alice", settle("r", 5)).entry == first.entry

    def test_are_forgotten_when_a_commit_failed(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", 5))
        memory(world).before_commit.append(_failing_once(Conflict("lost")))
        world.credits.settle("alice", settle("r", 5))
        world.audit("alice")

    def test_are_bounded(self, world: CreditsWorld) -> None:
        for index in range(MAX_REMEMBERED + 50):
            world.credits.set_threshold(f"user{index}", 1)
        assert len(world.credits._funnel._queues) <= MAX_REMEMBERED + 1


class TestBudget:
    """Reads and writes of each step, counted at the port."""

    @pytest.mark.parametrize(
        ("step", "reads", "writes"), [("reserve", 1, 1), ("settle", 1, 2), ("release", 1, 1), ("replay", 2, 0)]
    )
    def test_without_a_remembered_head(self, world: CreditsWorld, step: str, reads: int, writes: int) -> None:
        world.credits.reserve("alice", reserve("old", 5))
        world.credits.settle("alice", settle("old", 5))
        if step != "reserve":
            world.credits.reserve("alice", reserve("r", 5))
        fresh, store = world.instance(), memory(world)
        fresh.account("bob")  # a process looks once, before its first signature, whether its key is kept
        before = (store.reads, store.writes)
        match step:
            case "reserve":
                fresh.reserve("alice", reserve("r", 5))
            case "settle":
                fresh.settle("alice", settle("r", 5))
            case "release":
                fresh.release("alice", "r", "test")
            case _:
                fresh.settle("alice", settle("old", 5))
        assert (store.reads - before[0], store.writes - before[1]) == (reads, writes)


def _failing_once(error: Exception) -> Callable[[Sequence[Write]], None]:
    failed = False

    def fail(writes: Sequence[Write]) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise error

    return fail
