"""The live mirror: few writes, whole text, no chunk written twice with other words, and never the end of an answer."""

import threading
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.attempt import Over, Text
from app.chat.live.flusher import Flusher, cancel_path
from app.chat.live.running import Running
from app.chat.live.stream_mirror import (
    EVERY_US,
    PARKED_US,
    TRIES,
    Closing,
    Coalescer,
    SteppedStreamMirror,
    send,
)
from app.kit.concurrency import Signal, Threads
from app.kit.errors import Unavailable
from app.kit.money import to_decimal
from app.kit.stores.documents import Merge
from app.kit.stores.realtime import Json
from app.models.gateway import VendorCall
from support.chat_world import ChatWorld
from support.clock import ManualClock
from support.memory import MemoryRealtime

END = Closing("done", "stop", "0.0016")
DUE = "orchestration/streams_due"


def streamed(realtime: MemoryRealtime, message_id: str, uid: str = "alice") -> dict[str, Json]:
    found = realtime.get(f"users/{uid}/streams/{message_id}")
    assert isinstance(found, dict)
    return found


def text_of(stream: Mapping[str, Json]) -> str:
    chunks = stream.get("chunks") or {}
    assert isinstance(chunks, dict)
    return "".join(str(chunks[key]) for key in sorted(chunks))


class Strict(MemoryRealtime):
    """Refuses to write a chunk or a final word twice with other values, as a listener would notice."""

    def update(self, values: Mapping[str, Json]) -> None:
        for path, value in values.items():
            there = self.get(path)
            final = "/chunks/" in path or path.endswith(("/finish_reason", "/cost"))
            assert not final or there in (None, value), f"{path} is rewritten"
        super().update(values)


class Overtaken(Threads):
    """Threads that do something right before a signal is cleared."""

    def __init__(self) -> None:
        self.before_clear: Callable[[], None] = lambda: None

    def signal(self) -> Signal:
        threads = self

        class Overtaking(threading.Event):
            def clear(self) -> None:
                threads.before_clear()
                super().clear()

        return Overtaking()


class TestCoalescing:
    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.text(min_size=1, max_size=5), st.integers(0, 60_000)), max_size=60)
    )
    def test_loses_no_text_and_writes_at_most_ten_times_a_second(self, steps: list[tuple[str, str, int]]) -> None:
        clock, realtime = ManualClock(), Strict()
        mirror = SteppedStreamMirror(realtime, clock)
        said = {"a": "", "b": ""}
        for id in said:
            mirror.open("alice", id, "small")
        began, writes = clock.now_us(), realtime.writes
        for id, text, pause in steps:
            mirror.append(id, text)
            said[id] += text
            clock.advance(us=pause)
        assert realtime.writes - writes <= (clock.now_us() - began) // EVERY_US + 1
        for id, whole in said.items():
            mirror.close(id, END)
            mirror.drained(id)
            stream = streamed(realtime, id)
            assert text_of(stream) == whole
            assert (stream["status"], stream["finish_reason"], stream["cost"]) == ("done", "stop", "0.0016")
        assert not mirror.coalescer.busy

    def test_puts_all_streams_into_one_update(self) -> None:
        coalescer, realtime = Coalescer(ManualClock()), MemoryRealtime()
        for number in range(80):
            coalescer.open(f"user{number}", f"msg{number}", "small")
            coalescer.append(f"msg{number}", "Hello")
        assert send(coalescer, realtime)
        assert not send(coalescer, realtime)
        assert realtime.writes == 1

    def test_keys_grow_with_leading_zeros(self) -> None:
        coalescer, realtime = Coalescer(ManualClock()), MemoryRealtime()
        coalescer.open("alice", "m", "small")
        for number in range(12):
            coalescer.append("m", str(number))
            send(coalescer, realtime)
        chunks = streamed(realtime, "m")["chunks"]
        assert isinstance(chunks, dict)
        assert [*chunks] == [f"{number:04d}" for number in range(12)]


