"""Answers that end after their reservation was given back: free, recorded once, and never over another attempt."""

from collections.abc import Sequence

from app.chat.turn import Turn
from app.kit.errors import Conflict
from app.kit.stores.documents import Replace, Write
from support.chat_world import ChatWorld, read_texts


def test_one_that_meets_another_writer_is_recorded_all_the_same(world: ChatWorld) -> None:
    """T-40: the conversation moved while the late answer was written; the user sees the answer that was streamed."""
    conversation = world.conversation()
    late = world.ask(conversation, key="k")
    read_texts(late)
    world.clock.advance(minutes=6)
    world.credits.expire_due()
    lost: list[bool] = []

    def lose_once(writes: Sequence[Write]) -> None:
        if not lost and any(isinstance(write, Replace) and "/messages/" in write.path for write in writes):
            lost.append(True)
            raise Conflict("another was faster")

    world.documents.before_commit.append(lose_once)
    over = late.over()
    assert lost
    assert (over.end.cost, over.end.reason) == (0, "reservation_lost")
    assert world.only_turn().end == over.end
    assert len(world.chat.read("alice", conversation.id).window) == 1


def test_one_does_not_write_over_the_attempt_that_took_its_place(world: ChatWorld) -> None:
    """T-11: the key was tried again between the late answer's look and its write."""
    conversation = world.conversation()
    late = world.ask(conversation, key="k")
    read_texts(late)
    world.clock.advance(minutes=6)
    again: list[Turn] = []

    def try_again(writes: Sequence[Write]) -> None:
        if not again and any(isinstance(write, Replace) and "/messages/" in write.path for write in writes):
            world.documents.before_commit.clear()
            again.append(world.ask(conversation, key="k").over().turn)

    world.credits.expire_due()
    world.documents.before_commit.append(try_again)
    late.over()
    turn = world.only_turn()
    assert turn.attempt == again[0].attempt == 2
    assert turn.end is not None
    assert turn.end.reason == "completed"
    assert -world.charges()[0].amount == turn.end.cost > 0
    assert world.reserved() == 0
