"""A killed function: nothing stays reserved, nothing is charged, the user is told, the key may be used again."""

from collections.abc import Mapping

import pytest

from app.chat.attempt import Start, Text
from app.chat.live.flusher import cancel_path
from app.chat.opening import Ask
from app.chat.service import Amendment
from app.chat.store import turn_path
from app.kit.stores.documents import Create
from app.kit.stores.realtime import Json
from app.metering.billing import Mode
from support.chat_world import ChatWorld, read_texts
from support.vendor import Vendor


class TestAKilledFunction:
    @pytest.mark.parametrize("credits_first", [True, False])
    def test_is_swept(self, world: ChatWorld, credits_first: bool) -> None:
        """T-9, T-38: whichever of the two sweeps comes first."""
        conversation = world.conversation()
        killed = world.ask(conversation, key="k")
        start = next(killed.events)
        assert isinstance(start, Start)
        assert world.feature.sweep() == 0
        assert world.reserved() > 0
        world.clock.advance(minutes=6)
        world.realtime.update({cancel_path(world.feature.instance, start.turn.id): True})
        if credits_first:
            world.credits.expire_due()
        world.feature.sweep()
        world.credits.expire_due()
        [turn] = world.turns(conversation)
        assert turn.end is not None
        assert (turn.end.state, turn.end.cost, turn.end.reason) == ("error", 0, "crashed")
        stream = world.realtime.get(f"users/alice/streams/{turn.id}")
        assert isinstance(stream, dict)
        assert stream["status"] == "error"
        assert world.realtime.get("orchestration/cancels") is None
        assert world.reserved() == 0
        assert world.feature.sweep() == 0
        over = world.ask(conversation, key="k").over()
        assert (over.turn.attempt, over.end.state) == (2, "done")
        assert len(world.charges()) == 1
        assert world.account().reserved == 0
        killed.close()

    def test_that_was_only_slow_is_free_and_loses_nothing(self, world: ChatWorld) -> None:
        """T-40: the sweep was faster than the settlement; exactly one of them wins."""
        conversation = world.conversation()
        slow = world.ask(conversation)
        while not isinstance(next(slow.events), Text):
            pass
        world.clock.advance(minutes=6)
        world.feature.sweep()
        over = slow.over()
        assert (over.end.cost, over.end.reason) == (0, "reservation_lost")
        [turn] = world.turns(conversation)
        assert turn.end == over.end
        assert world.charges() == []
        assert world.reserved() == 0

    def test_that_was_asked_again_before_anybody_was_told_is_not_told_any_more(self, world: ChatWorld) -> None:
        """The live text is that of the second attempt by then."""
        conversation = world.conversation()
        killed = world.ask(conversation, key="k")
        start = next(killed.events)
        assert isinstance(start, Start)
        world.clock.advance(minutes=6)
        assert world.system.metering.orphans.sweep(world.feature.turns) == 1
        over = world.ask(conversation, key="k").over()
        assert (over.turn.attempt, over.end.state) == (2, "done")
        assert world.system.metering.orphans.tell(world.feature.turns) == 1
        stream = world.realtime.get(f"users/alice/streams/{start.turn.id}")
        assert isinstance(stream, dict)
        assert (stream["attempt"], stream["status"]) == (2, "done")
        killed.close()

    def test_that_came_back_before_anybody_was_told_says_its_own_end(self, world: ChatWorld) -> None:
        """T-40: its turn holds the whole answer by then, and so does the live text."""
        slow = world.ask(world.conversation())
        while not isinstance(next(slow.events), Text):
            pass
        world.clock.advance(minutes=6)
        assert world.system.metering.orphans.sweep(world.feature.turns) == 1
        over = slow.over()
        assert (over.end.state, over.end.reason) == ("done", "reservation_lost")
        path = f"users/alice/streams/{over.turn.id}"
        before = world.realtime.get(path)
        assert isinstance(before, dict)
        assert before["status"] == "done"
        assert world.system.metering.orphans.tell(world.feature.turns) == 1
        assert world.realtime.get(path) == before

    def test_does_not_wait_for_a_turn_that_cannot_be_read(self, world: ChatWorld) -> None:
        """T-105."""
        conversation = world.conversation()
        killed = world.ask(conversation)
        start = next(killed.events)
        assert isinstance(start, Start)
        path = f"users/alice/conversations/{conversation.id}/messages"
        old = {"state": "running", "lease_until": "2020-01-01T00:00:00.000000Z"}
        world.documents.commit([Create(f"{path}/broken", old)])
        world.clock.advance(minutes=6)
        assert world.system.metering.orphans.sweep(world.feature.turns) == 1
        stored = world.documents.get(f"{path}/{start.turn.id}")
        assert stored is not None
        assert stored.fields["reason"] == "crashed"
        killed.close()

    def test_gives_credits_back_while_the_realtime_database_hangs(self, world: ChatWorld) -> None:
        """Every call to it takes as long as a chore may: no other answer's credits wait for that."""
        killed = world.ask(world.conversation())
        assert isinstance(next(killed.events), Start)
        world.clock.advance(minutes=6)
        hanging: list[object] = []
        world.realtime.before_write.append(hanging.append)
        chores = world.system.chat.chores()
        assert [chore.work(chore.limit) for chore in chores if not chore.realtime] == [1, 0]
        assert (hanging, world.reserved()) == ([], 0)
        [told, _] = [chore for chore in chores if chore.realtime]
        assert (told.work(told.limit), told.work(told.limit)) == (1, 0)
        assert hanging
        killed.close()