class TestASecondAttempt:
    def test_takes_the_place_of_the_first(self) -> None:
        """T-11: chunks that the first attempt wrote beyond the second one's last are no part of the answer."""
        realtime = MemoryRealtime()
        for text in ("three pieces before", "one"):
            attempt = Coalescer(ManualClock())
            attempt.open("alice", "m", "small")
            for word in text.split():
                attempt.append("m", word)
                send(attempt, realtime)
        assert text_of(streamed(realtime, "m")) == "one"

    def test_is_not_waited_for_by_the_first(self) -> None:
        realtime = MemoryRealtime()
        mirror = SteppedStreamMirror(realtime, ManualClock())
        mirror.open("alice", "msg_1", "small")
        mirror.close("msg_1", Closing("error", "error", "0"))
        mirror.open("alice", "msg_1", "small")
        mirror.drained("msg_1")
        assert mirror.coalescer.live("msg_1")
        assert streamed(realtime, "msg_1")["status"] == "running"

    def test_word_of_a_killed_one_leaves_its_text(self) -> None:
        realtime = MemoryRealtime()
        killed, sweeper = Coalescer(ManualClock()), Coalescer(ManualClock())
        killed.open("alice", "m", "small")
        killed.append("m", "as far as it came")
        send(killed, realtime)
        sweeper.open("alice", "m", "small", keep=True)
        sweeper.close("m", Closing("error", "error", "0"))
        send(sweeper, realtime)
        stream = streamed(realtime, "m")
        assert (text_of(stream), stream["status"]) == ("as far as it came", "error")

    def test_ends_with_its_own_text_though_the_first_wrote_into_it(self) -> None:
        """T-111: an instance that was frozen goes on where it stopped, and knows of no later attempt."""
        clock, realtime = ManualClock(), MemoryRealtime()
        first, second = (SteppedStreamMirror(realtime, clock) for _ in range(2))
        for attempt, mirror in enumerate((first, second, first), 1):
            if attempt < 3:
                mirror.open("alice", "m", "small", attempt=attempt)
            mirror.append("m", f"piece {attempt} ", attempt=min(attempt, 2) if mirror is second else 1)
            clock.advance(seconds=1)
            mirror.step()
        second.close("m", END, attempt=2)
        second.drained("m")
        assert text_of(streamed(realtime, "m")) == "piece 2 "


class TestABrokenDatabase:
    def test_is_sent_the_same_again(self) -> None:
        """An update whose reply was lost may have arrived: chunks are repeated word for word."""
        coalescer, realtime = Coalescer(ManualClock()), Strict()
        coalescer.open("alice", "m", "small")
        coalescer.append("m", "one ")
        batch = coalescer.take()
        assert batch is not None
        realtime.update(batch.values)
        coalescer.failed(batch)
        coalescer.append("m", "two")
        assert send(coalescer, realtime)
        assert send(coalescer, realtime)
        assert streamed(realtime, "m")["chunks"] == {"0000": "one ", "0001": "two"}

    def test_leaves_a_stream_alone_that_began_in_the_meantime(self) -> None:
        """A key that is repeated at once opens its message again while the end of the first attempt is on its way."""
        for settle in (Coalescer.sent, Coalescer.failed):
            coalescer = Coalescer(ManualClock())
            coalescer.open("alice", "m", "small")
            coalescer.close("m", END)
            batch = coalescer.take()
            assert batch is not None
            coalescer.open("alice", "m", "small")
            coalescer.append("m", "again")
            for _ in range(TRIES):
                settle(coalescer, batch)
            assert coalescer.live("m")
            realtime = MemoryRealtime()
            assert send(coalescer, realtime)
            assert text_of(streamed(realtime, "m")) == "again"

    def test_never_costs_an_answer(self, world: ChatWorld) -> None:
        """T-8: what comes after the settlement cannot undo it."""
        world.realtime.before_write.append(_refuse)
        over = world.answered(world.conversation())
        assert over.end.state == "done"
        assert world.account().balance == 1_000_000_000 - over.end.cost


def _refuse(_: Mapping[str, Json]) -> None:
    raise Unavailable("the database is gone")


