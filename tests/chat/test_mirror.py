"""The live mirror: few writes, whole text, no chunk written twice with other words, and never the end of an answer."""

import threading
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.live.flusher import Flusher, cancel_path
from app.chat.live.running import Running
from app.chat.live.stream_mirror import (
    EVERY_US,
    TRIES,
    Closing,
    Coalescer,
    SteppedStreamMirror,
    remove_old_streams,
    send,
)
from app.kit.concurrency import Signal, Threads
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json
from app.models.gateway import VendorCall
from support.chat_world import ChatWorld
from support.clock import ManualClock
from support.memory import MemoryRealtime

END = Closing("done", "stop", "0.0016")


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

    def test_is_given_up_and_counted(self) -> None:
        coalescer, realtime = Coalescer(ManualClock()), MemoryRealtime()
        realtime.before_write.append(_refuse)
        coalescer.open("alice", "m", "small")
        for _ in range(TRIES):
            assert send(coalescer, realtime)
        assert coalescer.dropped == 1
        assert not coalescer.live("m")
        coalescer.append("m", "late")
        coalescer.close("m", END)
        assert not send(coalescer, realtime)

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
        running.remove("m")
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
        running.remove("m")
        flusher.stop()
        assert realtime.get(cancel_path("ins")) is None


class TestTheSweep:
    def test_removes_streams_some_time_after_their_end(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        old = world.answered(conversation).turn.id
        world.clock.advance(minutes=10)
        young = world.answered(conversation).turn.id
        world.clock.advance(minutes=6)
        assert remove_old_streams(world.realtime, world.clock) == 1
        assert world.realtime.get(f"users/alice/streams/{old}") is None
        assert world.realtime.get(f"users/alice/streams/{young}") is not None
        assert remove_old_streams(world.realtime, world.clock) == 0
        world.clock.advance(minutes=10)
        assert remove_old_streams(world.realtime, world.clock) == 1
        assert world.realtime.get("users") is None
        assert world.realtime.get("orchestration/stream_ends") is None

    def test_removes_a_stream_whose_writer_died_before_its_end(self) -> None:
        realtime, clock = MemoryRealtime(), ManualClock()
        coalescer = Coalescer(clock)
        coalescer.open("alice", "m", "small")
        assert send(coalescer, realtime)
        clock.advance(minutes=70)
        assert remove_old_streams(realtime, clock) == 0
        clock.advance(minutes=6)
        assert remove_old_streams(realtime, clock) == 1
        assert realtime.get("users") is None

    def test_does_a_bounded_part_at_a_time(self, world: ChatWorld) -> None:
        world.answered(world.conversation())
        world.clock.advance(minutes=16)
        remove_old_streams(world.realtime, world.clock)
        world.clock.advance(minutes=100)
        writes = world.realtime.writes
        remove_old_streams(world.realtime, world.clock, most_minutes=7)
        assert world.realtime.writes - writes == 7
