"""When a model is left alone, and how it is tried again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.catalogue import load
from app.models.circuits import circuit as circuits
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import (
    CLOSED,
    FIRST_PAUSE_US,
    LONGEST_PAUSE_US,
    PROBE_US,
    Circuit,
    CircuitState,
    Permit,
)
from app.models.faults import ModelFault, ModelRefused, ModelResting
from app.models.gateway import AnsweredBy, Gateway, Message, ModelEvent, Question, Silence, Stopped, VendorCall
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

    @pytest.mark.parametrize("back", [301, 3600, 10**6])
    def test_does_not_stay_open_when_the_clock_goes_back(self, back: int) -> None:
        found, now_us = after(OPENED), -back * S
        assert (circuits.admits(found, now_us), circuits.waits_us(found, now_us)) == (True, 0)
        assert circuits.admits(circuits.asked(found, 0), now_us), "a probe of that time is lost as well"

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


class Opened:
    """The circuit of a model that has just opened, and requests that went out before."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.breakers = Breakers(self.clock.now_us, most=MOST)
        self.old = [self.taken() for _ in range(9)]
        for number in range(MOST):
            self.breakers.failed(self.old[number], f"user{number % 2}")
        assert self.state == "open"

    @property
    def state(self) -> CircuitState:
        return self.breakers.state("m")

    def taken(self) -> Permit:
        permit = self.breakers.take("m")
        assert permit is not None
        return permit

    def end(self, permit: Permit, how: str) -> None:
        match how:
            case "spoke":
                self.breakers.spoke(permit)
            case "answered":
                self.breakers.answered(permit)
            case "failed":
                self.breakers.failed(permit, "somebody")
            case _:
                self.breakers.left(permit)


ENDINGS: Final = ("spoke", "answered", "failed", "left")


class TestARequestThatWentOutBeforeACircuitOpened:
    @pytest.mark.parametrize("how", ENDINGS)
    @pytest.mark.parametrize("seconds", [5, 11, 400])
    def test_tells_nothing_of_the_model_as_it_is_now(self, how: str, seconds: int) -> None:
        opened = Opened()
        opened.clock.advance(seconds=seconds)
        before = opened.breakers.known("m")
        opened.end(opened.old[5], how)
        assert opened.breakers.known("m") == before

    @pytest.mark.parametrize("how", ENDINGS)
    def test_does_not_end_the_probe(self, how: str) -> None:
        opened = Opened()
        opened.clock.advance(seconds=11)
        opened.taken()
        opened.end(opened.old[5], how)
        assert (opened.state, opened.breakers.take("m")) == ("half_open", None)

    def test_counts_for_nothing_when_the_circuit_has_closed_again(self) -> None:
        opened = Opened()
        opened.clock.advance(seconds=11)
        opened.breakers.answered(opened.taken())
        for number in range(MOST, 9):
            opened.breakers.failed(opened.old[number], f"user{number % 2}")
        assert opened.state == "closed"
        assert opened.breakers.known("m")[0].failures == 0


class TestRequestsInAnyOrder:
    @given(st.lists(st.tuples(st.integers(0, 70), st.sampled_from((*ENDINGS, "take")), st.integers(0, 8))))
    def test_only_the_probe_moves_a_circuit_that_is_not_closed(self, moves: list[tuple[int, str, int]]) -> None:
        opened = Opened()
        held, probe = opened.old[MOST:], opened.old[0]
        for seconds, move, number in moves:
            opened.clock.advance(seconds=seconds)
            if move != "take":
                before, ending = opened.breakers.known("m"), held[number % len(held)]
                opened.end(ending, move)
                if before[0].openings and ending is not probe:
                    assert opened.breakers.known("m") == before
            elif taken := opened.breakers.take("m"):
                held.append(taken)
                probe = taken if taken.probe else probe
        opened.clock.advance(seconds=opened.breakers.wait_s("m"))
        assert opened.breakers.take("m"), "a request goes out in the end"