class TestTheFlusher:
    @pytest.fixture
    def running(self) -> Running:
        return Running()

    def test_starts_a_thread_with_the_first_stream_only(self, running: Running) -> None:
        before = threading.active_count()
        flusher = Flusher(MemoryRealtime(), ManualClock(), running, "ins", Threads())
        assert threading.active_count() == before
        flusher.open("alice", "a", "small")
        flusher.open("alice", "b", "small")
        assert threading.active_count() == before + 1
        flusher.stop()

    def test_has_written_the_end_when_it_is_drained(self, running: Running) -> None:
        realtime = MemoryRealtime()
        flusher = Flusher(realtime, ManualClock(), running, "ins", Threads())
        for number in range(3):
            flusher.open("alice", f"m{number}", "small")
            flusher.append(f"m{number}", "Hello ")
            flusher.append(f"m{number}", "world")
            flusher.close(f"m{number}", END)
            flusher.drained(f"m{number}")
            stream = streamed(realtime, f"m{number}")
            assert (text_of(stream), stream["status"]) == ("Hello world", "done")
        flusher.stop()

    def test_writes_a_stream_that_begins_while_it_goes_to_rest(self, running: Running) -> None:
        realtime, threads, written = MemoryRealtime(), Overtaken(), threading.Event()
        realtime.before_write.append(lambda values: written.set() if "users/alice/streams/b" in values else None)
        flusher = Flusher(realtime, ManualClock(), running, "ins", threads)

        def begin_another() -> None:
            if not flusher.coalescer.busy:
                threads.before_clear = lambda: None
                flusher.open("alice", "b", "small")

        threads.before_clear = begin_another
        flusher.open("alice", "a", "small")
        flusher.close("a", END)
        assert written.wait(10)
        flusher.stop()

    def test_outlives_what_nobody_thought_of(self, running: Running) -> None:
        """A client library's own error, which the adapter does not know, costs that update and not the thread."""
        realtime = MemoryRealtime()

        def break_for_bob(values: Mapping[str, Json]) -> None:
            if any(path.startswith("users/bob/") for path in values):
                raise ValueError("no such thing was ever seen")

        realtime.before_write.append(break_for_bob)
        flusher = Flusher(realtime, ManualClock(), running, "ins", Threads())
        flusher.open("bob", "b", "small")
        flusher.close("b", END)
        while flusher.coalescer.live("b"):
            flusher.drained("b")
        flusher.open("alice", "a", "small")
        flusher.append("a", "Hello")
        flusher.close("a", END)
        flusher.drained("a")
        assert text_of(streamed(realtime, "a")) == "Hello"
        flusher.stop()

    def test_hears_a_cancel_from_another_instance(self, running: Running) -> None:
        realtime, call, heard = MemoryRealtime(), VendorCall(), threading.Event()
        word = cancel_path("ins", "m")
        realtime.before_write.append(lambda values: heard.set() if values.get(word, 0) is None else None)
        flusher = Flusher(realtime, ManualClock(), running, "ins", Threads())
        running.add("alice", "m", call)
        flusher.open("alice", "m", "small")
        realtime.update({word: True})
        assert heard.wait(10)
        assert call.stopped
        running.remove("m", call)
        flusher.close("m", END)
        flusher.stop()

    def test_hears_a_cancel_of_an_answer_that_it_cannot_show(self, running: Running) -> None:
        realtime, call, heard = MemoryRealtime(), VendorCall(), threading.Event()
        word = cancel_path("ins", "m")

        def refuse_live_text(values: Mapping[str, Json]) -> None:
            if "users/alice/streams/m" in values:
                raise Unavailable("the database takes no text")
            if values.get(word, 0) is None:
                heard.set()

        realtime.before_write.append(refuse_live_text)
        flusher = Flusher(realtime, ManualClock(), running, "ins", Threads())
        running.add("alice", "m", call)
        flusher.open("alice", "m", "small")
        while flusher.coalescer.live("m"):
            flusher.drained("m")
        realtime.update({word: True})
        assert heard.wait(10)
        assert call.stopped
        running.remove("m", call)
        flusher.stop()
        assert realtime.get(cancel_path("ins")) is None


