"""Answers that end after their reservation was given back: free, recorded once, and never over another attempt."""

from collections.abc import Mapping, Sequence

import pytest

from app.chat.live.running import Running
from app.chat.live.stream_mirror import PARKED_US, TRIES, Closing, Coalescer, send
from app.chat.store import ChatStore, turn_path
from app.chat.turn import Turn
from app.kit.errors import Conflict, Unavailable
from app.kit.stores.documents import Create, Replace, Write
from app.kit.stores.realtime import Json
from app.models.transport import VendorCall
from support.chat_world import ChatWorld, read_texts
from support.clock import ManualClock
from support.memory import MemoryRealtime


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


@pytest.mark.parametrize("ending", ["closed", "left"])
@pytest.mark.parametrize("failures", [1, TRIES])
def test_live_text_that_is_sent_again_is_not_written_over_a_later_attempt(ending: str, failures: int) -> None:
    """T-111: an update failed; by the time that it is sent again, another instance answers anew."""
    clock, realtime = ManualClock(), MemoryRealtime()
    first, second = Coalescer(clock), Coalescer(clock)
    first.open("alice", "m", "small", attempt=1)
    first.append("m", "the first ")
    if ending == "closed":
        first.close("m", Closing("error", "error", "0"))
    realtime.before_write.append(_refuse)
    for _ in range(failures):
        assert send(first, realtime)
    realtime.before_write.clear()
    if ending == "left":
        first.leave("m", attempt=1)
    second.open("alice", "m", "small", attempt=2)
    second.append("m", "the second ", attempt=2)
    assert send(second, realtime)
    shown = realtime.get("users/alice/streams/m")
    clock.advance(us=PARKED_US)
    send(first, realtime)
    assert realtime.get("users/alice/streams/m") == shown
    assert not first.busy
    assert not send(first, realtime)


def test_an_attempt_that_goes_on_writes_nothing_into_the_live_text_of_a_later_one_beside_it() -> None:
    """T-111: an instance stood still, its turn was given up, and the same instance gives the next answer as well."""
    coalescer, realtime = Coalescer(ManualClock()), MemoryRealtime()
    coalescer.open("alice", "m", "small", attempt=1)
    coalescer.append("m", "the first ", attempt=1)
    coalescer.open("alice", "m", "small", attempt=2)
    coalescer.append("m", "goes on ", attempt=1)
    coalescer.append("m", "the second ", attempt=2)
    assert not coalescer.close("m", Closing("error", "error", None), attempt=1)
    assert send(coalescer, realtime)
    shown = realtime.get("users/alice/streams/m")
    assert isinstance(shown, dict)
    assert (shown["chunks"], shown["status"], shown["attempt"]) == ({"0000": "the second "}, "running", 2)


def test_copies_of_a_turn_that_somebody_left_do_not_hide_it(world: ChatWorld) -> None:
    """The sweep would take its live text for that of a deleted conversation, and remove it."""
    turn = world.answered(world.conversation()).turn
    path = turn_path(turn.account, turn.conversation_id, turn.id)
    stored = world.documents.get(path)
    assert stored is not None
    copies = [f"{path.rpartition('/')[0]}/a-copy-{number}" for number in range(6)]
    world.documents.commit([Create(copy, stored.fields) for copy in copies])
    assert ChatStore(world.documents).find_turn("alice", turn.id).id == turn.id


@pytest.mark.parametrize("ended", [False, True])
def test_what_an_instance_sends_that_stood_still_is_not_written_over_a_later_attempt(ended: bool) -> None:
    """T-111: it was about to open the live text; when it goes on, another instance has given the whole answer."""
    clock, realtime = ManualClock(), MemoryRealtime()
    first, second = Coalescer(clock), Coalescer(clock)
    first.open("alice", "m", "small", attempt=1)
    if ended:
        first.close("m", Closing("done", "cancelled", "0"))
    clock.advance(seconds=6)
    second.open("alice", "m", "small", attempt=2)
    second.append("m", "the second ", attempt=2)
    second.close("m", Closing("done", "stop", "1"), attempt=2)
    assert send(second, realtime)
    shown = realtime.get("users/alice/streams/m")
    assert send(first, realtime)
    first.close("m", Closing("done", "cancelled", "0"))
    send(first, realtime)
    assert realtime.get("users/alice/streams/m") == shown


def test_an_attempt_that_ends_leaves_a_later_one_beside_it_to_be_stopped() -> None:
    """T-111: as before; a cancel must reach the answer that is being given."""
    running, first, second = Running(), VendorCall(), VendorCall()
    running.add("alice", "m", first)
    running.add("alice", "m", second)
    running.remove("m", first)
    assert running.stop("m", uid="alice")
    running.remove("m", second)
    assert not running.stop("m", uid="alice")


def _refuse(values: Mapping[str, Json]) -> None:
    raise Unavailable(f"the database is gone: {len(values)}")
