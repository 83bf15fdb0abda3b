"""A message holds what it usually needs and more while its answer is longer: told, charged exactly, cut at its end."""

import threading

from app.chat import serializers
from app.chat.answering import Answer, Over, Start
from app.chat.opening import Ask
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.errors import Failure
from app.metering.billing import Mode
from support.chat_world import ChatWorld
from support.credits_world import CreditsWorld
from support.raw_vendor import Reply, event, replying, stream, text
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


def asked(world: ChatWorld) -> Answer:
    """A message to an instance whose messages begin with 64 tokens."""
    world.ports.variables["USUAL_ANSWER_TOKENS"] = str(USUAL)
    ask = Ask("alice", world.conversation().id, "Count for me", request_id="req_1")
    return world.instance().chat.service.answer(ask, Mode.STREAM)


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