class TestTheSweep:
    def test_removes_streams_some_time_after_their_end(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        old = world.answered(conversation).turn.id
        world.clock.advance(minutes=10)
        young = world.answered(conversation).turn.id
        world.clock.advance(minutes=6)
        assert world.feature.streams.sweep() == 1
        assert world.realtime.get(f"users/alice/streams/{old}") is None
        assert world.realtime.get(f"users/alice/streams/{young}") is not None
        assert world.feature.streams.sweep() == 0
        world.clock.advance(minutes=10)
        assert world.feature.streams.sweep() == 1
        assert world.realtime.get("users") is None
        assert world.realtime.get(DUE) is None

    def test_leaves_what_a_later_attempt_is_writing(self, world: ChatWorld) -> None:
        """T-111: an attempt is listed under its own name."""
        clock, realtime = world.clock, world.realtime
        for attempt in (1, 2):
            mirror = SteppedStreamMirror(realtime, clock)
            mirror.open("alice", "m", "small", attempt=attempt)
            mirror.append("m", f"attempt {attempt}", attempt=attempt)
            clock.advance(seconds=1)
            mirror.step()
            if attempt == 1:
                mirror.close("m", END)
                mirror.drained("m")
                clock.advance(minutes=15)
        clock.advance(minutes=1)
        assert world.feature.streams.sweep() == 1
        assert text_of(streamed(realtime, "m")) == "attempt 2"
        mirror.close("m", END, attempt=2)
        mirror.drained("m")
        clock.advance(minutes=16)
        world.feature.streams.sweep()
        assert realtime.get("users") is None
        assert realtime.get(DUE) is None

    def test_does_a_bounded_part_at_a_time(self, world: ChatWorld) -> None:
        mirror = SteppedStreamMirror(world.realtime, world.clock)
        for number in range(9):
            mirror.open("alice", f"m{number}", "small")
            mirror.close(f"m{number}", END)
            mirror.drained(f"m{number}")
            world.clock.advance(seconds=30)
        world.clock.advance(minutes=30)
        assert [world.feature.streams.sweep(limit=4) for _ in range(4)] == [4, 4, 1, 0]
        assert world.realtime.get("users") is None
        assert world.realtime.get(DUE) is None

    def test_passes_by_what_it_cannot_read(self, world: ChatWorld) -> None:
        """T-105."""
        turn = world.answered(world.conversation()).turn
        other = world.answered(world.conversation()).turn
        path = f"users/alice/conversations/{other.conversation_id}/messages/{other.id}"
        world.documents.commit([Merge(path, {"lease_until": 7})])
        world.realtime.update(
            {
                f"{DUE}/m0000000001/nonsense": {"uid": "alice", "ended": True},
                f"{DUE}/m0000000001/{other.id}:1": {"uid": "alice", "ended": False},
                f"{DUE}/m0000000001/m:1": "nonsense",
                f"{DUE}/m0000000002": "nonsense",
            }
        )
        world.clock.advance(minutes=16)
        assert world.feature.streams.sweep() >= 4
        assert world.realtime.get(f"users/alice/streams/{turn.id}") is None


class TestAStreamThatMissedWrites:
    def test_is_whole_again_when_the_database_is(self, world: ChatWorld) -> None:
        clock, realtime = world.clock, Strict()
        mirror = SteppedStreamMirror(realtime, clock)
        mirror.open("alice", "m", "small")
        mirror.append("m", "Hello ")
        clock.advance(seconds=1)
        mirror.step()
        realtime.before_write.append(_refuse)
        mirror.append("m", "my ")
        mirror.close("m", END)
        mirror.drained("m")
        assert not mirror.coalescer.live("m"), "nobody waits for it"
        realtime.before_write.clear()
        clock.advance(us=PARKED_US)
        mirror.step()
        stream = streamed(realtime, "m")
        assert (text_of(stream), stream["status"], stream["cost"]) == ("Hello my ", "done", "0.0016")
        assert not mirror.coalescer.busy

    def test_goes_on_in_the_middle_of_an_answer(self) -> None:
        clock, realtime = ManualClock(), Strict()
        coalescer = Coalescer(clock)
        coalescer.open("alice", "m", "small")
        for number in range(40):
            realtime.before_write[:] = [_refuse] if 5 <= number < 25 else []
            coalescer.append("m", f"{number} ")
            clock.advance(us=EVERY_US)
            send(coalescer, realtime)
        clock.advance(us=PARKED_US)
        send(coalescer, realtime)
        send(coalescer, realtime)
        assert text_of(streamed(realtime, "m")) == "".join(f"{number} " for number in range(40))

    def test_that_can_never_be_written_stops_no_other(self) -> None:
        clock, realtime = ManualClock(), MemoryRealtime()
        realtime.before_write.append(lambda values: _refuse(values) if "users/bob/streams/b" in values else None)
        coalescer = Coalescer(clock)
        for uid, id in (("bob", "b"), ("alice", "a")):
            coalescer.open(uid, id, "small")
        for _ in range(60):
            coalescer.append("a", "more ")
            clock.advance(us=EVERY_US)
            send(coalescer, realtime)
        assert len(text_of(streamed(realtime, "a"))) > 5 * 30

    def test_is_given_up_some_time_after_its_end_and_counted(self) -> None:
        clock, realtime = ManualClock(), MemoryRealtime()
        coalescer = Coalescer(clock)
        realtime.before_write.append(_refuse)
        coalescer.open("alice", "m", "small")
        coalescer.close("m", END)
        for _ in range(300):
            clock.advance(seconds=1)
            send(coalescer, realtime)
        assert (coalescer.dropped, coalescer.busy) == (1, False)

    def test_and_whose_instance_is_dead_is_ended_by_the_sweep_as_its_turn_was(self, world: ChatWorld) -> None:
        """T-125: text, state and price are those of Firestore, and what a client has shown stays."""
        shown, over = self._died_before_its_end(world)
        world.clock.advance(minutes=7)
        world.feature.streams.sweep()
        stream = streamed(world.realtime, over.turn.id)
        assert (stream["status"], stream["finish_reason"]) == ("done", over.end.finish_reason)
        assert stream["cost"] == to_decimal(over.end.cost)
        assert text_of(stream) == over.end.answer
        chunks = stream["chunks"]
        assert isinstance(chunks, dict)
        assert shown.items() <= chunks.items()
        world.clock.advance(minutes=16)
        world.feature.streams.sweep()
        assert world.realtime.get("users") is None
        assert world.realtime.get(DUE) is None

    def test_is_left_alone_while_its_turn_runs_and_looked_at_again(self, world: ChatWorld) -> None:
        answer = world.ask(world.conversation())
        while not isinstance(next(answer.events), Text):
            pass
        world.clock.advance(minutes=7)
        world.feature.streams.sweep()
        message = world.only_turn().id
        assert streamed(world.realtime, message)["status"] == "running"
        world.realtime.before_write.append(_refuse)
        answer.over()
        world.realtime.before_write.clear()
        world.clock.advance(minutes=7)
        world.feature.streams.sweep()
        assert streamed(world.realtime, message)["status"] == "done"

    def test_of_an_unheard_settlement_shows_what_it_cost(self, world: ChatWorld) -> None:
        """The writer does not know the cost; the sweep does."""
        over = world.answered(world.conversation())
        mirror = SteppedStreamMirror(world.realtime, world.clock)
        mirror.open("alice", over.turn.id, "small")
        mirror.close(over.turn.id, Closing("error", "error", None))
        mirror.drained(over.turn.id)
        world.clock.advance(minutes=7)
        world.feature.streams.sweep()
        stream = streamed(world.realtime, over.turn.id)
        assert (stream["status"], stream["cost"]) == ("done", to_decimal(over.end.cost))

    @staticmethod
    def _died_before_its_end(world: ChatWorld) -> tuple[dict[str, Json], Over]:
        """The chunks that were shown, and the end of the turn."""
        answer = world.ask(world.conversation())
        while not isinstance(next(answer.events), Text):
            pass
        world.clock.advance(seconds=1)
        world.mirror.step()
        world.realtime.before_write.append(_refuse)
        over = answer.over()
        world.realtime.before_write.clear()
        chunks = streamed(world.realtime, over.turn.id)["chunks"]
        assert isinstance(chunks, dict)
        return chunks, over
