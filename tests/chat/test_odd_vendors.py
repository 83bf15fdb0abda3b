"""Vendors that send what no simulator does: half characters, and long silences that are full of bytes."""

import pytest

from app.chat.attempt import Over, Start, Text, Tick
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


FINISH = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])


class TestBehindTheFinish:
    @pytest.mark.parametrize("more", [b"", b"data: {broken\n\n", b"data: 7\n\n", b'data: {"choices":[{"index":0,"de'])
    def test_nothing_but_an_error_undoes_an_answer(self, more: bytes) -> None:
        """T-106: its text is whole; what is lost is its count, so our own is charged."""
        with sending(text("Hi "), text("there"), FINISH, more) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert (over.end.answer, over.end.state, over.end.reason) == ("Hi there", "done", "usage_missing")
        assert -world.charges()[0].amount == over.end.cost > 0

    def test_an_error_undoes_one_that_is_not_counted(self) -> None:
        with sending(text("Hi"), FINISH, event(error={"code": "overloaded"})) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert (over.end.state, over.end.cost) == ("error", 0)

    def test_nothing_undoes_one_that_is_counted(self) -> None:
        """T-106."""
        with sending(text("Hi"), END, event(error={"code": "overloaded"}), b"event: error\ndata: late\n\n") as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert (over.end.answer, over.end.state, over.end.reason) == ("Hi", "done", "completed")
        assert -world.charges()[0].amount == over.end.cost > 0


def answered(*pieces: bytes) -> Over:
    """A message that is answered with these pieces; nothing stays reserved, and what it costs is charged once."""
    with sending(*pieces) as url:
        world = ChatWorld(Vendor(url))
        over = world.answered(world.conversation())
    assert world.reserved() == 0
    assert -sum(entry.amount for entry in world.charges()) == over.end.cost
    return over


DONE = b"data: [DONE]\n\n"
COUNT = event(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 5})


def last(content: str, reason: object = "stop") -> bytes:
    """A chunk with some text that says that it is the last."""
    return event(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": reason}])


def counted(content: str) -> bytes:
    """A chunk with some text and the count so far."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return event(choices=[{"index": 0, "delta": {"content": content}}], usage=usage)


class TestTheEnd:
    """T-107: which of a vendor's signs prove that the text is whole."""

    @pytest.mark.parametrize(
        "pieces",
        [
            (text("Hi "), text("there"), COUNT, DONE),
            (last("Hi "), last("there"), COUNT, DONE),
            (last("Hi "), last("there"), FINISH, COUNT),
            (last("Hi ", "null"), last("there", "NULL"), FINISH, COUNT),
            (last("Hi ", {}), last("there", {"type": "stop", "matched": 2}), COUNT),
            (text("Hi "), last("there", "end"), COUNT),
            (text("Hi "), last("there", "FINISH_REASON_STOP"), COUNT),
        ],
    )
    def test_is_said_in_many_ways(self, pieces: tuple[bytes, ...]) -> None:
        end = answered(*pieces).end
        assert (end.answer, end.state, end.finish_reason, end.reason) == ("Hi there", "done", "stop", "completed")

    @pytest.mark.parametrize(
        "pieces",
        [
            (text("Hi "), text("there"), DONE),
            (last("Hi "), last("there")),
            (last("Hi "), last("there"), COUNT),
            (last("Hi ", "null"), last("there", "null")),
            (counted("Hi "), counted("there"), DONE),
            (COUNT, text("Hi "), text("there"), DONE),
        ],
        ids=[
            "a proxy's own",
            "each chunk's",
            "each chunk's, and a count",
            "a word for nothing",
            "a proxy's own behind counts",
            "a proxy's own behind an early count",
        ],
    )
    def test_is_not_said_by_what_stands_in_a_cut_stream_as_well(self, pieces: tuple[bytes, ...]) -> None:
        end = answered(*pieces).end
        assert (end.state, end.reason, end.cost) == ("error", "vendor_failed_partial", 0)

    def test_of_text_at_the_limit_is_known_from_an_object_too(self) -> None:
        assert answered(last("Hi", {"type": "length", "length": 2}), COUNT).end.finish_reason == "length"


class TestAHarmlessOddity:
    """T-106: one bad byte throws no paid answer away."""

    @pytest.mark.parametrize(
        ("piece", "answer"),
        [
            (b'data: {"choices":[{"index":0,"delta":{"content":"caf\xe9"}}]}\n\n', "Hi caf\ufffd"),
            (b'data: {"choices":[{"index":0,"delta":{"content":"a\tb\x01"}}]}\n\n', "Hi a\tb\x01"),
            (event(error={"message": "", "type": "", "param": None, "code": None, "inner": {}}), "Hi "),
            (event(error={"code": 0, "message": "success"}), "Hi "),
            (event(error=[]), "Hi "),
            (event(base_resp={"status_code": 0, "status_msg": "success"}), "Hi "),
            (event(choices=[{"index": 0, "delta": {}, "error": {"message": ""}}]), "Hi "),
            (event(choices=[{"index": 1, "delta": {"content": "there"}}]), "Hi there"),
        ],
    )
    def test_leaves_the_answer_whole(self, piece: bytes, answer: str) -> None:
        end = answered(text("Hi "), piece, END, DONE).end
        assert (end.answer, end.reason) == (answer, "completed")

    def test_of_two_choices_the_first_is_the_one_that_was_asked_for(self) -> None:
        both = event(choices=[{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "Hi"}}])
        assert answered(both, END, DONE).end.answer == "Hi"

    @pytest.mark.parametrize(
        "piece",
        [
            event(error={"message": "", "code": 7}),
            event(error={"message": "success", "inner": {"code": "overloaded"}}),
            event(choices=None, base_resp={"status_code": 1000, "status_msg": "unknown error"}),
        ],
    )
    def test_is_not_what_says_something(self, piece: bytes) -> None:
        end = answered(text("Hi"), piece, END, DONE).end
        assert (end.state, end.cost) == ("error", 0)


