"""Vendors that send what no simulator does: half characters, and long silences that are full of bytes."""

import pytest

from app.chat.answering import Start, Text, Tick
from app.models.faults import ModelTimeout
from support.chat_world import ChatWorld
from support.raw_vendor import END, Trickle, event, sending, text
from support.vendor import Vendor


class TestHalfCharacters:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (["Hi \ud83d", "\ude00!"], "Hi 😀!"),
            (["\ud83d", "\ude00", "\ud83d", "\ude01"], "😀😁"),
            (["Hi \ud83d", " there"], "Hi \ufffd there"),
            (["\ude00 Hi"], "\ufffd Hi"),
            (["Hi \ud83d"], "Hi "),
        ],
    )
    def test_are_made_whole_and_the_answer_is_charged(self, sent: list[str], answer: str) -> None:
        """T-54: a half can be neither stored, hashed nor sent on; it would leave the turn unsettled, and free."""
        with sending(*map(text, sent), END) as url:
            world = ChatWorld(Vendor(url))
            over = world.ask(world.conversation()).over()
        assert (over.end.answer, over.end.state) == (answer, "done")
        assert -world.charges()[0].amount == over.end.cost > 0
        assert world.reserved() == 0


class TestAUsageReport:
    def test_with_names_that_no_database_takes_is_charged(self) -> None:
        """T-4: the vendor's own words are kept as far as they can be stored."""
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "": 1, "__x__": 2, "more": {"": 3, "__y__": 4, "ok": 5}}
        end = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=usage)
        with sending(text("Hi"), end) as url:
            world = ChatWorld(Vendor(url))
            world.ask(world.conversation()).over()
        [entry] = world.charges()
        assert entry.draft.usage is not None
        assert entry.draft.usage["vendor"] == {"prompt_tokens": 10, "completion_tokens": 5, "more": {"ok": 5}}


class TestASilenceFullOfBytes:
    COMMENT = b": PROCESSING\n\n"
    THOUGHT = event(choices=[{"index": 0, "delta": {"reasoning_content": "Hm"}}])

    @pytest.mark.parametrize("noise", [COMMENT, THOUGHT])
    def test_is_told_and_ends_in_time(self, noise: bytes) -> None:
        """Comments and hidden reasoning are not text: the client is kept alive, and the answer ends before the platform
        kills it. T-3: who got nothing pays nothing."""
        with sending(Trickle(noise)) as url:
            world = ChatWorld(Vendor(url))
            answer = world.ask(world.conversation())
            assert isinstance(next(answer.events), Start)
            assert isinstance(next(answer.events), Tick)
            world.clock.advance(minutes=4, seconds=50)
            with pytest.raises(ModelTimeout):
                list(answer)
        assert world.charges() == []
        assert world.reserved() == 0

    def test_after_some_text_charges_for_the_text(self) -> None:
        with sending(text("One "), Trickle(self.COMMENT)) as url:
            world = ChatWorld(Vendor(url))
            answer = world.ask(world.conversation())
            while not isinstance(next(answer.events), Text):
                pass
            world.clock.advance(minutes=4, seconds=50)
            over = answer.over()
        assert (over.end.finish_reason, over.end.answer) == ("length", "One ")
        assert -world.charges()[0].amount == over.end.cost > 0
