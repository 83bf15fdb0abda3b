"""Tool calls are output: their names and arguments are counted, held for and passed on as text is."""

import pytest

from app.metering.billing import Mode
from app.models.gateway import CallPiece, Counted, Delta
from app.models.usage import Reported
from metering.gallery import Gallery
from support.credits_world import CreditsWorld


@pytest.fixture
def money() -> CreditsWorld:
    return CreditsWorld()


@pytest.fixture
def gallery(money: CreditsWorld) -> Gallery:
    return Gallery(money, Mode.STREAM, captions=True)


def test_a_call_counts_as_its_name_and_arguments_do_as_text(gallery: Gallery) -> None:
    one, other = gallery.begin("one"), gallery.begin("other")
    for name, arguments in (("get_weather", ""), ("", '{"city": '), ("", '"Paris"}')):
        one.meter.call(CallPiece(0, arguments, name, "call_1" if name else ""))
        other.meter.add(Delta(name + arguments, 1))
    assert one.meter.written == other.meter.written > 5
    assert one.meter.measured().delivered == other.meter.measured().delivered
    assert (one.meter.visible, one.meter.legible, one.meter.text) == (True, False, "")


def test_text_and_calls_of_one_answer_are_counted_together(gallery: Gallery) -> None:
    task = gallery.begin("one")
    task.meter.add(Delta("Let me look at the weather. ", 6))
    text = task.meter.written
    task.meter.call(CallPiece(0, '{"city": "Paris"}', "get_weather", "call_1"))
    assert task.meter.written > text + 5
    assert task.meter.text == "Let me look at the weather. "


def test_a_count_below_what_was_called_is_not_believed(gallery: Gallery) -> None:
    task = gallery.begin("one")
    for _ in range(400):
        task.meter.call(CallPiece(0, '"word", ', "list" if not task.meter.called else ""))
    task.meter.count(Counted(Reported((20, 0), (1, 0, 0)), {}))
    assert task.meter.measured().doubted


def test_a_long_call_that_comes_at_once_is_passed_on_in_parts_that_are_held_for(
    money: CreditsWorld, gallery: Gallery
) -> None:
    task = gallery.begin("one")
    arguments = "word " * 40_000
    heard: list[CallPiece] = []
    for piece in task.holding.parts(task.meter, [CallPiece(0, arguments, "write", "call_1")]):
        assert isinstance(piece, CallPiece)
        task.meter.call(piece)
        task.holding.pays(task.meter)
        heard.append(piece)
    assert len(heard) > 1
    assert "".join(piece.arguments for piece in heard) == arguments
    assert [(piece.name, piece.id) for piece in heard] == [("write", "call_1")] + [("", "")] * (len(heard) - 1)
    assert task.holding.held == money.account("alice").reserved