class TestTwoAnswersAtOnce:
    def test_both_enter_the_tree_and_both_are_paid(self, world: ChatWorld) -> None:
        """Two tabs: the later settlement sees what the earlier one wrote, and its branch is the active one."""
        conversation = world.conversation()
        one, two = world.ask(conversation, "First?"), world.ask(conversation, "Second?")
        two.over()
        one.over()
        [placed] = world.chat.branch("alice", conversation.id, 10).turns
        assert (placed.turn.question, len(placed.siblings)) == ("First?", 2)
        [other] = world.chat.branch("alice", conversation.id, 10, leaf=placed.siblings[0]).turns
        assert (other.turn.question, other.siblings) == ("Second?", placed.siblings)
        assert len(world.charges()) == 2

    def test_a_rename_in_between_is_kept(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation)
        world.chat.amend("alice", conversation.id, Amendment(title="Mine"))
        answer.over()
        read = world.chat.read("alice", conversation.id)
        assert (read.title, len(read.window)) == ("Mine", 1)


class TestAWindow:
    def test_is_bounded_however_long_the_conversation(self, world: ChatWorld, vendor: Vendor) -> None:
        vendor.arrange("finish=stop", times=None)
        conversation = world.conversation()
        for number in range(30):
            world.answered(conversation, f"Question {number}: " + "word " * 1500)
        window = world.chat.read("alice", conversation.id).window
        assert sum(exchange.size for exchange in window) <= 96 * 1024
        assert window[-1].question.startswith("Question 29")
        assert len(world.turns(conversation)) == 30

    def test_only_holds_what_was_answered(self, world: ChatWorld, vendor: Vendor) -> None:
        conversation = world.conversation()
        vendor.arrange("disconnect-after=3")
        world.chat.answer(Ask("alice", conversation.id, "Hi"), Mode.JSON).over()
        assert world.chat.read("alice", conversation.id).window == ()


def test_a_broken_copy_of_a_turn_under_another_name_is_not_that_turn(world: ChatWorld) -> None:
    """T-38: a copy that somebody made by hand keeps neither a cancel nor the sweep of live text from the turn."""
    turn = world.answered(world.conversation()).turn
    path = turn_path("alice", turn.conversation_id, turn.id)
    stored = world.documents.get(path)
    assert stored is not None
    world.documents.commit([Create(f"{path.rpartition('/')[0]}/a-copy", {**stored.fields, "attempt": "one"})])
    found = world.chat.cancel("alice", turn.id)
    assert found is not None
    assert found.id == turn.id


def test_the_end_of_a_dead_attempt_is_not_told_over_the_next_one(world: ChatWorld) -> None:
    """T-111: the key was repeated between the sweep that ended the attempt and the one that tells of it."""
    conversation = world.conversation()
    killed = world.ask(conversation, key="k")
    read_texts(killed)
    world.clock.advance(minutes=6)
    assert world.system.metering.orphans.sweep(world.feature.turns) == 1
    ask = Ask("alice", conversation.id, "What is a ledger?", key="k", request_id="req_test")
    again = world.instance().chat.service.answer(ask, Mode.STREAM)
    read_texts(again)
    path = f"users/alice/streams/{world.only_turn().id}"
    before = world.realtime.get(path)
    world.system.metering.orphans.tell(world.feature.turns)
    assert world.realtime.get(path) == before
    again.close()


class TestAnAttemptThatWasOnlyFrozen:
    """It ends after the sweep has ended its turn, and its live text shows what its turn says."""

    def test_ends_while_its_death_is_told(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        ask = Ask("alice", conversation.id, "What is a ledger?", key="k", request_id="req_test")
        frozen = world.instance().chat.service.answer(ask, Mode.STREAM)
        read_texts(frozen)
        world.clock.advance(minutes=6)
        assert world.system.metering.orphans.sweep(world.feature.turns) == 1

        def thaw(values: Mapping[str, Json]) -> None:
            if any(path.endswith("/status") for path in values):
                world.realtime.before_write.remove(thaw)
                frozen.over()

        world.realtime.before_write.append(thaw)
        world.system.metering.orphans.tell(world.feature.turns)
        assert shown(world) == ("done", "reservation_lost")


def shown(world: ChatWorld) -> tuple[object, object]:
    """The status and the reason on the live text of the only turn."""
    stream = world.realtime.get(f"users/alice/streams/{world.only_turn().id}")
    assert isinstance(stream, dict)
    return stream["status"], stream["reason"]
