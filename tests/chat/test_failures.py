"""A message whose store, live text, vendor, client or process fails in its middle: what is told, charged and repaired.

The rows of "When something fails in the middle of a message" in docs/operate.md that no other test proves.
"""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest

from app.chat.answering import Answer
from app.chat.attempt import Over, Start
from app.credits.ledger.store import ATTEMPTS
from app.kit.errors import Conflict, Unavailable
from app.kit.stores.documents import Document, Query, Version, Write
from app.kit.stores.realtime import Json
from app.metering.reserving import CallInProgress
from app.models.faults import ModelFault, ModelTimeout
from support.chat_world import ChatWorld, read_texts
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments
from support.raw_vendor import END, sending, text
from support.vendor import Vendor

WHOLE_BONUS = 1_000_000_000


class Killed(BaseException):
    """The process is gone: nothing that stands behind runs."""


class Store(MemoryDocuments):
    """A store that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def get(self, path: str) -> Document | None:
        self._answer()
        return super().get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        self._answer()
        return super().get_all(paths)

    def query(self, query: Query) -> list[Document]:
        self._answer()
        return super().query(query)

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        self._answer()
        return super().commit(writes)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the store does not answer")


@contextmanager
def failing(world: ChatWorld, failure: BaseException, *, after: bool, times: int = 1) -> Iterator[None]:
    """The next `times` commits fail: before they are written, or when they are written and nobody hears of it."""
    left = [times]

    def fail(_: object) -> None:
        if left[0]:
            left[0] -= 1
            raise failure

    hooks: list[object] = world.documents.after_commit if after else world.documents.before_commit  # type: ignore[assignment]  # what both are told is not looked at
    hooks.append(fail)
    try:
        yield
    finally:
        hooks.remove(fail)


def lost() -> Unavailable:
    """What a caller hears whose call, or whose answer, was lost."""
    return Unavailable("the store did not answer")


def sweep(world: ChatWorld) -> None:
    """Once the lease is over: both of the sweep's chores that a message may need."""
    world.clock.advance(minutes=6)
    world.credits.expire_due()
    world.feature.sweep()


def nothing_happened(world: ChatWorld) -> None:
    """Nothing is charged, held or left of a message."""
    assert world.charges() == []
    assert world.reserved() == 0
    assert world.account().balance == WHOLE_BONUS


@pytest.fixture
def world(vendor: Vendor) -> ChatWorld:
    found = ChatWorld(vendor, money=CreditsWorld(documents=Store()))
    found.credits.account("alice")
    return found


class TestReserving:
    def test_from_a_store_that_is_away_reserves_nothing(self, world: ChatWorld, vendor: Vendor) -> None:
        conversation = world.conversation()
        store = world.documents
        assert isinstance(store, Store)
        store.away = True
        with pytest.raises(Unavailable):
            world.ask(conversation, key="k")
        store.away = False
        nothing_happened(world)
        assert world.turns(conversation) == []
        assert vendor.requests() == []
        assert world.ask(conversation, key="k").over().end.state == "done"

    @pytest.mark.parametrize(
        "failure", [lost(), Conflict("another was faster"), Killed()], ids=["refused", "always too late", "killed"]
    )
    def test_that_is_not_written_reserves_nothing(self, world: ChatWorld, failure: BaseException) -> None:
        conversation = world.conversation()
        with failing(world, failure, after=False, times=ATTEMPTS), pytest.raises((Unavailable, Killed)):
            world.ask(conversation, key="k")
        nothing_happened(world)
        assert world.turns(conversation) == []
        assert world.ask(conversation, key="k").over().end.state == "done"

    @pytest.mark.parametrize("failure", [lost(), Killed()], ids=["unheard", "killed"])
    def test_that_is_written_and_not_heard_of_is_given_back_when_its_lease_is_over(
        self, world: ChatWorld, vendor: Vendor, failure: BaseException
    ) -> None:
        """T-115: until then nobody knows whether somebody answers, so the key waits. Another key does not."""
        conversation = world.conversation()
        with failing(world, failure, after=True), pytest.raises(type(failure)):
            world.ask(conversation, key="k")
        assert vendor.requests() == []
        assert world.reserved() > 0
        with pytest.raises(CallInProgress):
            world.ask(conversation, key="k")
        other = world.ask(conversation, key="another").over()
        sweep(world)
        assert world.reserved() == 0
        assert [-entry.amount for entry in world.charges()] == [other.end.cost]
        again = world.ask(conversation, key="k").over()
        assert (again.turn.attempt, again.end.state) == (2, "done")


