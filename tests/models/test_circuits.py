"""When a model is left alone, and how it is tried again."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.catalogue import load
from app.models.circuits import circuit as circuits
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import CLOSED, FIRST_PAUSE_US, LONGEST_PAUSE_US, PROBE_US, Circuit, CircuitState
from app.models.faults import ModelFault, ModelRefused, ModelResting
from app.models.gateway import AnsweredBy, Gateway, Message, ModelEvent, Question, VendorCall
from app.models.health import ModelHealth
from app.models.settings import Patience
from support.clock import ManualClock
from support.lines import one_vendor
from support.raw_vendor import END, Replies, Reply, replying, stream, text

MOST: Final = 3
S: Final = 1_000_000
BUSY: Final = Reply(503, b"{}")
NO: Final = Reply(400, b'{"error": {"message": "No"}}')
ANSWER: Final = stream(text("Hi "), text("there"), END, b"data: [DONE]\n\n")


def after(steps: Sequence[tuple[int, str]], found: Circuit = CLOSED) -> Circuit:
    """What a circuit is after these steps: (second, `fail` of one of two users in turn or something else)."""
    for number, (second, step) in enumerate(steps):
        match step:
            case "fail":
                found = circuits.failed(found, f"user{number % 2}", second * S, most=MOST)
            case "fail of one":
                found = circuits.failed(found, "user", second * S, most=MOST)
            case "ask":
                found = circuits.asked(found, second * S)
            case "speak":
                found = circuits.spoke(found)
            case "answer":
                found = circuits.answered(found)
            case "leave":
                found = circuits.left(found)
            case _:
                raise AssertionError(step)
    return found


OPENED: Final = [(0, "fail"), (0, "fail"), (0, "fail")]


class TestACircuit:
    @pytest.mark.parametrize(
        ("steps", "second", "state", "admits"),
        [
            ([], 0, "closed", True),
            ([(0, "fail"), (0, "fail")], 0, "closed", True),
            ([(0, "fail"), (0, "fail"), (0, "answer"), (0, "fail")], 0, "closed", True),
            ([(0, "fail"), (0, "fail"), (0, "speak"), (0, "fail")], 0, "open", False),
            ([(0, "fail of one")] * 9, 0, "closed", True),
            ([*[(0, "fail of one")] * 9, (0, "fail")], 0, "open", False),
            (OPENED, 0, "open", False),
            (OPENED, 9, "open", False),
            (OPENED, 10, "half_open", True),
            ([*OPENED, (10, "ask")], 10, "half_open", False),
            ([*OPENED, (10, "ask")], 69, "half_open", False),
            ([*OPENED, (10, "ask")], 70, "half_open", True),
            ([*OPENED, (10, "ask"), (11, "speak")], 11, "closed", True),
            ([*OPENED, (10, "ask"), (11, "answer")], 11, "closed", True),
            ([*OPENED, (10, "ask"), (11, "leave")], 11, "half_open", True),
            ([*OPENED, (10, "ask"), (11, "fail")], 30, "open", False),
            ([*OPENED, (10, "ask"), (11, "fail")], 31, "half_open", True),
            ([*OPENED, (5, "fail")], 10, "half_open", True),
            ([*OPENED, (5, "answer")], 5, "closed", True),
            ([*OPENED, (10, "ask"), (11, "fail"), (31, "ask"), (31, "answer"), *OPENED], 10, "half_open", True),
        ],
    )
    def test_is(self, steps: list[tuple[int, str]], second: int, state: CircuitState, admits: bool) -> None:
        found = after(steps)
        assert (circuits.state(found, second * S), circuits.admits(found, second * S)) == (state, admits)

    def test_pauses_for_longer_after_each_probe_that_fails_up_to_five_minutes(self) -> None:
        found, now_us, pauses = after(OPENED), 0, []
        for _ in range(12):
            pauses.append(found.until_us - now_us)
            now_us = found.until_us
            found = circuits.failed(circuits.asked(found, now_us), "user", now_us, most=MOST)
        assert pauses[:6] == [FIRST_PAUSE_US << n for n in range(5)] + [LONGEST_PAUSE_US]
        assert set(pauses[5:]) == {LONGEST_PAUSE_US}

    @given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(("fail", "answer", "leave", "speak", "try")))))
    def test_lets_out_one_probe_at_a_time_and_admits_again_in_the_end(self, moves: list[tuple[int, str]]) -> None:
        found, now_us, probe_until_us = CLOSED, 0, 0
        for number, (seconds, move) in enumerate(moves):
            now_us += seconds * S
            if move == "try":
                if circuits.admits(found, now_us):
                    if circuits.state(found, now_us) == "half_open":
                        assert now_us >= probe_until_us
                        probe_until_us = now_us + PROBE_US
                    found = circuits.asked(found, now_us)
            else:
                found, probe_until_us = after([(now_us // S, move)] if number % 2 else [(0, "leave")], found), 0
        wait_us = circuits.waits_us(found, now_us)
        assert wait_us <= max(LONGEST_PAUSE_US, PROBE_US)
        assert circuits.admits(found, now_us + wait_us)


class Desk:
    """A gateway with circuits, whose clock a test moves."""

    def __init__(self, vendor: Replies) -> None:
        self.vendor = vendor
        self.catalogue = load()
        self.clock = ManualClock()
        self.breakers = Breakers(self.clock.now_us, most=MOST)
        self.health = ModelHealth(self.clock.now_us)
        lines = one_vendor(vendor.base_url)
        self.gateway = Gateway(self.catalogue, lines=lines, health=self.health, breakers=self.breakers)
        self.users = 0

    def question(self, model: str) -> Question:
        self.users += 1
        brief = Patience(connect_s=2, first_s=1, idle_s=1, tick_s=1)
        messages = [Message("user", "Hi")]
        return Question(self.catalogue.get(model), messages, 9, account=f"user{self.users}", patience=brief)

    def ask(self, model: str = "large") -> list[ModelEvent]:
        return [*self.gateway.stream(self.question(model), VendorCall())]

    def opens(self, model: str = "large") -> None:
        """Has the model fail until it is left alone."""
        while self.breakers.state(model) == "closed":
            with pytest.raises(ModelFault):
                self.ask(model)
        self.vendor.asked.clear()


def last(events: Sequence[ModelEvent]) -> tuple[str, str]:
    *_, by = (event for event in events if isinstance(event, AnsweredBy))
    return by.model.id, by.because


class TestAModelThatFailsAgainAndAgain:
    def test_is_left_alone_and_its_fallback_answers_at_once(self) -> None:
        """The failure that opens its circuit is its last one: it is not asked a second time for the same answer."""
        with replying(BUSY, BUSY, ANSWER, BUSY, ANSWER) as vendor:
            desk = Desk(vendor)
            told = [last(desk.ask("small")) for _ in range(3)]
        assert vendor.asked == ["sim-small", "sim-small", "sim-large", "sim-small", "sim-large", "sim-large"]
        assert told == [("large", "model_busy"), ("large", "model_busy"), ("large", "model_resting")]

    def test_is_not_asked_where_nobody_answers_in_its_place(self) -> None:
        with replying(BUSY) as vendor:
            desk = Desk(vendor)
            desk.opens()
            desk.clock.advance(seconds=3)
            with pytest.raises(ModelResting) as caught:
                desk.ask()
        assert vendor.asked == []
        assert caught.value.retry_after_s == 7

    def test_for_one_user_alone_is_asked_all_the_same(self) -> None:
        with replying(BUSY) as vendor:
            desk = Desk(vendor)
            for _ in range(9):
                desk.users = 0
                with pytest.raises(ModelFault):
                    desk.ask()
        assert len(vendor.asked) == 18

    def test_is_not_one_that_refuses_what_users_ask(self) -> None:
        with replying(NO) as vendor:
            desk = Desk(vendor)
            for _ in range(9):
                with pytest.raises(ModelRefused):
                    desk.ask()
        assert len(vendor.asked) == 9


class TestAProbe:
    def test_goes_out_alone_and_lets_all_others_out_when_it_speaks(self) -> None:
        with replying(*[BUSY] * MOST, ANSWER) as vendor:
            desk = Desk(vendor)
            desk.opens()
            desk.clock.advance(seconds=10)
            probe = desk.gateway.stream(desk.question("large"), VendorCall())
            while not isinstance(next(probe), AnsweredBy):
                pass
            with pytest.raises(ModelResting):
                desk.ask()
            assert vendor.asked == ["sim-large"]
            next(probe)
            assert last(desk.ask()) == ("large", "")

    def test_that_fails_is_sent_once_and_the_next_one_later(self) -> None:
        with replying(BUSY) as vendor:
            desk = Desk(vendor)
            desk.opens()
            desk.clock.advance(seconds=10)
            with pytest.raises(ModelFault):
                desk.ask()
            assert vendor.asked == ["sim-large"]
            desk.clock.advance(seconds=19)
            with pytest.raises(ModelResting) as caught:
                desk.ask()
        assert caught.value.retry_after_s == 1

    @pytest.mark.parametrize("reply", [ANSWER, NO])
    def test_whose_user_leaves_or_is_refused_makes_room_for_another(self, reply: Reply) -> None:
        with replying(*[BUSY] * MOST, reply, ANSWER) as vendor:
            desk = Desk(vendor)
            desk.opens()
            desk.clock.advance(seconds=10)
            probe = desk.gateway.stream(desk.question("large"), VendorCall())
            if reply is NO:
                with pytest.raises(ModelRefused):
                    next(probe)
            else:
                next(probe)
                probe.close()
            assert last(desk.ask()) == ("large", "")