class TestAProbeThatWasTakenForLost:
    @pytest.mark.parametrize("how", ENDINGS)
    def test_does_not_end_the_one_after_it(self, how: str) -> None:
        opened = Opened()
        opened.clock.advance(seconds=11)
        lost = opened.taken()
        opened.clock.advance(seconds=61)
        opened.taken()
        opened.end(lost, how)
        assert (opened.state, opened.breakers.take("m")) == ("half_open", None)


class TestAProbeThatSpoke:
    def test_and_fails_behind_its_text_is_one_failure_of_a_closed_circuit(self) -> None:
        opened = Opened()
        opened.clock.advance(seconds=11)
        probe = opened.taken()
        opened.end(probe, "spoke")
        opened.end(probe, "failed")
        assert (opened.state, opened.breakers.known("m")[0].failures) == ("closed", 1)


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

    @pytest.mark.parametrize("leaves", [True, False])
    def test_that_is_a_fallbacks_makes_room_when_its_user_leaves_before_it_is_sent(self, leaves: bool) -> None:
        """The user hears of the other try, and leaves or stops just then."""
        with replying(*[BUSY] * MOST, BUSY, BUSY, ANSWER) as vendor:
            desk = Desk(vendor)
            desk.opens("large")
            desk.clock.advance(seconds=10)
            call = VendorCall()
            answer = desk.gateway.stream(desk.question("small"), call)
            assert [next(answer), next(answer)] == [Silence()] * 2
            assert desk.breakers.take("large") is None, "the fallback is next, as a probe"
            if leaves:
                answer.close()
            else:
                call.stop()
                with pytest.raises(Stopped):
                    next(answer)
            assert vendor.asked == ["sim-small", "sim-small"]
            assert last(desk.ask("large")) == ("large", "")


class TestAFallbackBehindOnesThatRest:
    """m0 has four fallbacks, m1 to m4."""

    @staticmethod
    def ask(vendor: Replies, *, rest: int) -> list[ModelEvent]:
        desk = Desk(vendor)
        names = [f"m{number}" for number in range(5)]
        first, *others = [replace(desk.catalogue.get("large"), id=one, vendor_id=one, fallbacks=()) for one in names]
        first = replace(first, fallbacks=tuple(names[1:]))
        book = desk.catalogue.over({one.id: one for one in (first, *others)}, frozenset())
        lines = one_vendor(vendor.base_url)
        gateway = Gateway(book, lines=lines, health=desk.health, breakers=desk.breakers)
        for name in names[:rest]:
            for number in range(MOST):
                permit = desk.breakers.take(name)
                assert permit is not None
                desk.breakers.failed(permit, f"user{number}")
        return [*gateway.stream(replace(desk.question("large"), model=first), VendorCall())]

    @pytest.mark.parametrize("rest", [1, 3, 4])
    def test_answers_however_many_rest_before_it(self, rest: int) -> None:
        with replying(ANSWER) as vendor:
            assert last(self.ask(vendor, rest=rest)) == (f"m{rest}", "model_resting")

    def test_is_the_third_model_that_is_asked_at_most(self) -> None:
        with replying(BUSY) as vendor, pytest.raises(ModelFault):
            self.ask(vendor, rest=0)
        assert vendor.asked == ["m0", "m0", "m1", "m2"]

    def test_is_waited_for_where_all_rest(self) -> None:
        with replying(ANSWER) as vendor, pytest.raises(ModelResting):
            self.ask(vendor, rest=5)
        assert vendor.asked == []


class TestAnAnswerWithoutAText:
    def test_has_no_time_of_its_first_text(self) -> None:
        with replying(stream(END, b"data: [DONE]\n\n")) as vendor:
            desk = Desk(vendor)
            desk.ask()
        recent = desk.health.recent("large")
        assert (recent.answered, recent.first_text_us) == (1, None)
