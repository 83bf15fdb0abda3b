"""Answers that are larger than a turn can hold, such as pictures that a model writes as text."""

import pytest

from app.chat.attempt import MOST_ANSWER_BYTES
from app.chat.schemas import MOST_CONTENT
from app.models.faults import ModelFault
from support.chat_world import ChatWorld
from support.raw_vendor import END, event, sending, text
from support.vendor import Vendor

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 90_000


def test_one_that_is_too_large_ends_where_it_is_full() -> None:
    """Its turn must fit into a document, or it could never be settled and would run for ever."""
    with sending(text("Here you are: "), text(PICTURE), text("Anything else?"), END) as url:
        world = ChatWorld(Vendor(url))
        over = world.ask(world.conversation()).over()
    assert (over.end.answer, over.end.finish_reason, over.end.state) == ("Here you are: ", "length", "done")
    assert world.only_turn().state == "done"
    assert 0 < over.end.cost < 500
    assert world.reserved() == 0


def test_a_picture_that_fits_is_not_counted_by_its_letters() -> None:
    """A picture is some thousand tokens at a vendor that draws; its letters would be 100,000."""
    end = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    with sending(text(PICTURE[: MOST_ANSWER_BYTES - 100]), end) as url:
        world = ChatWorld(Vendor(url))
        over = world.ask(world.conversation()).over()
    assert (over.end.finish_reason, over.end.estimated, over.end.usage.get("output", 0)) == ("stop", True, 0)


def test_one_whose_first_piece_is_too_large_costs_nothing() -> None:
    with sending(text(PICTURE), END) as url:
        world = ChatWorld(Vendor(url))
        with pytest.raises(ModelFault):
            world.ask(world.conversation()).over()
    assert world.charges() == []
    assert world.reserved() == 0


def test_the_largest_answer_to_the_largest_question_can_be_stored() -> None:
    """Four bytes a letter on both sides: the document stays below Firestore's limit, which the store enforces."""
    pieces = [text("\U0001f600" * 1_024)] * 127
    with sending(*pieces, END) as url:
        world = ChatWorld(Vendor(url))
        over = world.ask(world.conversation(model="large"), "\U0001f600" * MOST_CONTENT).over()
    assert over.end.state == "done"
    assert len(over.end.answer.encode()) == 127 * 4_096
