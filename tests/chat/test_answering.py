"""Every way in which an answer can end: who pays what, and that nothing stays reserved."""

import itertools
from collections.abc import Sequence
from random import Random

import pytest

from app.chat.attempt import AnswerEvent, Over, Start, Text
from app.chat.feature import MARGIN_S
from app.chat.opening import Ask
from app.credits.core.rejections import InsufficientCredits
from app.kit.clock import from_rfc3339, seconds
from app.kit.errors import Unavailable
from app.kit.stores.documents import Write
from app.metering.billing import Mode
from app.metering.quote import MaxCostTooLow
from app.metering.settling import SETTLE_TRIES, between_tries_us, patient
from app.models.faults import ContentRefused, ModelFault, ModelMisconfigured
from app.models.tokens import least
from app.models.usage import TokenUsage
from support.chat_world import ChatWorld, read_texts
from support.credits_world import CreditsWorld
from support.memory import Change
from support.vendor import Vendor
from support.world import WatchedThreads

QUESTION = "What is a ledger?"


def texts(events: Sequence[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


class TestAWholeAnswer:
    def test_streams_and_is_charged_exactly(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        events = [*world.ask(conversation)]
        assert isinstance(events[0], Start)
        over = events[-1]
        assert isinstance(over, Over)
        [entry] = world.charges()
        used = TokenUsage(input=over.end.usage["input"], output=over.end.usage["output"])
        assert -entry.amount == over.end.cost == world.book.cost(world.catalogue.get("small"), used)
        assert over.end.transaction_id == entry.id
        assert over.end.answer == texts(events)
        assert (over.end.finish_reason, over.end.reason) == ("stop", "completed")
        assert world.account().balance == 1_000_000_000 - over.end.cost == over.end.available

    def test_leaves_a_receipt_from_which_the_charge_can_be_made_again(self, world: ChatWorld) -> None:
        """T-4, T-50: the entry names the price book, the model, the tokens and the vendor's own words."""
        over = world.answered(world.conversation())
        [entry] = world.charges()
        fields = entry.fields()
        assert fields["price_book"] == world.book.version
        receipt = fields["usage"]
        assert isinstance(receipt, dict)
        model, tokens = receipt["model"], receipt["tokens"]
        assert isinstance(model, str)
        assert isinstance(tokens, dict)
        assert world.book.cost(world.catalogue.get(model), TokenUsage(**tokens)) == -entry.amount
        assert receipt["vendor"]["completion_tokens"] == over.end.usage["output"]
        assert fields["reference"] == {"type": "message", "id": over.turn.id}

    def test_is_remembered_by_the_next(self, world: ChatWorld) -> None:
        conversation = world.conversation(system_prompt="Be kind.")
        first = world.answered(conversation, "My name is Ada.")
        second = world.answered(conversation, "What is my name?")
        assert "Ada" in second.end.answer
        window = world.chat.read("alice", conversation.id).window
        assert [(one.question, one.answer) for one in window] == [
            ("My name is Ada.", first.end.answer),
            ("What is my name?", second.end.answer),
        ]

    def test_gives_an_untitled_conversation_its_title(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        world.answered(conversation)
        assert world.chat.read("alice", conversation.id).title == QUESTION

    def test_costs_few_operations_however_long_the_conversation(self, world: ChatWorld, vendor: Vendor) -> None:
        conversation = world.conversation()
        world.answered(conversation)
        cold = ChatWorld(vendor, money=CreditsWorld(documents=world.documents, archive=world.money.archive))
        for content, most_reads in (("short", 3), ("long " * 2000, 2), ("again", 2)):
            reads, writes = world.documents.reads, world.documents.writes
            cold.ask(conversation, content, key=content[:5]).over()
            assert (world.documents.reads - reads, world.documents.writes - writes) == (most_reads, 6)

    @pytest.mark.parametrize("fault", ["usage=missing", "usage=null", "usage=zero", "usage=negative", "usage=absurd"])
    def test_without_a_usable_count_is_charged_by_an_estimate(
        self, world: ChatWorld, vendor: Vendor, fault: str
    ) -> None:
        """T-12, T-23: never more than the vendor would have reported, and never nothing."""
        honest = world.answered(world.conversation())
        vendor.arrange(fault)
        over = world.answered(world.conversation())
        assert (over.end.reason, over.end.estimated) == ("usage_missing", True)
        assert 0 < over.end.cost <= honest.end.cost
        assert over.end.answer == honest.end.answer

    def test_is_priced_as_the_model_that_answered(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-20: by the fallback, and by the name that the vendor gives itself."""
        cheap = world.answered(world.conversation())
        vendor.arrange("status=500", model="sim-small", times=2)
        fallback = world.answered(world.conversation())
        vendor.arrange("answers-as=sim-large")
        renamed = world.answered(world.conversation())
        for over in (fallback, renamed):
            assert over.end.answered_by == "large"
            used = TokenUsage(input=over.end.usage["input"], output=over.end.usage["output"])
            assert over.end.cost == world.book.cost(world.catalogue.get("large"), used)
            assert cheap.end.cost < over.end.cost <= over.turn.reserved

    def test_about_a_picture_is_reserved_and_charged_by_its_size_not_its_bytes(
        self, world: ChatWorld, vendor: Vendor
    ) -> None:
        """T-17: the reservation holds the model's maximum for a picture, the charge what the vendor counted."""
        conversation = world.conversation(model="vision")
        plain = world.ask(conversation, "What do you see?").over()
        ask = Ask("alice", conversation.id, "What do you see?", images=(vendor.picture(),))
        seen = world.chat.answer(ask, Mode.STREAM).over()
        vision = world.catalogue.get("vision")
        more = seen.end.usage["input"] - plain.end.usage["input"]
        assert 85 <= more <= vision.image_input_tokens + 200
        assert seen.turn.reserved > plain.turn.reserved
        assert seen.end.cost == world.book.cost(vision, TokenUsage(**seen.end.usage))

    def test_with_hidden_reasoning_is_charged_for_it(self, world: ChatWorld) -> None:
        """T-15."""
        over = world.ask(world.conversation(), "Why does 17 * 23 equal 391?", model="reasoning").over()
        assert over.end.usage["reasoning"] > 0
        used = TokenUsage(**over.end.usage)
        assert over.end.cost == world.book.cost(world.catalogue.get("reasoning"), used)


class TestALeavingClient:
    @pytest.mark.parametrize("pieces", [1, 4, 8])
    def test_pays_for_what_reached_it(self, world: ChatWorld, vendor: Vendor, pieces: int) -> None:
        """T-1, T-31: hanging up before the usage chunk is not free, and costs the prompt and what was delivered."""
        vendor.arrange("tokens-per-second=20")
        answer = world.ask(world.conversation())
        read_texts(answer, pieces)
        answer.close()
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.finish_reason, turn.end.reason) == ("cancelled", "client_gone_partial")
        [entry] = world.charges()
        tokens = turn.end.usage["output"]
        assert tokens > pieces // 2
        assert turn.end.estimated
        used = TokenUsage(input=least([QUESTION]), output=tokens)
        assert -entry.amount == turn.end.cost == world.book.cost(world.catalogue.get("small"), used) > 0
        assert world.reserved() == 0

    @pytest.mark.parametrize("question", [QUESTION, "总账是什么？请用一句话解释。", "What is a ledger? " * 100])
    def test_after_the_last_word_pays_what_a_reader_to_the_end_pays(
        self, world: ChatWorld, vendor: Vendor, question: str
    ) -> None:
        """T-108: the vendor's count comes after the text, and is waited for."""
        read = world.answered(world.conversation(), question)
        vendor.arrange("tokens-per-chunk=4")
        left = world.ask(world.conversation(), question)
        so_far = ""
        while so_far != read.end.answer:
            event = next(left.events)
            so_far += event.text if isinstance(event, Text) else ""
        left.close()
        costs = [-entry.amount for entry in world.charges()]
        assert costs == [read.end.cost, read.end.cost]

    def test_in_the_middle_pays_the_whole_prompt_and_its_share(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-108: leaving early is no discount on what was read, and never dearer than staying."""
        question = "Tell me about rivers. " * 200
        read = world.answered(world.conversation(), question)
        vendor.arrange("tokens-per-second=100")
        left = world.ask(world.conversation(), question)
        read_texts(left, 5)
        left.close()
        cost = min(-entry.amount for entry in world.charges())
        small = world.catalogue.get("small")
        prompt = world.book.cost(small, TokenUsage(input=read.end.usage["input"]))
        assert 0.9 * prompt < cost < read.end.cost

    def test_of_a_model_that_thinks_pays_for_the_thoughts_that_were_counted(self, world: ChatWorld) -> None:
        """T-15, T-108: hidden reasoning comes before the text, and whoever leaves after the text has had it."""
        question = "Why does 17 * 23 equal 391?"
        read = world.ask(world.conversation(), question, model="reasoning").over()
        left = world.ask(world.conversation(), question, model="reasoning")
        so_far = ""
        while so_far != read.end.answer:
            event = next(left.events)
            so_far += event.text if isinstance(event, Text) else ""
        left.close()
        assert read.end.usage["reasoning"] > 0
        costs = [-entry.amount for entry in world.charges()]
        assert costs == [read.end.cost, read.end.cost]

    def test_stops_the_vendor(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-30."""
        vendor.arrange("tokens-per-second=20")
        answer = world.ask(world.conversation())
        read_texts(answer, 2)
        answer.close()
        [asked] = vendor.requests()
        assert asked["tokens_after_disconnect"] == 0

    def test_leaves_a_live_text_that_has_ended(self, world: ChatWorld) -> None:
        """Its function may get no CPU any more once the answer is closed."""
        answer = world.ask(world.conversation())
        read_texts(answer, 1)
        answer.close()
        stream = world.realtime.get(f"users/alice/streams/{world.only_turn().id}")
        assert isinstance(stream, dict)
        assert (stream["status"], stream["finish_reason"]) == ("done", "cancelled")

    def test_has_hung_up_before_the_settlement(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-30: a settlement may wait for seconds, and the vendor is not left at work meanwhile."""
        vendor.arrange("stall-after=3")
        answer = world.ask(world.conversation())
        read_texts(answer, 1)
        seen: list[object] = []
        world.documents.before_commit.append(lambda _: seen.extend(one["state"] for one in vendor.requests()))
        answer.close()
        assert seen == ["done"]

    @pytest.mark.parametrize("read", [0, 1])
    def test_before_the_first_text_pays_nothing(self, world: ChatWorld, read: int) -> None:
        """T-3: even when the answer was never looked at."""
        answer = world.ask(world.conversation())
        for _ in range(read):
            next(answer.events)
        answer.close()
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.cost, turn.end.reason) == (0, "client_gone_before_first_token")
        assert world.charges() == []
        assert world.reserved() == 0

    def test_that_leaves_twice_pays_once(self, world: ChatWorld) -> None:
        """T-6."""
        answer = world.ask(world.conversation())
        read_texts(answer, 1)
        answer.close()
        answer.close()
        assert len(world.charges()) == 1
        with pytest.raises(StopIteration):
            next(answer.events)

    def test_after_any_event_settles_once(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-6, T-31: also before the first event, and after the last."""
        whole = len([*world.ask(world.conversation())])
        settled: list[str] = []
        world.documents.after_commit.append(lambda changes: settled.extend(_ended(changes)))
        for read in range(whole + 1):
            settled.clear()
            answer = world.ask(world.conversation())
            for _ in range(read):
                next(answer.events)
            assert len(settled) == (read == whole)
            answer.close()
            assert len(settled) == 1
            assert world.reserved() == 0


def _ended(changes: Sequence[Change]) -> list[str]:
    """The turns that a commit ends."""
    return [path for path, _, after in changes if "/messages/" in path and after and after["state"] != "running"]


class TestACancel:
    def test_charges_what_was_delivered(self, world: ChatWorld, vendor: Vendor) -> None:
        vendor.arrange("stall-after=3")
        answer = world.ask(world.conversation())
        start = next(answer.events)
        assert isinstance(start, Start)
        delivered = ""
        while len(delivered.split()) < 3 and not delivered.endswith("understood"):
            event = next(answer.events)
            assert isinstance(event, Text)
            delivered += event.text
            if world.chat.cancel("alice", start.turn.id) is None:
                break
        *_, over = answer.events
        assert isinstance(over, Over)
        assert (over.end.finish_reason, over.end.reason, over.end.state) == ("cancelled", "cancelled_partial", "done")
        assert over.end.cost > 0
        assert world.reserved() == 0

    def test_before_the_first_text_charges_nothing(self, world: ChatWorld, vendor: Vendor) -> None:
        vendor.arrange("stall-after=0")
        answer = world.ask(world.conversation())
        start = next(answer.events)
        assert isinstance(start, Start)
        world.chat.cancel("alice", start.turn.id)
        over = answer.over()
        assert (over.end.finish_reason, over.end.cost) == ("cancelled", 0)
        assert world.reserved() == 0


class TestAFailingVendor:
    @pytest.mark.parametrize("fault", ["status=500", "html", "reset", "disconnect-after=0", "error-after=0"])
    def test_before_the_first_text_costs_nothing(self, world: ChatWorld, vendor: Vendor, fault: str) -> None:
        vendor.arrange(fault, times=None)
        with pytest.raises(ModelFault):
            world.answered(world.conversation())
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.state, turn.end.cost, turn.end.reason) == ("error", 0, "vendor_failed")
        assert turn.end.problem is not None
        assert world.charges() == []
        assert world.reserved() == 0

    @pytest.mark.parametrize(
        ("fault", "k"),
        [
            (f"{kind}-after={k}", k)
            for kind, k in itertools.product(("disconnect", "truncate", "malformed", "error"), (1, 2, 5))
        ],
    )
    def test_after_it_is_the_houses_loss(self, world: ChatWorld, vendor: Vendor, fault: str, k: int) -> None:
        """T-2: partial text is kept for the user, and neither it nor the error's own text is charged."""
        vendor.arrange(fault)
        over = world.answered(world.conversation())
        assert (over.end.state, over.end.finish_reason) == ("error", "error")
        assert (over.end.cost, over.end.reason) == (0, "vendor_failed_partial")
        assert over.end.answer
        assert "server" not in over.end.answer
        assert world.reserved() == 0

    def test_by_our_own_mistake_is_not_told_to_the_user_as_theirs(self, world: ChatWorld, vendor: Vendor) -> None:
        vendor.arrange("status=401", times=None)
        with pytest.raises(ModelMisconfigured):
            world.answered(world.conversation())
        assert world.reserved() == 0

    def test_that_refuses_the_prompt_costs_nothing(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-26."""
        vendor.arrange("finish=content_filter,empty")
        with pytest.raises(ContentRefused):
            world.answered(world.conversation())
        assert world.charges() == []
        assert world.reserved() == 0


class TestABudget:
    def poor(self, vendor: Vendor, micro: int) -> ChatWorld:
        return ChatWorld(vendor, money=CreditsWorld(bonus=micro))

    def test_shortens_the_answer_and_says_so(self, vendor: Vendor) -> None:
        """T-29: what is left pays for a part; the vendor is asked for no more than that."""
        world = self.poor(vendor, 1_000)
        over = world.answered(world.conversation())
        assert over.turn.clamped
        assert over.end.finish_reason == "budget"
        assert over.end.reason == "budget_reached"
        assert 0 < over.end.cost <= over.turn.reserved <= over.turn.ceiling == 1_000
        [asked] = vendor.requests()
        params = asked["params"]
        assert isinstance(params, dict)
        assert params["max_tokens"] == over.turn.max_output_tokens

    def test_too_small_for_a_minimal_answer_is_refused_before_the_vendor_is_asked(self, vendor: Vendor) -> None:
        world = self.poor(vendor, 500)
        with pytest.raises(InsufficientCredits) as caught:
            world.answered(world.conversation())
        assert caught.value.fields["available"] == "0.0005"
        assert vendor.requests() == []
        [conversation] = world.chat.list("alice").first(10)
        assert world.turns(conversation) == []

    def test_is_that_of_the_model_that_answers(self, world: ChatWorld, vendor: Vendor) -> None:
        """What a caller allows is spent at the price of whoever answers, not at that of a fallback 16 times dearer."""
        over = world.ask(world.conversation(), max_cost=30_000).over()
        assert (over.end.answered_by, over.end.finish_reason, over.turn.clamped) == ("small", "stop", True)
        assert over.turn.max_output_tokens > 1_000
        vendor.arrange("status=500", model="sim-small")
        again = world.ask(world.conversation(), max_cost=1_000).over()
        assert (again.end.answered_by, again.end.finish_reason) == ("small", "budget")
        assert {str(asked["model"]) for asked in vendor.requests()} == {"sim-small"}, "the fallback is not paid for"

    def test_of_the_caller_is_kept(self, world: ChatWorld) -> None:
        over = world.ask(world.conversation(), max_cost=30_000).over()
        assert over.turn.reserved == 30_000
        assert over.end.cost <= 30_000
        with pytest.raises(MaxCostTooLow):
            world.ask(world.conversation(), max_cost=10)

    def test_stops_a_vendor_that_ignores_its_limit(self, vendor: Vendor) -> None:
        """T-10: the stream is cut where the money ends, and no charge exceeds the reservation."""
        world = self.poor(vendor, 30_000)
        vendor.arrange("ignore-max-tokens")
        over = world.answered(world.conversation())
        assert over.end.finish_reason == "budget"
        assert over.end.cost <= over.turn.reserved
        assert world.account().balance >= 0

    def test_is_never_exceeded_by_a_report(self, vendor: Vendor) -> None:
        """T-2, T-23: a dearer model that nobody agreed on answers; the charge stops at the reservation."""
        world = self.poor(vendor, 60_000)
        vendor.arrange("answers-as=sim-vision")
        over = world.ask(world.conversation(model="reasoning"), "Hi").over()
        assert over.end.cost <= over.turn.reserved
        assert world.account().balance >= 0


class TestItsTime:
    def test_is_that_of_its_function(self, world: ChatWorld) -> None:
        """T-9: an answer ends before the platform kills its function, and its lease ends after."""
        world.ports.variables["API_TIMEOUT_SECONDS"] = "100"
        ask = Ask("alice", world.conversation().id, QUESTION)
        answer = world.instance().chat.service.answer(ask, Mode.STREAM)
        turn = world.only_turn()
        assert from_rfc3339(turn.lease_until) - from_rfc3339(turn.created_at) == seconds(100 + MARGIN_S)
        read_texts(answer, 1)
        world.clock.advance(seconds=100 - MARGIN_S + 1)
        assert answer.over().end.finish_reason == "length"


class TestAStoreThatFails:
    def test_while_settling_is_asked_again_and_charges_once(self, world: ChatWorld) -> None:
        """T-6, T-7: the commit is lost before, or after it was written; the same settlement twice is one."""
        for lost_after in (False, True):
            answer = world.ask(world.conversation())
            before = len(world.charges())
            hooks = Losing(world, after=lost_after)
            over = answer.over()
            hooks.remove()
            assert over.end.cost > 0
            assert len(world.charges()) == before + 1
            assert world.reserved() == 0
        assert world.pauses

    def test_for_seconds_is_waited_for(self) -> None:
        """T-9: no answer is given away while a store is away for seconds; the function is not killed meanwhile."""
        waits = [between_tries_us(attempt) for attempt in range(1, SETTLE_TRIES)]
        assert sum(least for least, _ in waits) >= 3_000_000
        assert sum(most for _, most in waits) <= MARGIN_S * 1_000_000 // 2
        threads = WatchedThreads()
        for attempt in range(1, SETTLE_TRIES):
            patient(threads, Random(0).randrange)(attempt)
        assert all(least <= slept < most for slept, (least, most) in zip(threads.sleeps, waits, strict=True))

    def test_for_good_leaves_nothing_reserved_after_the_sweep(self, world: ChatWorld) -> None:
        """T-9."""
        answer = world.ask(world.conversation())
        hooks = Losing(world, after=False, times=1000)
        with pytest.raises(Unavailable):
            answer.over()
        hooks.remove()
        assert world.reserved() > 0
        live = f"users/alice/streams/{world.only_turn().id}"
        world.clock.advance(seconds=1)
        world.mirror.step()
        shown = world.realtime.get(live)
        assert isinstance(shown, dict)
        assert (shown["status"], shown.get("cost")) == ("error", None), "nobody knows yet what it costs"
        world.clock.advance(minutes=6)
        world.feature.sweep()
        swept = world.realtime.get(live)
        assert isinstance(swept, dict)
        assert (swept["status"], swept["cost"]) == ("error", "0")
        world.credits.expire_due()
        assert world.reserved() == 0
        turn = world.only_turn()
        assert turn.end is not None
        assert (turn.end.state, turn.end.reason, turn.end.cost) == ("error", "crashed", 0)


class Losing:
    """Loses the commits that settle: the reply never comes, or comes too late."""

    def __init__(self, world: ChatWorld, *, after: bool, times: int = 2) -> None:
        self._world, self._after, self._left = world, after, times
        world.documents.before_commit.append(self._before)
        world.documents.after_commit.append(self._late)

    def remove(self) -> None:
        self._world.documents.before_commit.remove(self._before)
        self._world.documents.after_commit.remove(self._late)

    def _before(self, writes: Sequence[Write]) -> None:
        if not self._after:
            self._lose()

    def _late(self, changes: object) -> None:
        if self._after:
            self._lose()

    def _lose(self) -> None:
        if self._left:
            self._left -= 1
            raise Unavailable("the store did not answer")
