"""A message holds what it usually needs and more while its answer is longer: told, charged exactly, cut at its end."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from app.chat import serializers
from app.chat.answering import Answer
from app.chat.attempt import Over, Start
from app.chat.opening import Ask
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.credits.core.rejections import CreditsHeldByAnswers
from app.kit.errors import Failure, Unavailable
from app.kit.stores.documents import Merge, Write
from app.metering.billing import Mode
from app.models.faults import EmptyAnswer
from support.chat_world import ChatWorld, read_texts
from support.credits_world import CreditsWorld
from support.raw_vendor import Reply, Trickle, event, replying, sending, stream, text
from support.vendor import Vendor

USUAL = 64
DONE = b"data: [DONE]\n\n"


def written(tokens: int) -> Reply:
    """An answer of so many tokens, one a piece, counted at its end."""
    finish = event(
        choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}],
        usage={"prompt_tokens": 20, "completion_tokens": tokens},
    )
    return stream(*[text("word ")] * tokens, finish, DONE)


def asked(world: ChatWorld, model: str = "small") -> Answer:
    """A message to an instance whose messages begin with 64 tokens."""
    world.ports.variables["USUAL_ANSWER_TOKENS"] = str(USUAL)
    ask = Ask("alice", world.conversation(model=model).id, "Count for me", request_id="req_1")
    return world.instance().chat.service.answer(ask, Mode.STREAM)


@contextmanager
def failing_steps(world: ChatWorld, times: int) -> Iterator[None]:
    """So many steps of what is held are refused by the store; no other commit is."""
    left = [times]

    def refuse(writes: Sequence[Write]) -> None:
        paths = [one.path for one in writes]
        step = any(path.startswith("accounts/") for path in paths) and not any("/entries/" in path for path in paths)
        if step and left[0]:
            left[0] -= 1
            raise Unavailable("no answer")

    world.documents.before_commit.append(refuse)
    yield
    assert left == [0], "all of them happened"


@dataclass(frozen=True)
class Later(Trickle):
    """Bytes that are sent once, when `stop` is set."""

    def __iter__(self) -> Iterator[bytes]:
        self.stop.wait(20)
        yield self.piece


def take_all(world: ChatWorld) -> None:
    left = world.credits.available(world.money.account("alice"))
    world.credits.reserve("alice", Reserve("other", left, left, "chat", Reference("message", "other"), 10**9))


def test_a_long_answer_is_held_for_step_by_step_and_charged_exactly() -> None:
    with replying(written(1_000)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        start, *_, over = asked(world)
        assert isinstance(start, Start)
        assert isinstance(over, Over)
        assert over.end.answer == "word " * 1_000
        assert over.end.cost == (20 * 6_250_000 + 1_000 * 25_000_000) // 1_000_000
        assert start.turn.reserved < over.end.cost <= over.turn.reserved < over.turn.ceiling
        assert world.only_turn().reserved == over.turn.reserved
        assert world.account().balance == 1_000_000_000 - over.end.cost
        assert world.reserved() == 0


def test_what_is_held_and_the_most_that_may_be_are_told() -> None:
    with replying(written(10)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        start = next(answer.events)
        [frame] = serializers.frames(start, "req_1")
        assert frame is not None
        over = answer.over()
        assert isinstance(frame.data, dict)
        told = serializers.message(over.turn, over.end)
        assert (frame.data["reserved"], frame.data["ceiling"]) == (told.reserved, told.ceiling)
        assert told.reserved == "0.001825"
        assert told.ceiling == "6.835872"


def test_an_answer_that_cannot_be_held_for_any_more_ends_as_budget_with_what_came() -> None:
    with replying(written(1_000)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        take_all(world)
        over = answer.over()
        assert (over.end.finish_reason, over.end.reason, over.end.state) == ("budget", "budget_reached", "done")
        assert USUAL <= len(over.end.answer.split()) <= USUAL + 13, "much comes at once, and is passed on in parts"
        assert 0 < over.end.cost <= over.turn.reserved
        assert not over.turn.clamped, "it might have been longer when it began"
        assert world.account().balance == 1_000_000_000 - over.end.cost


def test_thirty_two_everyday_messages_at_once_need_twice_what_they_cost_and_no_more(vendor: Vendor) -> None:
    """Each is answered whole, though all of them run at the same time."""
    everyday = ChatWorld(vendor)
    cost = everyday.answered(everyday.conversation()).end.cost
    world = ChatWorld(vendor, silence_s=30, money=CreditsWorld(bonus=2 * 32 * cost))
    conversations = [world.conversation() for _ in range(32)]
    barrier = threading.Barrier(32)
    ends: list[Over | Failure] = []

    def send(number: int) -> None:
        try:
            answer = world.ask(conversations[number])
            barrier.wait(60)
            ends.append(answer.over())
        except Failure as failure:
            barrier.abort()
            ends.append(failure)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [(one.end.finish_reason, one.end.cost) if isinstance(one, Over) else str(one) for one in ends]
    assert told == [("stop", cost)] * 32
    assert world.account().balance == 32 * cost
    assert world.reserved() == 0


def test_hidden_reasoning_of_messages_at_once_costs_us_no_more_than_there_is() -> None:
    """T-15: nobody sees how much is thought while it is, so each holds all that it may cost."""
    with replying(written(10)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url), money=CreditsWorld(bonus=1_000_000))
        begun, refused = [asked(world, "reasoning")], 0
        for _ in range(31):
            with pytest.raises(CreditsHeldByAnswers):
                asked(world, "reasoning")
            refused += 1
        [over] = [answer.over() for answer in begun]
        assert (over.turn.reserved, over.turn.ceiling, refused) == (1_000_000, 1_000_000, 31)


def test_a_vendor_that_ends_with_every_piece_is_answered_whole() -> None:
    """T-107: a finish and a count in each piece, of which none is the last."""

    def piece(number: int) -> bytes:
        choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": "stop"}
        return event(choices=[choice], usage={"prompt_tokens": 20, "completion_tokens": number + 1})

    with replying(stream(*[piece(number) for number in range(1000)], DONE)) as vendor:
        over = asked(ChatWorld(Vendor(vendor.base_url))).over()
        assert (over.end.finish_reason, over.end.answer) == ("stop", "word " * 1000)
        assert over.end.cost == (20 * 6_250_000 + 1_000 * 25_000_000) // 1_000_000


def test_whoever_leaves_pays_for_what_the_vendor_counts_in_the_moment_after() -> None:
    """T-108: also for what nobody saw while it streamed."""
    finish = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    details = {"reasoning_tokens": 15_995}
    usage = {"prompt_tokens": 20, "completion_tokens": 16_000, "completion_tokens_details": details}
    later = Later(finish + event(choices=[], usage=usage) + DONE)
    with sending(text("word "), later) as url:
        world = ChatWorld(Vendor(url))
        answer = asked(world)
        read_texts(answer)
        later.stop.set()
        answer.close()
        end = world.only_turn().end
        assert end is not None
        assert (end.reason, end.cost) == ("client_gone_partial", (20 * 6_250_000 + 16_000 * 25_000_000) // 1_000_000)
        assert world.reserved() == 0


def test_a_store_that_is_away_for_a_moment_cuts_no_answer() -> None:
    with replying(written(1_000)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        with failing_steps(world, 3):
            assert answer.over().end.finish_reason == "stop"


def test_a_store_that_is_away_when_the_count_comes_gives_nothing_away() -> None:
    finish = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    count = event(choices=[], usage={"prompt_tokens": 20, "completion_tokens": 5_000})
    with replying(stream(text("word "), finish, count, DONE)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        with failing_steps(world, 3):
            assert answer.over().end.cost == (20 * 6_250_000 + 5_000 * 25_000_000) // 1_000_000


def test_a_fallback_that_cannot_be_held_for_says_nothing_and_costs_nothing() -> None:
    """T-20: it costs many times what the model does that is held for."""
    broken = Reply(500, b"{}")
    with replying(broken, broken, written(300)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        take_all(world)
        with pytest.raises(EmptyAnswer):
            answer.over()
        end = world.only_turn().end
        assert end is not None
        assert (end.reason, end.cost, end.answer) == ("empty_answer", 0, "")
        assert vendor.asked == ["sim-small", "sim-small", "sim-large"]


def test_a_spoilt_turn_does_not_make_its_answer_free() -> None:
    with replying(written(1_000)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        answer = asked(world)
        [path] = [path for path in world.documents.all() if "/messages/" in path]
        world.documents.commit([Merge(path, {"reservation_id": 7})])
        assert answer.over().end.cost == (20 * 6_250_000 + 1_000 * 25_000_000) // 1_000_000
