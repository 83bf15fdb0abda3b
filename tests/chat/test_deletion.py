"""A deleted conversation: gone at once, nothing of it left in the end, whatever runs, dies or comes late meanwhile."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from app.chat.conversation import Conversation
from app.chat.deletion import NAME
from app.chat.service import Amendment
from app.chat.store import BATCH, NoSuchConversation
from app.kit.clock import minutes
from app.kit.errors import Unavailable
from app.kit.stores.documents import Create, Delete, Merge, Write
from app.kit.stores.realtime import Json
from app.orchestration.queue.operation import Operation, OperationState
from support.chat_world import ChatWorld, read_texts

MARK = "xyzzy"
"""A word of a conversation that is deleted."""


class Crash(BaseException):
    """The function is killed."""


def filled(world: ChatWorld, messages: int, uid: str = "alice") -> Conversation:
    """A conversation of so many messages."""
    conversation = world.conversation(uid)
    path = f"users/{uid}/conversations/{conversation.id}/messages"
    for number in range(messages):
        world.documents.commit([Create(f"{path}/msg_{number}", {"state": "done"})])
    return conversation


def ordered(world: ChatWorld) -> Operation:
    """The one operation that there is."""
    [operation] = world.operations()
    return operation


def nothing_of_it_is_left(world: ChatWorld) -> bool:
    """Whether no store holds a word of the one conversation that there was."""
    stored = repr([one.fields for one in world.documents.all().values()])
    return world.left() == [] and MARK not in stored and world.realtime.get("users/alice/streams") is None


def _refuse(_: Mapping[str, Json]) -> None:
    raise Unavailable("the database is gone")


@contextmanager
def killed_at(world: ChatWorld, commit: int, *, after: bool = False) -> Iterator[None]:
    """Whoever makes this commit, counted from 1, dies just before it is written, or just after."""
    made = 0

    def die(_: object) -> None:
        nonlocal made
        made += 1
        if made == commit:
            raise Crash

    hooks: list[object] = world.documents.after_commit if after else world.documents.before_commit  # type: ignore[assignment]  # what both are told is not looked at
    hooks.append(die)
    try:
        yield
    finally:
        hooks.remove(die)


class TestADeletedConversation:
    def test_is_gone_at_once_and_its_messages_soon(self, world: ChatWorld) -> None:
        conversation = filled(world, 3)
        world.chat.delete("alice", conversation.id)
        with pytest.raises(NoSuchConversation):
            world.chat.read("alice", conversation.id)
        with pytest.raises(NoSuchConversation):
            world.turns(conversation)
        assert [*world.chat.list("alice").first(10)] == []
        assert len(world.left()) == 4
        world.drain()
        assert world.left() == []
        operation = ordered(world)
        assert (operation.name, operation.account, operation.state) == (NAME, "alice", OperationState.SUCCEEDED)
        assert world.realtime.get("orchestration/queue") is None

    def test_keeps_its_charges(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        cost = world.answered(conversation).end.cost
        world.chat.delete("alice", conversation.id)
        world.drain()
        assert [-entry.amount for entry in world.charges()] == [cost]
        assert world.account().reserved == 0

    def test_disappears_in_the_commit_that_orders_the_rest(self, world: ChatWorld) -> None:
        """T-38: neither stands without the other."""
        conversation = filled(world, 1)
        with killed_at(world, 1), pytest.raises(Crash):
            world.chat.delete("alice", conversation.id)
        assert world.chat.read("alice", conversation.id) == conversation
        assert world.operations() == []
        with killed_at(world, 1, after=True), pytest.raises(Crash):
            world.chat.delete("alice", conversation.id)
        with pytest.raises(NoSuchConversation):
            world.chat.read("alice", conversation.id)
        # Nobody rang: the function died before it could.
        world.clock.advance(minutes=1)
        world.orchestration.sweeper.tick()
        world.drain()
        assert world.left() == []

    def test_takes_no_other_with_it(self, world: ChatWorld) -> None:
        gone, mine, theirs = filled(world, 2), filled(world, 2), filled(world, 2, "bob")
        world.chat.delete("alice", gone.id)
        world.drain()
        assert not [path for path in world.left() if gone.id in path]
        assert world.chat.read("alice", mine.id) == mine
        assert world.chat.read("bob", theirs.id) == theirs
        assert len(world.left()) == 6

    def test_of_another_does_not_exist(self, world: ChatWorld) -> None:
        conversation = filled(world, 2)
        before = world.documents.all()
        with pytest.raises(NoSuchConversation):
            world.chat.delete("bob", conversation.id)
        assert world.documents.all() == before

    def test_is_not_deleted_twice(self, world: ChatWorld) -> None:
        conversation = filled(world, 2)
        world.chat.delete("alice", conversation.id)
        for _ in range(2):
            with pytest.raises(NoSuchConversation):
                world.chat.delete("alice", conversation.id)
            world.drain()
        assert ordered(world).attempts == 1

    def test_by_two_at_once_is_one_operation(self, world: ChatWorld) -> None:
        conversation = filled(world, 2)

        def faster(_: Sequence[Write]) -> None:
            world.documents.before_commit.clear()
            world.chat.delete("alice", conversation.id)

        world.documents.before_commit.append(faster)
        with pytest.raises(NoSuchConversation):
            world.chat.delete("alice", conversation.id)
        world.drain()
        assert ordered(world).state is OperationState.SUCCEEDED
        assert world.left() == []

    def test_is_not_changed_by_a_late_request(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        world.chat.delete("alice", conversation.id)
        for _ in range(2):
            with pytest.raises(NoSuchConversation):
                world.chat.amend("alice", conversation.id, Amendment(title="x"))
            with pytest.raises(NoSuchConversation):
                world.ask(conversation)
            world.drain()


class TestTheOperation:
    @pytest.mark.parametrize("messages", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 50])
    def test_leaves_nothing_however_long_the_conversation(self, world: ChatWorld, messages: int) -> None:
        conversation = filled(world, messages)
        world.chat.delete("alice", conversation.id)
        world.drain()
        assert world.left() == []
        assert (ordered(world).state, ordered(world).attempts) == (OperationState.SUCCEEDED, 1)

    def test_deletes_no_more_at_once_than_a_commit_takes_and_the_conversation_last(self, world: ChatWorld) -> None:
        conversation = filled(world, 2 * BATCH + 50)
        world.chat.delete("alice", conversation.id)
        deleted: list[list[str]] = []

        def watch(writes: Sequence[Write]) -> None:
            if paths := [write.path for write in writes if isinstance(write, Delete)]:
                deleted.append(paths)

        world.documents.before_commit.append(watch)
        world.drain()
        assert [len(paths) for paths in deleted] == [BATCH, BATCH, 51]
        assert [path for paths in deleted for path in paths if "/messages/" not in path] == [deleted[-1][-1]]

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("commit", range(1, 7))
    def test_that_is_killed_at_any_write_is_begun_again(self, world: ChatWorld, commit: int, after: bool) -> None:
        """T-84: the claim, a batch, a renewal, a batch, a renewal, and the end with the rest."""
        world.chat.delete("alice", filled(world, 2 * BATCH + 50).id)
        with killed_at(world, commit, after=after), pytest.raises(Crash):
            world.drain()
        ended = commit == 6 and after
        assert bool(world.left()) is not ended
        world.clock.advance(minutes=3)
        world.orchestration.sweeper.tick()
        world.drain()
        assert world.left() == []
        died_holding_it = not ended and (commit, after) != (1, False)
        assert (ordered(world).state, ordered(world).attempts) == (
            OperationState.SUCCEEDED,
            2 if died_holding_it else 1,
        )

    def test_whose_answer_was_lost_has_happened_once(self, world: ChatWorld) -> None:
        world.chat.delete("alice", filled(world, 2).id)

        def lose(changes: Sequence[object]) -> None:
            if len(changes) == 4:
                world.documents.after_commit.clear()
                raise Unavailable("the store did not answer")

        world.documents.after_commit.append(lose)
        world.drain()
        assert world.left() == []
        world.clock.advance(minutes=3)
        world.orchestration.sweeper.tick()
        world.drain()
        assert (ordered(world).state, ordered(world).attempts) == (OperationState.SUCCEEDED, 1)

    def test_keeps_its_lease_while_it_works(self, world: ChatWorld) -> None:
        """T-85: a batch that takes a minute and a half is not yet two minutes; three of them are more."""
        world.chat.delete("alice", filled(world, 3 * BATCH).id)
        operation = ordered(world)
        others: list[OperationState | None] = []

        def slow(writes: Sequence[Write]) -> None:
            if len(writes) == BATCH:
                world.clock.advance(seconds=90)
                others.append(world.orchestration.runner.run(operation.id))

        world.documents.before_commit.append(slow)
        world.drain()
        assert others == [OperationState.RUNNING] * 3
        assert world.clock.now_us() - operation.created_us > minutes(4)
        assert (ordered(world).state, ordered(world).attempts) == (OperationState.SUCCEEDED, 1)
        assert world.left() == []

    def test_that_an_administrator_stops_goes_on_after_a_replay(self, world: ChatWorld) -> None:
        world.chat.delete("alice", filled(world, 2 * BATCH).id)
        operation = ordered(world)

        def stop(writes: Sequence[Write]) -> None:
            if len(writes) == BATCH:
                world.documents.before_commit.clear()
                world.orchestration.queue.cancel(operation.id, "not now")

        world.documents.before_commit.append(stop)
        world.drain()
        assert ordered(world).state is OperationState.CANCELLED
        assert len(world.left()) == BATCH + 1
        world.orchestration.letters.replay(operation.id, by="ada")
        world.drain()
        assert ordered(world).state is OperationState.SUCCEEDED
        assert world.left() == []


class TestItsText:
    """T-110: wherever it was written, whatever died or was refused, nothing of it is left in any store."""

    def test_goes_with_the_conversation(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        world.answered(conversation, f"Tell me about {MARK}")
        assert world.realtime.get("users/alice/streams") is not None
        world.chat.delete("alice", conversation.id)
        world.drain()
        assert nothing_of_it_is_left(world)

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("commit", [1, 2])
    def test_goes_though_the_deletion_is_killed(self, world: ChatWorld, commit: int, after: bool) -> None:
        conversation = world.conversation()
        world.answered(conversation, f"Tell me about {MARK}")
        world.chat.delete("alice", conversation.id)
        with killed_at(world, commit, after=after), pytest.raises(Crash):
            world.drain()
        world.clock.advance(minutes=3)
        world.orchestration.sweeper.tick()
        world.drain()
        assert nothing_of_it_is_left(world)

    def test_goes_though_the_database_refused_it(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        world.answered(conversation, f"Tell me about {MARK}")
        world.chat.delete("alice", conversation.id)

        def refuse(values: Mapping[str, Json]) -> None:
            if any("/streams/" in path for path in values):
                raise Unavailable("the database takes no text")

        world.realtime.before_write.append(refuse)
        world.drain()
        assert ordered(world).state is OperationState.QUEUED
        world.realtime.before_write.clear()
        for _ in range(3):
            world.clock.advance(minutes=1)
            world.orchestration.sweeper.tick()
            world.drain()
        assert nothing_of_it_is_left(world)

    @pytest.mark.parametrize("refused", [True, False], ids=["its end was refused", "killed"])
    def test_goes_though_an_answer_still_wrote_it(self, world: ChatWorld, refused: bool) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation, f"Tell me about {MARK}")
        read_texts(answer)
        world.chat.delete("alice", conversation.id)
        world.drain()
        world.clock.advance(seconds=1)
        world.mirror.step()
        assert world.realtime.get("users/alice/streams") is not None
        if refused:
            world.realtime.before_write.append(_refuse)
            answer.over()
            world.realtime.before_write.clear()
        self._sweep(world, 8)
        assert nothing_of_it_is_left(world)
        answer.close()

    def test_goes_though_a_frozen_instance_writes_it_late(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation, f"Tell me about {MARK}")
        read_texts(answer)
        late = world.mirror.coalescer.take()
        world.chat.delete("alice", conversation.id)
        world.drain()
        self._sweep(world, 20)
        assert nothing_of_it_is_left(world)
        assert late is not None
        world.realtime.update(late.values)
        assert not nothing_of_it_is_left(world)
        self._sweep(world, 8)
        assert nothing_of_it_is_left(world)
        answer.close()

    @staticmethod
    def _sweep(world: ChatWorld, minutes: int) -> None:
        for _ in range(minutes):
            world.clock.advance(minutes=1)
            world.orchestration.sweeper.tick()
            world.drain()


class TestAnAnswerMeanwhile:
    @pytest.mark.parametrize("drained_first", [True, False])
    def test_is_charged_and_leaves_nothing_behind(self, world: ChatWorld, drained_first: bool) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation)
        world.chat.delete("alice", conversation.id)
        if drained_first:
            world.drain()
        over = answer.over()
        world.drain()
        assert over.end.cost > 0
        assert len(world.charges()) == 1
        assert world.left() == []

    @pytest.mark.parametrize("cancelled", [True, False])
    def test_that_is_about_to_end_leaves_nothing_behind(self, world: ChatWorld, cancelled: bool) -> None:
        """The conversation goes between the decision and the commit of the end."""
        conversation = world.conversation()
        answer = world.ask(conversation)
        next(answer.events)
        self._delete_before_the_next_commit(world, conversation)
        if cancelled:
            answer.close()
        else:
            answer.over()
        assert world.left() == []
        assert world.reserved() == 0

    @pytest.mark.parametrize("killed", [True, False])
    def test_that_is_about_to_begin_leaves_nothing_behind(self, world: ChatWorld, killed: bool) -> None:
        """Its conversation stood when it was read, and is gone, messages and all, when the turn is written."""
        conversation = world.conversation()
        self._delete_before_the_next_commit(world, conversation)
        answer = world.ask(conversation)
        assert ordered(world).state is OperationState.SUCCEEDED
        assert len(world.left()) == 1
        if not killed:
            assert answer.over().end.cost > 0
        world.clock.advance(minutes=6)
        world.feature.sweep()
        assert world.left() == []
        assert world.reserved() == 0
        answer.close()

    def test_whose_turn_is_written_after_the_last_look_leaves_nothing_behind(self, world: ChatWorld) -> None:
        """The operation ends over one message that it has not seen, and whose function is dead."""
        conversation = world.conversation()
        answer = world.ask(conversation)
        [running] = [path for path in world.left() if "/messages/" in path]
        late = {**world.documents.all()[running].fields, "id": "msg_late"}
        answer.close()
        world.chat.delete("alice", conversation.id)

        def write(writes: Sequence[Write]) -> None:
            if any(isinstance(write, Delete) for write in writes):
                world.documents.before_commit.clear()
                world.documents.commit([Create(f"{running.rpartition('/')[0]}/msg_late", late)])

        world.documents.before_commit.append(write)
        world.drain()
        assert (ordered(world).state, len(world.left())) == (OperationState.SUCCEEDED, 1)
        world.clock.advance(minutes=6)
        world.feature.sweep()
        assert world.left() == []

    def _delete_before_the_next_commit(self, world: ChatWorld, conversation: Conversation) -> None:
        def delete(_: Sequence[Write]) -> None:
            world.documents.before_commit.clear()
            world.chat.delete("alice", conversation.id)
            world.drain()

        world.documents.before_commit.append(delete)


def test_the_sweep_looks_again_at_a_stream_whose_turn_could_not_be_read(world: ChatWorld) -> None:
    """T-105: until somebody mended the turn. A stream that is on no list keeps its text for ever."""
    turn = world.answered(world.conversation()).turn
    path = f"users/alice/conversations/{turn.conversation_id}/messages/{turn.id}"
    world.documents.commit([Merge(path, {"lease_until": 7})])
    world.realtime.update(
        {"orchestration/streams_due": {"m0000000001": {f"{turn.id}:1": {"uid": "alice", "ended": False}}}}
    )
    assert world.feature.streams.sweep() == 1
    world.documents.commit([Merge(path, {"lease_until": turn.lease_until})])
    for later in (7, 16):
        world.clock.advance(minutes=later)
        world.feature.streams.sweep()
    assert world.realtime.get("users") is None
    assert world.realtime.get("orchestration/streams_due") is None
