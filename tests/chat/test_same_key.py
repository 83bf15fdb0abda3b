"""One idempotency key: one answer, one charge, however the requests meet."""

import pytest

from app.chat.answering import Over
from app.kit.errors import KeyReused
from app.metering.reserving import CallInProgress
from support.chat_world import ChatWorld
from support.vendor import Vendor


def test_a_second_request_does_not_join_the_reservation_of_the_first(vendor: Vendor) -> None:
    """The ledger answers an equal reserve with the first outcome; that must not start a second stream (T-6)."""
    world = ChatWorld(vendor)
    conversation = world.conversation()
    first = world.ask(conversation, key="k")
    with pytest.raises(CallInProgress):
        world.ask(conversation, key="k")
    first.over()
    assert len(world.charges()) == 1
    assert world.reserved() == 0


def test_a_finished_answer_is_given_again(vendor: Vendor) -> None:
    world = ChatWorld(vendor)
    conversation = world.conversation()
    once = world.ask(conversation, key="k").over()
    again = world.ask(conversation, key="k")
    assert again.replayed
    assert isinstance(last := again.over(), Over)
    assert last.end == once.end
    assert len(world.charges()) == 1


def test_another_message_under_the_key_is_refused(vendor: Vendor) -> None:
    world = ChatWorld(vendor)
    conversation = world.conversation()
    world.ask(conversation, key="k").over()
    with pytest.raises(KeyReused):
        world.ask(conversation, "Something else", key="k")
