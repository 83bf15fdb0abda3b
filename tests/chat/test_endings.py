"""Ends of answers that are no success, and answers of another model: what is told, charged and kept of each."""

import json

import pytest

from app.chat import serializers
from app.chat.attempt import Over, Text
from app.models.faults import ContentRefused, EmptyAnswer, ModelFault, PromptTooLong
from support.chat_world import ChatWorld
from support.raw_vendor import END, Reply, event, replying, stream, text
from support.vendor import Vendor

COUNT = event(choices=[], usage={"prompt_tokens": 20, "completion_tokens": 6})
DONE = b"data: [DONE]\n\n"


def finish(reason: str | None) -> bytes:
    return event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])


def answered(*pieces: bytes) -> tuple[ChatWorld, Over]:
    """A message that is answered with these events, and then counted."""
    with replying(stream(*pieces, COUNT, DONE)) as vendor:
        world = ChatWorld(Vendor(vendor.base_url))
        return world, world.answered(world.conversation())


def told(over: Over) -> tuple[str, dict[str, object]]:
    """The last event as its client gets it."""
    frame = serializers.frames(over, "req_1")[-1]
    assert frame is not None
    data = json.loads(json.dumps(frame.data))
    assert isinstance(data, dict)
    return frame.name, data


def shown(world: ChatWorld, over: Over) -> dict[str, object]:
    """The live text after its end."""
    world.clock.advance(seconds=1)
    world.mirror.step()
    found = world.realtime.get(f"users/alice/streams/{over.turn.id}")
    assert isinstance(found, dict)
    return {**found}


