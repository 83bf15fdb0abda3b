"""A vendor that misbehaves, met over HTTP: who is told what, and that nothing is charged that was not delivered."""

from decimal import Decimal

import pytest
import requests

from e2e.person import Frame, Json, Person, problem_of, text_of
from e2e.prices import cost_of
from support.suite import RunningSuite
from support.vendor import Vendor

QUESTION = "What is a ledger?"
FAST = "first-token-ms=0,tokens-per-second=max"


def streamed(person: Person, content: str) -> list[Frame]:
    with person.stream(person.begin(), content) as stream:
        assert stream.response.status_code == 200
        return stream.rest()


def untouched(person: Person) -> None:
    """Asserts that nothing was charged or held."""
    assert [entry["kind"] for entry in person.entries()] == ["grant"]
    person.nothing_is_held()


class TestBeforeTheFirstToken:
    @pytest.mark.parametrize("fault", ["status=503", "status=429,retry-after=1", "html", "reset", "error-after=0"])
    def test_is_a_problem_and_costs_nothing(self, person: Person, vendor: Vendor, mark: str, fault: str) -> None:
        """T-3, T-2: the fallback fails as well; an error's text is nobody's answer."""
        vendor.arrange(fault, times=None, contains=mark)
        refused = person.ask(person.begin(), f"{QUESTION} {mark}")
        problem = problem_of(refused)
        assert refused.status_code == 503
        assert str(problem["code"]).startswith("model_")
        assert int(refused.headers["Retry-After"]) > 0
        untouched(person)

    def test_is_an_error_event_when_the_stream_has_begun(self, person: Person, vendor: Vendor, mark: str) -> None:
        """T-9: the catch path of a stream settles too."""
        vendor.arrange("status=503", times=None, contains=mark)
        frames = streamed(person, f"{QUESTION} {mark}")
        assert [frame.name for frame in frames] == ["start", "error"]
        assert (frames[-1].data["status"], frames[-1].data["code"]) == (503, "model_busy")
        untouched(person)

    def test_of_our_own_key_is_not_the_callers(self, person: Person, vendor: Vendor, mark: str) -> None:
        """A vendor's 401 is not the caller's, and its words stay inside."""
        vendor.arrange("status=401", times=None, contains=mark)
        refused = person.ask(person.begin(), f"{QUESTION} {mark}")
        assert (refused.status_code, problem_of(refused)["code"]) == (503, "model_unavailable")
        assert "key" not in refused.text.lower()
        untouched(person)

    def test_is_hidden_by_a_fallback_that_is_charged_at_its_own_price(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """T-20: `small` fails, `large` answers and is paid; the reservation had covered the dearer one."""
        vendor.arrange("status=500", times=None, contains=mark, model="sim-small")
        vendor.arrange(FAST, times=None, contains=mark, model="sim-large")
        answer = person.ask(person.begin(), f"{QUESTION} {mark}").json()
        assert (answer["model"], answer["finish_reason"]) == ("large", "stop")
        assert Decimal(answer["cost"]) == cost_of(suite, "large", answer["usage"])
        assert Decimal(answer["cost"]) <= Decimal(answer["reserved"])
        person.nothing_is_held()


class TestAfterTheFirstToken:
    @pytest.mark.parametrize("fault", ["error-after=5", "disconnect-after=5", "truncate-after=5", "malformed-after=5"])
    def test_is_an_error_event_and_costs_nothing(self, person: Person, vendor: Vendor, mark: str, fault: str) -> None:
        """T-2, T-9"""
        vendor.arrange(fault, times=None, contains=mark)
        frames = streamed(person, f"{QUESTION} {mark}")
        error = frames[-1]
        assert (error.name, error.data["status"], error.data["cost"]) == ("error", 503, "0")
        assert error.data["transaction_id"] is None
        assert text_of(frames), "what was said before stays said"
        untouched(person)

    def test_leaves_the_turn_in_error_for_its_owner(self, person: Person, vendor: Vendor, mark: str) -> None:
        """T-27: what the user is told is what the ledger says."""
        vendor.arrange("error-after=5", times=None, contains=mark)
        conversation = person.begin()
        with person.stream(conversation, f"{QUESTION} {mark}") as stream:
            message = stream.rest()[-1].data["message_id"]
        turn = person.turn(conversation, message)
        assert (turn["status"], turn["finish_reason"], turn["cost"]) == ("error", "error", "0")
        error = turn["error"]
        assert isinstance(error, dict)
        assert "Nothing was charged" in error["detail"]


class TestUsage:
    @pytest.mark.parametrize("fault", ["usage=missing", "usage=null", "usage=zero", "usage=negative", "usage=absurd"])
    def test_that_cannot_be_used_is_charged_by_what_was_delivered(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str, fault: str
    ) -> None:
        """T-12, T-23: never nothing, never more than what was made really costs, and marked as an estimate."""
        vendor.arrange(f"{fault},{FAST}", contains=mark)
        answer = person.ask(person.begin(), f"{QUESTION} {mark}").json()
        assert (answer["estimated"], answer["reason"]) == (True, "usage_missing")
        [record] = vendor.requests()
        made: Json = {
            "input_tokens": record["prompt_tokens"],
            "output_tokens": record["tokens_generated"],
            "cached_tokens": 0,
        }
        assert 0 < Decimal(answer["cost"]) <= cost_of(suite, "small", made)
        person.nothing_is_held()

    @pytest.mark.parametrize(
        "fault", ["usage=cumulative", "usage=last-content", "usage=with-finish", "usage=usage-only"]
    )
    def test_is_counted_once_wherever_it_stands(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str, fault: str
    ) -> None:
        """T-12, T-13"""
        vendor.arrange(f"{fault},{FAST}", contains=mark)
        answer = person.ask(person.begin(), f"{QUESTION} {mark}").json()
        [record] = vendor.requests()
        assert answer["usage"] == {
            "input_tokens": record["prompt_tokens"],
            "output_tokens": record["tokens_generated"],
            "cached_tokens": 0,
        }
        assert Decimal(answer["cost"]) == cost_of(suite, "small", answer["usage"])
        assert not answer["estimated"]


class TestWhatIsSentUpstream:
    def test_is_never_more_than_what_is_reserved(self, suite: RunningSuite, hurried: Person, vendor: Vendor) -> None:
        """T-10: the reservation covers the worst case of the parameters that are really sent."""
        answer = hurried.ask(hurried.begin(), QUESTION).json()
        [record] = vendor.requests()
        params = record["params"]
        assert isinstance(params, dict)
        limit = params.get("max_completion_tokens") or params["max_tokens"]
        assert limit == answer["max_output_tokens"]
        worst: Json = {"input_tokens": record["prompt_tokens"], "output_tokens": limit, "cached_tokens": 0}
        for model in ("small", "large"):
            assert cost_of(suite, model, worst) <= Decimal(answer["ceiling"])

    def test_unpriced_models_are_refused_before_the_call(self, person: Person, vendor: Vendor) -> None:
        """T-18"""
        refused: requests.Response = person.ask(person.begin(), QUESTION, model="gpt-of-tomorrow")
        assert 400 <= refused.status_code < 500
        assert problem_of(refused)["code"] == "model_unknown"
        assert vendor.requests() == []