class TestAnErrorEvent:
    @pytest.mark.parametrize(
        "data", [b'{"code":"overloaded"}', b'{"error":{"code":"overloaded"}}', b"overloaded", b"7"]
    )
    def test_is_no_answer_whatever_it_holds(self, data: bytes) -> None:
        """T-2: its name says that it is an error."""
        with sending(text("Hi"), b"event: error\ndata: " + data + b"\n\n", END) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert (over.end.answer, over.end.state, over.end.cost) == ("Hi", "error", 0)


class TestHiddenReasoning:
    def test_that_nobody_counted_is_counted_by_us_and_shown_to_nobody(self) -> None:
        """T-15."""
        thoughts = [event(choices=[{"index": 0, "delta": {"reasoning_content": "Hm. "}}])] * 5
        with sending(*thoughts, text("Hi"), FINISH) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert over.end.answer == "Hi"
        assert (over.end.usage["output"], over.end.usage["reasoning"]) == (1, 5)

    def test_in_plain_text_is_text(self) -> None:
        with sending(text("<think>"), text("Hm</think>Hi"), END) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert over.end.answer == "<think>Hm</think>Hi"


class TestAUsageReport:
    def test_far_above_what_was_sent_or_allowed_is_not_charged(self) -> None:
        """T-2, T-101: a vendor that counts wildly costs what was delivered, by our own count."""
        usage = {"prompt_tokens": 10_000_000, "completion_tokens": 10_000_000, "total_tokens": 90_000_000}
        with sending(text("Hi"), FINISH, event(choices=[], usage=usage)) as url:
            world = ChatWorld(Vendor(url))
            over = world.answered(world.conversation())
        assert -world.charges()[0].amount == over.end.cost < over.turn.reserved
        assert (over.end.reason, over.end.usage["output"]) == ("usage_missing", 1)

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

    @pytest.mark.parametrize("noise", [COMMENT, THOUGHT, b"x", b"data: 1"])
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