class TestAnEnd:
    """T-107."""

    @pytest.mark.parametrize(
        ("word", "finish_reason", "reason", "state", "code"),
        [
            ("stop", "stop", "completed", "done", None),
            ("eos", "stop", "completed", "done", None),
            ("length", "length", "length_limit", "done", None),
            ("max_tokens", "length", "length_limit", "done", None),
            ("model_length", "length", "model_length", "done", None),
            ("content_filter", "error", "content_filtered", "error", "content_filter"),
            ("SAFETY", "error", "content_filtered", "error", "content_filter"),
            ("tool_calls", "error", "unknown_finish", "error", "unknown_finish"),
            ("whatever", "error", "unknown_finish", "error", "unknown_finish"),
        ],
    )
    def test_after_some_text_is_told_and_charged_as_what_it_is(
        self, word: str, finish_reason: str, reason: str, state: str, code: str | None
    ) -> None:
        """T-107: an unknown word is no success, and neither is a filter that cut the answer off."""
        world, over = answered(text("Some text"), finish(word))
        assert (over.end.finish_reason, over.end.reason, over.end.state) == (finish_reason, reason, state)
        assert -world.charges()[0].amount == over.end.cost > 0
        name, data = told(over)
        assert (name, data.get("code")) == ("done" if code is None else "error", code)
        assert (data["finish_reason"], data["reason"]) == (finish_reason, reason)
        stream = shown(world, over)
        assert (stream["status"], stream["finish_reason"], stream["reason"]) == (state, finish_reason, reason)
        assert world.only_turn().end == over.end

    @pytest.mark.parametrize("word", ["content_filter", "whatever"])
    def test_that_is_no_success_is_not_remembered_and_its_key_answers_the_same_again(self, word: str) -> None:
        with replying(stream(text("Some"), finish(word), COUNT, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            conversation = world.conversation()
            first = world.ask(conversation, key="k").over()
            again = world.ask(conversation, key="k")
            assert again.replayed
            assert again.over().end == first.end
        assert len(world.charges()) == 1
        assert world.chat.read("alice", conversation.id).window == ()

    @pytest.mark.parametrize("word", ["error", "insufficient_system_resource", "abort"])
    def test_that_is_a_failure_is_the_houses_loss(self, word: str) -> None:
        """T-107."""
        world, over = answered(text("Some"), finish(word))
        assert (over.end.state, over.end.reason, over.end.cost) == ("error", "vendor_failed_partial", 0)
        assert over.end.answer == "Some"
        assert world.charges() == []

    def test_of_the_models_context_is_not_called_the_users_budget(self) -> None:
        with replying(stream(text("Some"), finish("model_length"), COUNT, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            over = world.ask(world.conversation(), max_cost=30_000).over()
        assert over.turn.clamped
        assert (over.end.finish_reason, over.end.reason) == ("length", "model_length")


class TestAnAnswerWithoutAVisibleCharacter:
    @pytest.mark.parametrize(
        "pieces",
        [
            (finish("stop"),),
            (finish("length"),),
            (event(choices=[{"index": 0, "delta": {"reasoning_content": "Hm"}}]), finish("stop")),
        ],
        ids=["nothing", "nothing within its limit", "only hidden reasoning"],
    )
    def test_is_free_and_told_and_its_key_tries_again(self, pieces: tuple[bytes, ...]) -> None:
        full = stream(text("Hi"), END, DONE)
        with replying(stream(*pieces, COUNT, DONE), full) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            conversation = world.conversation()
            with pytest.raises(EmptyAnswer):
                world.ask(conversation, key="k").over()
            turn = world.only_turn()
            assert turn.end is not None
            assert (turn.end.reason, turn.end.cost) == ("empty_answer", 0)
            assert turn.end.problem is not None
            assert turn.end.problem.code == "empty_answer"
            assert world.charges() == []
            assert world.reserved() == 0
            assert world.ask(conversation, key="k").over().end.answer == "Hi"
        assert len(vendor.asked) == 2, "nobody pays for another run before the user asks for it"

    @pytest.mark.parametrize("blank", [" ", "\n\n", "\u200b\u2060", "\ufeff\u00a0\u3000"])
    def test_but_blanks_is_free_and_not_remembered(self, blank: str) -> None:
        with replying(stream(text(blank), finish("stop"), COUNT, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            with pytest.raises(EmptyAnswer):
                world.ask(world.conversation()).over()
        end = world.only_turn().end
        assert end is not None
        assert (end.state, end.reason, end.cost, end.answer) == ("error", "empty_answer", 0, "")
        assert world.charges() == []
        [conversation] = world.chat.list("alice").first(10)
        assert conversation.window == ()

    def test_is_withheld_since_a_text_can_be_written_in_such_characters(self) -> None:
        """T-3: tags of Unicode do not show and spell what was asked for; whoever pays nothing gets nothing."""
        hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "the whole answer ")
        with replying(stream(*[text(hidden)] * 40, finish("stop"), COUNT, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            answer = world.ask(world.conversation())
            told: list[object] = []
            with pytest.raises(EmptyAnswer):
                told.extend(answer)
        assert not [one for one in told if isinstance(one, Text)]
        end = world.only_turn().end
        assert end is not None
        assert end.answer == ""
        _, over = answered(text(hidden), text("x"), finish("stop"))
        assert over.end.answer == hidden + "x"
        assert over.end.cost > 0

    @pytest.mark.parametrize("seen", ["x", "。", "😀", "\u0301"])
    def test_is_none_with_one_character(self, seen: str) -> None:
        _, over = answered(text(f"\n{seen}"), finish("stop"))
        assert (over.end.reason, over.end.state) == ("completed", "done")

    def test_that_a_client_leaves_costs_nothing(self) -> None:
        """T-3: until something can be seen, nothing reached the reader."""
        with replying(stream(text("\n"), text("\n"), finish("stop"), COUNT, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            answer = world.ask(world.conversation())
            next(answer.events)
            answer.close()
        end = world.only_turn().end
        assert end is not None
        assert (end.reason, end.cost) == ("client_gone_before_first_token", 0)

    def test_because_of_a_filter_is_a_refusal(self) -> None:
        with pytest.raises(ContentRefused):
            answered(finish("content_filter"))


class TestAnErrorAfterSomeText:
    def test_is_the_houses_loss_wherever_it_stands(self) -> None:
        for error in (
            event(error={"code": 502, "message": "Provider returned error"}),
            event(choices=[{"index": 0, "delta": {}, "finish_reason": "error"}], error={"code": 402}),
        ):
            world, over = answered(text("Some"), error)
            assert (over.end.reason, over.end.cost) == ("vendor_failed_partial", 0)
            assert world.charges() == []


class TestAnotherModel:
    """T-109: who answered, and why not the model that was asked, is told everywhere."""

    def test_is_told_in_the_stream_the_turn_and_the_live_text(self) -> None:
        busy = Reply(503, b"{}")
        with replying(busy, busy, stream(text("Hi"), END, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            over = world.answered(world.conversation())
        assert vendor.asked == ["sim-small", "sim-small", "sim-large"]
        assert (over.end.answered_by, over.end.route_reason) == ("large", "model_busy")
        said = {"model": "large", "route": "fallback", "route_reason": "model_busy"}
        assert said.items() <= told(over)[1].items()
        turn = world.only_turn()
        assert said.items() <= serializers.message(turn, turn.end).model_dump().items()
        assert {"model": "large", "route_reason": "model_busy"}.items() <= shown(world, over).items()

    def test_is_told_as_the_vendors_choice_when_the_vendor_chose_it(self) -> None:
        named = event(model="sim-large", choices=[{"index": 0, "delta": {"content": "Hi"}}])
        _, over = answered(named, finish("stop"))
        assert (over.end.answered_by, over.end.route_reason) == ("large", "vendor_choice")

    def test_is_not_told_of_when_the_model_itself_answered(self) -> None:
        with replying(Reply(500, b"{}"), stream(text("Hi"), END, DONE)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            over = world.answered(world.conversation())
        assert (over.end.answered_by, over.end.route_reason) == ("small", "")
        assert told(over)[1].keys().isdisjoint(("route", "route_reason"))
        assert "route_reason" not in shown(world, over)


class TestWhatTheUserIsTold:
    def test_of_a_prompt_that_is_too_long_is_that(self) -> None:
        """A number as code hides nothing."""
        body = b'{"error": {"code": 400, "message": "n_ctx", "type": "exceed_context_size_error"}}'
        with replying(Reply(400, body)) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            with pytest.raises(PromptTooLong):
                world.answered(world.conversation())
        assert world.reserved() == 0

    def test_of_our_own_empty_balance_is_not_their_fault(self) -> None:
        with replying(Reply(402, b'{"error": {"message": "Insufficient Balance"}}')) as vendor:
            world = ChatWorld(Vendor(vendor.base_url))
            with pytest.raises(ModelFault):
                world.answered(world.conversation())
        turn = world.only_turn()
        assert turn.end is not None
        assert turn.end.problem is not None
        assert (turn.end.problem.status, turn.end.problem.code, turn.end.cost) == (503, "model_unavailable", 0)
        assert "balance" not in turn.end.problem.detail.lower()
