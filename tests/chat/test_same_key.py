"""One idempotency key: one answer, one charge, however the requests meet."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

from app.chat.answering import Answer
from app.chat.attempt import Over, Start
from app.chat.conversation import Conversation
from app.chat.live.instances import BEAT_US, SILENT_US, Beats, Instances
from app.chat.opening import Ask
from app.kit.errors import KeyReused, Unavailable
from app.kit.money import to_decimal
from app.kit.stores.documents import Replace, Write
from app.kit.stores.realtime import Json
from app.metering.billing import Mode
from app.metering.reserving import CallInProgress
from support.chat_world import ChatWorld, read_texts
from support.clock import ManualClock
from support.memory import MemoryRealtime
from support.vendor import Vendor


class Killed(BaseException):
    """The process is gone: nothing that stands behind runs."""


def test_a_second_request_does_not_join_the_reservation_of_the_first(vendor: Vendor) -> None:
    """The ledger answers an equal reserve with the first outcome; that must not start a second stream (T-6)."""
    world = ChatWorld(vendor)
    conversation = world.conversation()
    first = world.ask(conversation, key="k")
    with pytest.raises(CallInProgress):
        world.ask(conversation, key="k")
    first.over()
    assert len(world.charges()) == 1
    assert world.reserved() == 0


def test_a_finished_answer_is_given_again(vendor: Vendor) -> None:
    world = ChatWorld(vendor)
    conversation = world.conversation()
    once = world.ask(conversation, key="k").over()
    again = world.ask(conversation, key="k")
    assert again.replayed
    assert isinstance(last := again.over(), Over)
    assert last.end == once.end
    assert len(world.charges()) == 1


def test_another_message_under_the_key_is_refused(vendor: Vendor) -> None:
    world = ChatWorld(vendor)
    conversation = world.conversation()
    world.ask(conversation, key="k").over()
    with pytest.raises(KeyReused):
        world.ask(conversation, "Something else", key="k")


def beat(world: ChatWorld, answers: Mapping[str, int] | None = None) -> None:
    """What the flusher of an instance that lives does every few seconds."""
    named = world.mirror.coalescer.answers if answers is None else answers
    Beats(world.realtime, world.clock, world.feature.instance).beat(named)


def repeated(world: ChatWorld, conversation: Conversation) -> Answer:
    """The key again, at another instance."""
    ask = Ask("alice", conversation.id, "What is a ledger?", key="k", request_id="req_test")
    return world.instance().chat.service.answer(ask, Mode.STREAM)


def pass_by(world: ChatWorld, seconds: int, *, alive: bool = False) -> None:
    for _ in range(seconds // 5):
        world.clock.advance(seconds=5)
        if alive:
            beat(world)


def kill_at(world: ChatWorld, conversation: Conversation, point: str) -> None:
    """A function that told of itself before, and is killed at this point of its answer."""

    def die(_: object) -> None:
        raise Killed

    before, after = world.documents.before_commit, world.documents.after_commit
    if point == "before it is reserved for":
        before.append(die)
    elif point == "after it is reserved for":
        after.append(die)
    with suppress(Killed):
        answer = world.ask(conversation, key="k")
        beat(world)
        if point == "before the vendor is asked":
            next(answer.events)
        else:
            read_texts(answer)
        if point == "before it is settled":
            before.append(die)
            answer.over()
        elif point == "after it is settled":
            after.append(die)
            answer.over()
    before.clear()
    after.clear()


class TestABrokenConnection:
    """T-115: a repeat of the key gets the answer, or another one, as soon as it can be known that nobody answers."""

    @pytest.mark.parametrize(
        "point",
        [
            "before it is reserved for",
            "after it is reserved for",
            "before the vendor is asked",
            "in the middle",
            "before it is settled",
            "after it is settled",
        ],
    )
    def test_is_made_up_for_by_a_repeat_wherever_the_function_died(self, world: ChatWorld, point: str) -> None:
        conversation = world.conversation()
        beat(world, {"msg_earlier": 1})
        kill_at(world, conversation, point)
        pass_by(world, SILENT_US // 1_000_000 + 10)
        over = repeated(world, conversation).over()
        assert (over.end.state, bool(over.end.answer)) == ("done", True)
        assert [-entry.amount for entry in world.charges()] == [over.end.cost]
        assert world.reserved() == 0
        assert world.only_turn().end == over.end
        assert repeated(world, conversation).replayed

    def test_to_an_instance_that_lives_and_answers_is_waited_for(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        read_texts(answer)
        for _ in range(10):
            pass_by(world, 20, alive=True)
            with pytest.raises(CallInProgress):
                repeated(world, conversation)
        cost = answer.over().end.cost
        assert [-entry.amount for entry in world.charges()] == [cost]

    def test_to_one_that_lives_and_does_not_answer_it_is_not(self, world: ChatWorld) -> None:
        """The reserving commit was written and not heard of, so nobody began to answer."""
        world.credits.account("alice")
        conversation = world.conversation()

        def lose(_: object) -> None:
            world.documents.after_commit.clear()
            raise Unavailable("the store did not answer")

        world.documents.after_commit.append(lose)
        with pytest.raises(Unavailable):
            world.ask(conversation, key="k")
        other = world.ask(conversation, key="another")
        pass_by(world, SILENT_US // 1_000_000 - 10, alive=True)
        with pytest.raises(CallInProgress):
            repeated(world, conversation)
        pass_by(world, 15, alive=True)
        assert repeated(world, conversation).over().turn.attempt == 2
        assert len(world.charges()) == 1
        other.close()

    def test_before_anything_was_told_waits_for_the_lease(self, world: ChatWorld) -> None:
        """What is not known is not dead."""
        conversation = world.conversation()
        killed = world.ask(conversation, key="k")
        pass_by(world, 300)
        with pytest.raises(CallInProgress):
            repeated(world, conversation)
        pass_by(world, 30)
        assert repeated(world, conversation).over().turn.attempt == 2
        killed.close()

    def test_to_one_that_was_only_frozen_is_charged_once(self, world: ChatWorld) -> None:
        """T-40: the attempt that was given up finds its reservation closed, and writes over nothing."""
        conversation = world.conversation()
        frozen = world.ask(conversation, key="k")
        read_texts(frozen)
        beat(world)
        pass_by(world, 70)
        again = repeated(world, conversation)
        late = frozen.over()
        assert (late.end.cost, late.end.reason) == (0, "reservation_lost")
        over = again.over()
        assert (over.turn.attempt, world.only_turn().end) == (2, over.end)
        assert [-entry.amount for entry in world.charges()] == [over.end.cost]
        assert world.reserved() == 0

    def test_to_one_that_was_only_frozen_leaves_the_live_text_to_the_next(self, world: ChatWorld) -> None:
        """T-111: the end of the attempt that was given up does not stand over that of the one that is paid."""
        conversation = world.conversation()
        frozen = world.ask(conversation, key="k")
        read_texts(frozen)
        beat(world)
        pass_by(world, 70)
        over = repeated(world, conversation).over()
        frozen.over()
        world.clock.advance(minutes=7)
        world.feature.sweep()
        shown = world.realtime.get(f"users/alice/streams/{over.turn.id}")
        assert isinstance(shown, dict)
        assert (shown["attempt"], shown["cost"]) == (2, to_decimal(over.end.cost))
        assert "".join(str(one) for one in dict(shown["chunks"]).values()) == over.end.answer  # type: ignore[arg-type]

    def test_to_one_that_was_only_frozen_keeps_its_words_out_of_the_live_text(self, world: ChatWorld) -> None:
        """T-111: both attempts may be given by the same instance, which stood still and is asked again."""
        conversation = world.conversation()
        frozen = world.ask(conversation, key="k")
        read_texts(frozen)
        beat(world)
        pass_by(world, 70)
        again = world.ask(conversation, key="k")
        read_texts(again)
        frozen.over()
        over = again.over()
        shown = world.realtime.get(f"users/alice/streams/{over.turn.id}")
        assert isinstance(shown, dict)
        assert "".join(str(one) for one in dict(shown["chunks"]).values()) == over.end.answer  # type: ignore[arg-type]

    def test_to_one_that_settles_in_this_moment_gives_its_answer(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        frozen = world.ask(conversation, key="k")
        read_texts(frozen)
        beat(world)
        pass_by(world, 70)

        def settle(_: object) -> None:
            world.documents.before_commit.clear()
            frozen.over()

        world.documents.before_commit.append(settle)
        with suppress(CallInProgress):
            repeated(world, conversation)
        again = repeated(world, conversation)
        assert again.replayed
        assert [-entry.amount for entry in world.charges()] == [again.over().end.cost]
        assert world.reserved() == 0

    def test_whose_turn_the_sweep_ends_in_this_moment_is_answered_again(self, world: ChatWorld) -> None:
        """The repeat loses against the sweep, and not against an answer: nobody is to be waited for."""
        conversation = world.conversation()
        kill_at(world, conversation, "before it is settled")
        world.clock.advance(minutes=6)

        def sweep(writes: Sequence[Write]) -> None:
            if any(isinstance(one, Replace) and "/messages/" in one.path for one in writes):
                world.documents.before_commit.clear()
                world.system.metering.orphans.sweep(world.feature.turns)

        world.documents.before_commit.append(sweep)
        again = repeated(world, conversation)
        assert not again.replayed
        assert again.over().end.state == "done"
        assert world.reserved() == 0

    def test_before_the_first_text_is_answered_again(self, world: ChatWorld) -> None:
        """The connection broke and nothing was charged: the key gives an answer, not an empty one for ever."""
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        assert isinstance(next(answer.events), Start)
        answer.close()
        over = repeated(world, conversation).over()
        assert (over.turn.attempt, bool(over.end.answer)) == (2, True)
        assert len(world.charges()) == 1

    def test_of_an_answer_that_was_cancelled_is_not_answered_again(self, world: ChatWorld, vendor: Vendor) -> None:
        vendor.arrange("stall-after=0")
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        assert isinstance(next(answer.events), Start)
        world.chat.cancel("alice", world.only_turn().id)
        assert answer.over().end.answer == ""
        assert repeated(world, conversation).replayed


class TestWhatIsNotKnown:
    """Nobody is taken for dead because we cannot tell."""

    @pytest.mark.parametrize("told", [None, "nonsense", {"at": "nonsense"}, {"answers": {"m": 1}}, 7])
    def test_is_not_dead(self, told: Json) -> None:
        realtime = MemoryRealtime()
        realtime.update({"orchestration/instances/ins": told})
        clock = ManualClock()
        assert not Instances(realtime, clock).gave_up("ins", "m", 1, began_us=clock.now_us() - 10 * SILENT_US)

    def test_of_a_database_that_does_not_answer_is_not_dead(self) -> None:
        class Away(MemoryRealtime):
            def get(self, path: str) -> Json:
                raise Unavailable("the database does not answer")

        clock = ManualClock()
        assert not Instances(Away(), clock).gave_up("ins", "m", 1, began_us=clock.now_us() - 10 * SILENT_US)

    def test_of_an_answer_that_began_after_the_last_word_is_not_dead(self) -> None:
        """It was reserved for, and the next word that would name it has not come for a minute."""
        realtime, clock = MemoryRealtime(), ManualClock()
        began_us = clock.now_us()
        clock.advance(us=BEAT_US)
        Beats(realtime, clock, "ins").beat({"another": 1})
        clock.advance(us=SILENT_US)
        assert not Instances(realtime, clock).gave_up("ins", "m", 1, began_us=began_us)
        clock.advance(us=1)
        assert Instances(realtime, clock).gave_up("ins", "m", 1, began_us=began_us), "by now it is silent"

    def test_is_told_again_after_a_refusal(self) -> None:
        realtime, clock = MemoryRealtime(), ManualClock()
        beats = Beats(realtime, clock, "ins")

        def refuse(_: Mapping[str, Json]) -> None:
            raise Unavailable("the database is gone")

        realtime.before_write.append(refuse)
        beats.beat({"m": 1})
        realtime.before_write.clear()
        beats.beat({"m": 1})
        assert realtime.get("orchestration/instances/ins") == {"at": clock.now_us(), "answers": {"m": 1}}

    def test_is_not_told_more_often_than_needed(self) -> None:
        realtime, clock = MemoryRealtime(), ManualClock()
        beats = Beats(realtime, clock, "ins")
        for _ in range(100):
            beats.beat({"m": 1})
            clock.advance(us=BEAT_US // 10)
        assert realtime.writes == 10

    def test_is_forgotten_when_no_function_lives_so_long(self) -> None:
        realtime, clock = MemoryRealtime(), ManualClock()
        instances = Instances(realtime, clock)
        Beats(realtime, clock, "old").beat({})
        clock.advance(minutes=80)
        Beats(realtime, clock, "young").beat({})
        assert instances.forget() == 0
        clock.advance(minutes=20)
        assert instances.forget() == 1
        assert realtime.get("orchestration/instances/old") is None
        assert realtime.get("orchestration/instances/young") is not None
