"""Idempotency over HTTP: one key, one answer, one charge, whatever the client repeats."""

from concurrent.futures import ThreadPoolExecutor

import requests

from e2e.person import Person, problem_of, text_of
from support.vendor import Vendor

QUESTION = "What is a ledger?"


def charges(person: Person) -> int:
    return sum(entry["kind"] == "settle" for entry in person.entries())


class TestAnsweredBefore:
    def test_as_json_is_the_same_answer_again(self, hurried: Person, vendor: Vendor) -> None:
        """T-64"""
        conversation = hurried.begin()
        first = hurried.ask(conversation, QUESTION, key="k")
        again = hurried.ask(conversation, QUESTION, key="k")
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.json()) == (200, first.json())
        assert len(vendor.requests()) == 1
        assert charges(hurried) == 1
        hurried.nothing_is_held()

    def test_as_a_stream_is_the_same_text_and_the_same_end(self, hurried: Person, vendor: Vendor) -> None:
        """T-64"""
        conversation = hurried.begin()
        with hurried.stream(conversation, QUESTION, key="k") as stream:
            first = stream.rest()
        with hurried.stream(conversation, QUESTION, key="k") as stream:
            assert stream.response.headers["Idempotent-Replayed"] == "true"
            again = stream.rest()
        assert text_of(again) == text_of(first)
        assert (again[0], again[-2:]) == (first[0], first[-2:])
        assert len(vendor.requests()) == 1
        assert charges(hurried) == 1

    def test_in_one_way_may_be_repeated_in_the_other(self, hurried: Person) -> None:
        conversation = hurried.begin()
        with hurried.stream(conversation, QUESTION, key="k") as stream:
            first = stream.rest()
        again = hurried.ask(conversation, QUESTION, key="k")
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["answer"] == text_of(first)
        assert again.json()["cost"] == first[-1].data["cost"]
        assert charges(hurried) == 1

    def test_with_another_body_is_refused(self, hurried: Person) -> None:
        conversation = hurried.begin()
        assert hurried.ask(conversation, QUESTION, key="k").status_code == 200
        for refused in (
            hurried.ask(conversation, "Something else", key="k"),
            hurried.ask(conversation, QUESTION, key="k", model="large"),
            hurried.ask(conversation, QUESTION, key="k", max_cost="5"),
        ):
            assert (refused.status_code, problem_of(refused)["code"]) == (422, "idempotency_key_reused")
        assert charges(hurried) == 1

    def test_is_still_answered_when_the_money_is_gone(self, hurried: Person) -> None:
        """A replay costs nothing, so it is not refused for want of credits."""
        conversation = hurried.begin()
        first = hurried.ask(conversation, QUESTION, key="k").json()
        rest = hurried.balance()["available"]
        held = hurried.call("POST", "/v1/credits/reserve", {"amount": rest, "purpose": "all of it"})
        assert held.status_code == 201
        again = hurried.ask(conversation, QUESTION, key="k")
        assert (again.status_code, again.json()) == (200, first)

    def test_by_somebody_else_is_nobodys_business(self, hurried: Person, other: Person) -> None:
        """Keys are the caller's own."""
        mine, theirs = hurried.begin(), other.begin()
        first = hurried.ask(mine, QUESTION, key="k").json()
        second = other.ask(theirs, QUESTION, key="k")
        assert "Idempotent-Replayed" not in second.headers
        assert second.json()["message_id"] != first["message_id"]


class TestStillRunning:
    def test_is_refused_until_it_is_over(self, person: Person, vendor: Vendor, mark: str) -> None:
        """T-64: a repeat does not start a second stream beside the first."""
        vendor.arrange("stall-after=4", contains=mark)
        conversation, content = person.begin(), f"{QUESTION} {mark}"
        with person.stream(conversation, content, key="k") as stream:
            frames = stream.until("delta")
            refused = person.ask(conversation, content, key="k")
            assert (refused.status_code, problem_of(refused)["code"]) == (409, "idempotency_in_progress")
            other = person.ask(conversation, "Something else", key="k")
            assert (other.status_code, problem_of(other)["code"]) == (422, "idempotency_key_reused")
            person.cancel(frames[0].data["message_id"])
            frames += stream.rest()
        again = person.ask(conversation, content, key="k")
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.json()["finish_reason"], again.json()["answer"]) == ("cancelled", text_of(frames))
        assert charges(person) == 1
        person.nothing_is_held()

    def test_of_five_at_once_one_is_answered(self, hurried: Person, vendor: Vendor) -> None:
        """T-64, T-33: five processes, none of which has seen the key, on an account that does not exist yet."""
        conversation = hurried.begin()

        def ask(_: int) -> requests.Response:
            return hurried.ask(conversation, QUESTION, key="k")

        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(ask, range(5)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        fresh = [answer for answer in answers if answer.ok and "Idempotent-Replayed" not in answer.headers]
        assert len(fresh) == 1
        assert len(vendor.requests()) == 1
        assert charges(hurried) == 1
        hurried.nothing_is_held()


class TestFailedBefore:
    def test_may_try_again_under_the_same_key(self, person: Person, vendor: Vendor, mark: str) -> None:
        """T-11: a failure that cost nothing is no answer; the repeat is a new attempt with its own reservation."""
        vendor.arrange("status=503", times=3, contains=mark)
        conversation, content = person.begin(), f"{QUESTION} {mark}"
        failed = person.ask(conversation, content, key="k")
        assert failed.status_code == 503
        again = person.ask(conversation, content, key="k")
        assert (again.status_code, again.json()["status"]) == (200, "done")
        assert "Idempotent-Replayed" not in again.headers
        assert charges(person) == 1
        person.nothing_is_held()


class TestReservations:
    def test_of_one_key_are_one(self, person: Person) -> None:
        """T-64: the generic record, through both ways in, at once."""
        body = {"amount": "10", "purpose": "test"}

        def reserve(_: int) -> requests.Response:
            return person.call("POST", "/v1/credits/reserve", body, {"Idempotency-Key": "k"})

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(reserve, range(4)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        assert person.balance()["reserved"] == "10"
        refused = person.call("POST", "/v1/credits/reserve", {**body, "amount": "11"}, {"Idempotency-Key": "k"})
        assert (refused.status_code, problem_of(refused)["code"]) == (422, "idempotency_key_reused")
