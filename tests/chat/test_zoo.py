"""Every animal of the vendor zoo gives the same answer at the same price: whole, cut short, left and broken (T-106)."""

from pathlib import Path

import pytest

from app.chat.attempt import Over
from app.models.catalogue import BUNDLED
from emulators.model_vendor.animals import ANIMALS
from support.chat_world import ChatWorld, read_texts
from support.vendor import Vendor

EVERY = pytest.mark.parametrize("animal", sorted(ANIMALS.keys() - {"plain"}))
LONG = "What is a ledger? " * 300
"""Long enough for the vendor's prompt cache."""


class Zoo:
    """Answers of the plain vendor and of an animal, each by a backend of its own whose catalogue counts as it does."""

    def __init__(self, vendor: Vendor, folder: Path) -> None:
        self.vendor = vendor
        self._folder = folder

    def world(self, animal: str, faults: str = "", *, model: str = "small") -> ChatWorld:
        """A backend whose vendor is this animal."""
        self.vendor.reset()
        self.vendor.arrange(f"zoo={animal}{faults}", times=None)
        book = self._folder / "catalogue.toml"
        book.write_text(BUNDLED.read_text().replace('dialect = "openai"', f'dialect = "{ANIMALS[animal].dialect}"'))
        world = ChatWorld(self.vendor)
        world.ports.variables["MODEL_CATALOGUE"] = str(book)
        return ChatWorld(self.vendor, money=world.money)


@pytest.fixture
def zoo(vendor: Vendor, tmp_path: Path) -> Zoo:
    return Zoo(vendor, tmp_path)


def told(over: Over) -> tuple[object, ...]:
    """What must not depend on the dressing."""
    end = over.end
    input_tokens = sum(end.usage.get(name, 0) for name in ("input", "cache_write"))
    others = {name: count for name, count in end.usage.items() if name not in ("input", "cache_write")}
    return end.answer, end.state, end.finish_reason, end.reason, end.cost, end.estimated, input_tokens, others


@EVERY
@pytest.mark.parametrize("model", ["small", "reasoning"])
def test_a_whole_answer_is_the_same(zoo: Zoo, animal: str, model: str) -> None:
    found = []
    for one in ("plain", animal):
        world = zoo.world(one)
        conversation = world.conversation(model=model)
        found.append([told(world.answered(conversation, content)) for content in (LONG, LONG)])
        assert world.reserved() == 0
        assert len(zoo.vendor.requests()) == 2, "nothing was asked again"
    assert found[0] == found[1]
    assert found[0][0][1:4] == ("done", "stop", "completed")
    assert "cached_input" in str(found[0][1])


@EVERY
def test_an_answer_at_its_limit_is_the_same(zoo: Zoo, animal: str) -> None:
    """T-29."""
    found = []
    for one in ("plain", animal):
        world = zoo.world(one)
        found.append(told(world.ask(world.conversation(model="large"), max_cost=12_000).over()))
    assert found[0] == found[1]
    assert found[0][2] in ("budget", "length")


@EVERY
def test_a_cancel_in_the_middle_ends_it_at_once(zoo: Zoo, animal: str) -> None:
    """T-30: however the body is framed."""
    world = zoo.world(animal, ",stall-after=3")
    answer = world.ask(world.conversation())
    read_texts(answer)
    world.chat.cancel("alice", world.only_turn().id)
    over = answer.over()
    assert (over.end.state, over.end.finish_reason, over.end.reason) == ("done", "cancelled", "cancelled_partial")
    assert -world.charges()[0].amount == over.end.cost > 0


@EVERY
def test_a_client_that_leaves_pays_for_what_came(zoo: Zoo, animal: str) -> None:
    """T-1."""
    world = zoo.world(animal, ",stall-after=3")
    answer = world.ask(world.conversation())
    read_texts(answer)
    answer.close()
    assert world.only_turn().end is not None
    assert len(world.charges()) == 1


@EVERY
@pytest.mark.parametrize("fault", ["truncate-after=3", "disconnect-after=3"])
def test_a_break_in_the_middle_costs_nothing(zoo: Zoo, animal: str, fault: str) -> None:
    """T-2: an early count makes no answer whole."""
    world = zoo.world(animal, f",{fault}")
    over = world.answered(world.conversation())
    assert (over.end.state, over.end.reason) == ("error", "vendor_failed_partial")
    assert world.charges() == []
