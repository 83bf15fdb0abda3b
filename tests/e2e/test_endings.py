"""Answers that are ended from outside: by the user, by by money that ran out."""

from decimal import Decimal

import requests

from e2e.person import Person, Stream, problem_of, text_of
from e2e.prices import most
from support.suite import RunningSuite, eventually
from support.vendor import Vendor

QUESTION = "What is a ledger?"
PRODUCED = 6


def read_all_but_the_end(stream: Stream) -> list[str]:
    """Start and text of an answer that stalls after PRODUCED tokens. Returns message id and text."""
    frames = stream.until("start")
    while len(text_of(frames).split()) < 3:
        frames.append(next(stream.frames))
    return [str(frames[0].data["message_id"]), text_of(frames)]


class TestCancelled:
    def test_from_a_second_connection_while_it_streams(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """T-1, T-30: the second request meets another process, which leaves word; what was produced is charged."""
        vendor.arrange(f"stall-after={PRODUCED}", contains=mark)
        conversation = person.begin()
        with person.stream(conversation, f"{QUESTION} {mark}") as stream:
            message, text = read_all_but_the_end(stream)
            told = person.cancel(message)
            assert (told.status_code, told.json()["status"]) == (202, "running")
            frames = stream.rest()
        done = frames[-1]
        assert (done.name, done.data["finish_reason"]) == ("done", "cancelled")
        assert 0 < Decimal(str(done.data["cost"])) <= most(suite, vendor)
        turn = person.turn(conversation, message)
        assert turn["answer"] == text + text_of(frames)
        assert (turn["status"], turn["reason"], turn["cost"]) == ("done", "cancelled_partial", done.data["cost"])
        assert vendor.requests()[-1]["client_aborted"], "the vendor was hung up on and makes nothing more"
        person.nothing_is_held()

    def test_again_or_too_late_says_how_it_ended(self, person: Person) -> None:
        answer = person.ask(person.begin(), QUESTION).json()
        for _ in range(2):
            late = person.cancel(answer["message_id"])
            assert (late.status_code, late.json()) == (
                200,
                {name: answer[name] for name in ("message_id", "status", "finish_reason", "cost", "transaction_id")},
            )
        person.nothing_is_held()

    def test_before_the_first_token_costs_nothing(self, person: Person, vendor: Vendor, mark: str) -> None:
        """T-3"""
        vendor.arrange("timeout", contains=mark)
        with person.stream(person.begin(), f"{QUESTION} {mark}") as stream:
            message = stream.until("start")[0].data["message_id"]
            assert person.cancel(message).status_code in (200, 202)
            done = stream.rest()[-1]
        assert (done.data["finish_reason"], done.data["cost"]) == ("cancelled", "0")
        assert [entry["kind"] for entry in person.entries()] == ["grant"]
        person.nothing_is_held()


class TestBudget:
    def leave(self, person: Person, credits: str) -> None:
        """Holds all but this much."""
        rest = Decimal(str(person.balance()["available"])) - Decimal(credits)
        held = person.call("POST", "/v1/credits/reserve", {"amount": f"{rest:f}", "purpose": "kept aside"})
        assert held.status_code == 201, held.text

    def test_shortens_the_answer_to_what_is_affordable_and_says_so(
        self, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """T-29"""
        self.leave(person, "0.08")
        vendor.arrange("ignore-max-tokens,first-token-ms=0", contains=mark)
        conversation = person.begin()
        with person.stream(conversation, f"Write a very long essay about ledgers. {mark}") as stream:
            frames = stream.rest()
        start, done = frames[0].data, frames[-1].data
        assert start["clamped"] is True
        assert Decimal(str(start["reserved"])) <= Decimal(str(start["ceiling"])) <= Decimal("0.08")
        assert (frames[-1].name, done["finish_reason"]) == ("done", "budget")
        assert 0 < Decimal(str(done["cost"])) <= Decimal(str(start["ceiling"]))
        turn = person.turn(conversation, start["message_id"])
        assert (turn["status"], turn["clamped"], turn["reason"]) == ("done", True, "budget_reached")
        usage = turn["usage"]
        assert isinstance(usage, dict)
        assert usage["output_tokens"] <= int(str(start["max_output_tokens"])) + 16, "one piece of text at most beyond"
        balance = person.balance()
        assert Decimal(str(balance["available"])) == Decimal("0.08") - Decimal(str(done["cost"]))

    def test_that_is_used_up_is_a_polite_402(self, suite: RunningSuite, person: Person, vendor: Vendor) -> None:
        """T-32, T-35: the vendor is not asked, and the refusal says what is missing and how to get it."""
        self.leave(person, "0.0005")
        conversation = person.begin()
        refused = person.ask(conversation, QUESTION)
        problem = problem_of(refused)
        assert (refused.status_code, problem["code"]) == (402, "insufficient_credits")
        required, available = Decimal(str(problem["required"])), Decimal(str(problem["available"]))
        assert available == Decimal("0.0005")
        assert Decimal(str(problem["shortfall"])) == required - available > 0
        assert problem["payment_options"]
        with person.stream(conversation, QUESTION) as stream:
            assert stream.response.status_code == 402
        data = {"data": {"conversation_id": conversation, "content": QUESTION}}
        called = requests.post(suite.function("send_message"), json=data, headers=person.user.headers, timeout=60)
        error = called.json()["error"]
        assert (error["status"], error["details"]["code"]) == ("FAILED_PRECONDITION", "insufficient_credits")
        assert error["details"]["required"] == problem["required"]
        assert vendor.requests() == []
        assert person.balance()["available"] == "0.0005"

    def test_of_the_caller_is_kept(self, person: Person) -> None:
        """`max_cost` bounds what is reserved and charged."""
        answer = person.ask(person.begin(), QUESTION, max_cost="0.06").json()
        assert Decimal(answer["reserved"]) <= Decimal(answer["ceiling"]) <= Decimal("0.06")
        assert Decimal(answer["cost"]) <= Decimal("0.06")
        refused = person.ask(person.begin(), QUESTION, max_cost="0.000001")
        assert (refused.status_code, problem_of(refused)["code"]) == (422, "max_cost_too_low")


def test_the_live_text_ends_as_the_turn_does(person: Person, vendor: Vendor, mark: str) -> None:
    """The stream in the Realtime Database says `cancelled` and the cost, as the turn does."""
    vendor.arrange(f"stall-after={PRODUCED}", contains=mark)
    with person.stream(person.begin(), f"{QUESTION} {mark}") as stream:
        message, _ = read_all_but_the_end(stream)
        person.cancel(message)
        done = stream.rest()[-1].data
    shown = eventually(lambda: person.shown(message, "done"), what="the end of the live text")
    assert (shown["finish_reason"], shown["cost"]) == ("cancelled", done["cost"])