class TestAVendor:
    def test_that_nobody_can_reach_costs_nothing(self) -> None:
        world = ChatWorld(Vendor("http://127.0.0.1:9/v1"))
        with pytest.raises(ModelFault):
            world.answered(world.conversation())
        nothing_happened(world)
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.state, turn.end.reason) == ("error", "vendor_failed")

    def test_that_is_silent_before_its_first_text_costs_nothing(self, vendor: Vendor) -> None:
        """T-3."""
        world = ChatWorld(vendor, silence_s=1)
        vendor.arrange("stall-after=0", times=None)
        with pytest.raises(ModelTimeout):
            world.answered(world.conversation())
        nothing_happened(world)

    def test_that_falls_silent_after_it_is_the_houses_loss(self, vendor: Vendor) -> None:
        """T-2: as any other failure of the vendor; the text stays with the user."""
        world = ChatWorld(vendor, silence_s=1)
        vendor.arrange("stall-after=3")
        over = world.answered(world.conversation())
        assert (over.end.state, over.end.reason, over.end.cost) == ("error", "vendor_failed_partial", 0)
        assert over.end.answer
        nothing_happened(world)


ANSWER = text("Hi ") + text("there") + END + b"data: [DONE]\n\n"
"""A whole answer with its count."""


@contextmanager
def cutting_off(sent: bytes) -> Iterator[str]:
    """A vendor that sends this and hangs up. Its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(sent)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        thread.join(10)


class TestAWholeAnswer:
    """T-106: the text came, its count came, and its end was said; how the vendor sends it changes no price."""

    @pytest.mark.parametrize(
        "sent",
        [ANSWER.replace(b"\n", b"\r\n"), ANSWER.replace(b"[DONE]", b"[DONE] "), b"\xef\xbb\xbf" + ANSWER],
        ids=["lines that end in CRLF", "a blank behind the end", "a byte order mark"],
    )
    def test_in_another_dressing_costs_the_same(self, sent: bytes) -> None:
        with sending(sent) as url:
            self._is_paid(ChatWorld(Vendor(url)))

    def test_behind_which_the_connection_breaks_costs_the_same(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        with cutting_off(head + b"%x\r\n%b\r\n" % (len(ANSWER), ANSWER)) as url:
            self._is_paid(ChatWorld(Vendor(url)))

    @staticmethod
    def _is_paid(world: ChatWorld) -> None:
        over = world.answered(world.conversation())
        assert (over.end.answer, over.end.state) == ("Hi there", "done")
        assert [-entry.amount for entry in world.charges()] == [over.end.cost]


class TestACancel:
    def test_that_cannot_be_left_for_another_instance_is_refused_and_the_answer_goes_on(
        self, world: ChatWorld, vendor: Vendor
    ) -> None:
        """It travels through the Realtime Database: lost, it costs nothing but the wish."""
        vendor.arrange("stall-after=3,stall-ms=100")
        answer = world.ask(world.conversation())
        read_texts(answer)
        world.realtime.before_write.append(_refuse)
        with pytest.raises(Unavailable):
            world.instance().chat.service.cancel("alice", world.only_turn().id)
        over = answer.over()
        assert (over.end.state, over.end.reason) == ("done", "completed")
        assert [-entry.amount for entry in world.charges()] == [over.end.cost]


class TestTheLiveText:
    @pytest.mark.parametrize("killed", [True, False], ids=["killed before its end", "its end was refused"])
    def test_goes_in_the_end_though_its_own_end_was_lost(self, world: ChatWorld, killed: bool) -> None:
        """T-110: the turn is done and no sweep looks at it again; its text goes when no function can write it."""
        conversation = world.conversation()
        answer = world.ask(conversation)
        read_texts(answer)
        world.clock.advance(seconds=1)
        world.mirror.step()
        if killed:
            with failing(world, Killed(), after=True), pytest.raises(Killed):
                answer.over()
        else:
            world.realtime.before_write.append(_refuse)
            answer.over()
            world.realtime.before_write.clear()
        assert world.only_turn().state == "done"
        world.chat.delete("alice", conversation.id)
        world.drain()
        for _ in range(10):
            world.clock.advance(minutes=10)
            sweep(world)
        assert world.realtime.get("users/alice/streams") is None


def _refuse(_: Mapping[str, Json]) -> None:
    raise Unavailable("the database is gone")


class TestSettling:
    def test_whose_process_is_killed_before_its_commit_charges_nothing(self, world: ChatWorld) -> None:
        """T-9: the reservation goes back when the lease is over, and the key may be used again."""
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        read_texts(answer)
        with failing(world, Killed(), after=False), pytest.raises(Killed):
            answer.over()
        assert world.reserved() > 0
        sweep(world)
        nothing_happened(world)
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.state, turn.end.reason) == ("error", "crashed")
        assert world.ask(conversation, key="k").over().end.state == "done"

    def test_whose_process_is_killed_after_its_commit_has_happened(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-115: the user was told nothing, and is told by a repeat of the key, at once and without another charge."""
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        read_texts(answer)
        with failing(world, Killed(), after=True), pytest.raises(Killed):
            answer.over()
        again = world.ask(conversation, key="k")
        assert again.replayed
        assert [-entry.amount for entry in world.charges()] == [again.over().end.cost]
        sweep(world)
        assert len(world.charges()) == len(vendor.requests()) == 1
        assert world.only_turn().state == "done"

    def test_that_is_written_and_never_heard_of_is_an_error_to_its_user_and_an_answer_to_the_repeat(
        self, world: ChatWorld
    ) -> None:
        again = self._repeated_after_an_unheard_settlement(world)
        assert again.replayed
        assert [-entry.amount for entry in world.charges()] == [again.over().end.cost]
        assert world.reserved() == 0
        assert world.only_turn().state == "done"

    def test_that_nobody_heard_of_is_not_told_as_free(self, world: ChatWorld) -> None:
        """T-125: the live text may not know the cost; it must not say another one than the ledger."""
        again = self._repeated_after_an_unheard_settlement(world)
        world.clock.advance(seconds=1)
        world.mirror.step()
        shown = world.realtime.get(f"users/alice/streams/{again.over().turn.id}")
        assert isinstance(shown, dict)
        assert world.charges()
        assert shown.get("cost") != "0"

    def test_for_a_client_that_left_is_tried_as_long_as_for_one_that_listens(self, world: ChatWorld) -> None:
        """T-31."""
        answer = world.ask(world.conversation())
        read_texts(answer)
        with failing(world, lost(), after=False, times=4):
            answer.close()
        assert len(world.pauses) == 4
        [charge] = world.charges()
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.reason, turn.end.cost) == ("client_gone_partial", -charge.amount)

    def test_is_not_undone_by_a_client_that_leaves_before_it_is_told(self, world: ChatWorld) -> None:
        """T-1: the whole answer came, and the whole answer is paid."""
        answer = world.ask(world.conversation())
        while not isinstance(over := next(answer.events), Over):
            pass
        answer.close()
        assert over.end.reason == "completed"
        assert [-entry.amount for entry in world.charges()] == [over.end.cost]
        assert world.only_turn().end == over.end

    @staticmethod
    def _repeated_after_an_unheard_settlement(world: ChatWorld) -> Answer:
        """The store takes the settlement and is away from then on; later the key is used again."""
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        read_texts(answer)
        store = world.documents
        assert isinstance(store, Store)

        def leave(_: object) -> None:
            store.away = True
            raise lost()

        store.after_commit.append(leave)
        with pytest.raises(Unavailable):
            answer.over()
        store.after_commit.clear()
        store.away = False
        return world.ask(conversation, key="k")


class TestTheSweep:
    def test_that_the_store_refuses_is_made_up_for_by_the_next(self, world: ChatWorld) -> None:
        killed = world.ask(world.conversation())
        assert isinstance(next(killed.events), Start)
        world.clock.advance(minutes=6)
        with failing(world, lost(), after=False):
            world.feature.sweep()
        assert world.only_turn().state == "running"
        assert world.reserved() > 0
        world.feature.sweep()
        nothing_happened(world)
        assert world.only_turn().state == "error"
        killed.close()

    @pytest.mark.parametrize("failure", [lost(), Killed()], ids=["unheard", "killed"])
    def test_whose_commit_is_not_heard_of_has_done_its_work(self, world: ChatWorld, failure: BaseException) -> None:
        """T-38: reservation and turn go in one commit."""
        killed = world.ask(world.conversation())
        assert isinstance(next(killed.events), Start)
        world.clock.advance(minutes=6)
        with failing(world, failure, after=True), suppress(Killed):
            world.feature.sweep()
        nothing_happened(world)
        assert world.only_turn().state == "error"
        killed.close()
