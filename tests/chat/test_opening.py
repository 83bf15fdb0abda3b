"""What a repeated message means, and which model is asked for what."""

import threading

import pytest

from app.chat.answering import Answer
from app.chat.attempt import Over, Start, Text
from app.chat.opening import Ask
from app.chat.store import NoSuchConversation
from app.credits.core.rejections import InsufficientCredits
from app.kit.errors import Failure, KeyReused
from app.metering.reserving import CallInProgress
from app.models.catalogue import UnknownModel, UnsuitableModel
from app.models.faults import ModelFault, PromptTooLong
from app.models.tokens import likely
from support.chat_world import ChatWorld
from support.credits_world import CreditsWorld
from support.vendor import Vendor


class TestARepeatedKey:
    def test_gives_the_first_answer_and_charges_once(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-64, T-65."""
        conversation = world.conversation()
        first = world.ask(conversation, key="k").over()
        writes = world.documents.writes
        again = world.ask(conversation, key="k")
        assert again.replayed
        start, text, over = again
        assert isinstance(start, Start)
        assert text == Text(first.end.answer)
        assert over == Over(start.turn, first.end)
        assert world.documents.writes == writes
        assert len(world.charges()) == len(vendor.requests()) == 1

    def test_with_another_message_is_refused(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        world.ask(conversation, key="k").over()
        with pytest.raises(KeyReused):
            world.ask(conversation, "Something else", key="k")
        with pytest.raises(KeyReused):
            world.ask(conversation, key="k", max_cost=1_000_000)
        assert len(world.charges()) == 1

    def test_while_the_first_runs_is_told_to_wait(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        answer = world.ask(conversation, key="k")
        with pytest.raises(CallInProgress):
            world.ask(conversation, key="k")
        answer.over()
        assert world.ask(conversation, key="k").replayed

    def test_belongs_to_its_conversation_and_user(self, world: ChatWorld) -> None:
        one, two, other = world.conversation(), world.conversation(), world.conversation("bob")
        answers = [
            world.ask(one, key="k").over(),
            world.ask(two, key="k").over(),
            world.ask(other, key="k", uid="bob").over(),
        ]
        assert len({over.turn.id for over in answers}) == 3

    def test_finds_the_first_answer_though_the_money_is_gone(self, vendor: Vendor) -> None:
        money = CreditsWorld(bonus=30_000)
        world = ChatWorld(vendor, money=money)
        conversation = world.conversation()
        first = world.ask(conversation, key="k").over()
        for number in range(50):
            try:
                world.ask(conversation, key=f"more-{number}").over()
            except InsufficientCredits:
                break
        assert world.ask(conversation, key="k").over().end == first.end

    def test_after_a_failure_that_cost_nothing_tries_again(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-11: the second attempt has a reservation of its own, and both are resolved."""
        conversation = world.conversation()
        vendor.arrange("status=500", times=None)
        with pytest.raises(ModelFault):
            world.ask(conversation, key="k").over()
        vendor.reset()
        over = world.ask(conversation, key="k").over()
        assert over.turn.attempt == 2
        assert over.end.cost > 0
        assert len(world.charges()) == 1
        assert world.reserved() == 0
        assert [turn.id for turn in world.turns(conversation)] == [over.turn.id]

    def test_after_a_killed_function_tries_again_and_frees_what_was_held(self, world: ChatWorld) -> None:
        """T-9, T-11: late, before the sweeper came by."""
        conversation = world.conversation()
        killed = world.ask(conversation, key="k")
        held = world.reserved()
        world.clock.advance(minutes=6)
        other = world.instance()
        assert held > 0
        over = world.ask(conversation, key="k").over()
        assert over.turn.attempt == 2
        assert world.reserved() == 0
        killed.close()  # the function was only slow: its settlement finds its reservation gone
        assert len(world.charges()) == 1
        [turn] = world.turns(conversation)
        assert turn.end == over.end
        assert other.chat.sweep() >= 0

    def test_raced_by_many_is_answered_once(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-6, T-64."""
        conversation = world.conversation()
        outcomes: list[Answer | Failure] = []
        barrier = threading.Barrier(8)

        def send() -> None:
            barrier.wait()
            try:
                outcomes.append(world.ask(conversation, key="k"))
            except Failure as failure:
                outcomes.append(failure)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [one for one in outcomes if isinstance(one, Answer)]
        assert all(isinstance(one, CallInProgress) for one in outcomes if one is not winner)
        winner.over()
        assert len(world.charges()) == len(vendor.requests()) == 1


class TestTheModel:
    def test_is_the_one_asked_for_or_the_conversations_or_the_first(self, world: ChatWorld) -> None:
        chosen = world.conversation(model="large")
        free = world.conversation(model=None)
        assert world.ask(chosen, model="small").over().turn.route == "requested"
        assert world.ask(chosen).over().turn.model == "large"
        default = world.ask(free).over().turn
        assert (default.model, default.route) == ("small", "default")

    @pytest.mark.parametrize("model", ["sim-small", "smal", "small-2026", "gpt-4o"])
    def test_that_the_catalogue_lacks_is_refused_before_anything_happens(
        self, world: ChatWorld, vendor: Vendor, model: str
    ) -> None:
        """T-18, T-19."""
        with pytest.raises(UnknownModel):
            world.ask(world.conversation(), model=model)
        assert vendor.requests() == []
        assert world.documents.get("accounts/alice") is None

    def test_that_does_another_job_is_refused(self, world: ChatWorld) -> None:
        with pytest.raises(UnsuitableModel):
            world.ask(world.conversation(), model="embed")

    def test_is_not_asked_for_more_than_it_can_read(self, world: ChatWorld) -> None:
        with pytest.raises(PromptTooLong):
            world.ask(world.conversation(), "a b " * 64_000)


class TestAnothersConversation:
    def test_does_not_exist(self, world: ChatWorld) -> None:
        conversation = world.conversation()
        with pytest.raises(NoSuchConversation):
            world.ask(conversation, uid="bob")
        with pytest.raises(NoSuchConversation):
            world.chat.read("bob", conversation.id)


class TestTheReservation:
    def test_is_what_a_quote_says_however_long_the_conversation(self, world: ChatWorld) -> None:
        conversation = world.conversation(system_prompt="Be kind.")
        quotes = []
        for content in ("What is a ledger?", "And a lease?", "word " * 300):
            quoted = world.chat.quote(Ask("alice", conversation.id, content))
            over = world.ask(conversation, content).over()
            assert (over.turn.reserved, over.turn.ceiling) == (quoted.expected, quoted.ceiling)
            assert quoted.needed < quoted.expected < quoted.ceiling // 20
            quotes.append(quoted)
        assert quotes[0].needed < quotes[1].needed < quotes[2].needed, "the window is paid for"

    def test_covers_what_is_really_sent(self, world: ChatWorld, vendor: Vendor) -> None:
        """T-10: by the parameters that reached the vendor, and by what it counted."""
        over = world.answered(world.conversation(), "Tell me about rivers. " * 50)
        [asked] = vendor.requests()
        params = asked["params"]
        assert isinstance(params, dict)
        sent = params["max_tokens"]
        assert sent == over.turn.max_output_tokens
        prices = world.catalogue.get("large").prices
        worst = over.end.usage["input"] * prices["input"] + int(sent) * prices["output"]
        assert over.turn.ceiling * 1_000_000 >= worst

    def test_is_told_apart_from_what_is_posted(self, world: ChatWorld) -> None:
        """T-28."""
        answer = world.ask(world.conversation())
        account = world.money.account("alice")
        assert account.balance == 1_000_000_000
        assert account.reserved > 0
        assert world.credits.available(account) == account.balance - account.reserved
        answer.over()


def test_a_message_its_pictures_and_its_answer_fit_the_model(world: ChatWorld) -> None:
    """T-17: pictures leave less room for the answer, or the vendor refuses the whole prompt."""
    vision = world.catalogue.get("vision")
    pictures = ("https://example.com/a.png",) * 4
    taken = len(pictures) * vision.image_input_tokens
    content = "word " * ((vision.context_tokens - taken - 2_000) * 3 // 2 // 5)
    ask = Ask("alice", "", content, images=pictures, model="vision")
    output = world.chat.quote(ask).demand.output_tokens
    assert 1_000 < output <= vision.context_tokens - likely([content]) - taken
