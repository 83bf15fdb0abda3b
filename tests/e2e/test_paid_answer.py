"""A person's app on the JavaScript SDK: asks, sees the text grow and the balance change by itself."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from e2e import node
from e2e.person import Json, Person, messages, text_of
from e2e.prices import cost_of
from support.suite import RunningSuite
from support.vendor import Vendor

QUESTION = "What is a ledger?"


@dataclass(frozen=True)
class Shown:
    """A stream in the Realtime Database, as it stood at one moment."""

    status: str
    chunks: dict[str, str]


def shown(watched: Json) -> list[Shown]:
    """The one stream, each time that it changed."""
    values = [next(iter(value.values())) for value in _heard(watched, "streams")]
    return [Shown(value["status"], value.get("chunks", {})) for value in values]


def balances(watched: Json) -> list[dict[str, str]]:
    """The balance, each time that it changed."""
    return _heard(watched, "balance")


def _heard(watched: Json, what: str) -> list[dict[str, Any]]:
    seen = watched["seen"]
    assert isinstance(seen, list)
    return [each["value"] for each in seen if each["what"] == what and each["value"] is not None]


@pytest.fixture(scope="module", params=["function", "hosting"])
def watched(request: pytest.FixtureRequest, suite: RunningSuite) -> Json:
    """What an app saw that signed up, listened and asked over fetch, through either way in."""
    api = suite.api if request.param == "function" else f"{suite.hosting}/api"
    return node.run(suite, "paid_answer.mjs", question=QUESTION, api=api)


class TestOverFetch:
    def test_the_events_come_in_their_order(self, watched: Json) -> None:
        sent = watched["sent"]
        assert isinstance(sent, list)
        names = [frame["name"] for frame in sent]
        assert names == ["start", *["delta"] * (len(names) - 3), "usage", "done"]
        assert str(watched["type"]).startswith("text/event-stream")

    def test_text_is_on_the_screen_long_before_the_end(self, watched: Json) -> None:
        """T-90: chunks leave as they are made, over the response and over the Realtime Database."""
        seen = watched["seen"]
        assert isinstance(seen, list)
        order = [each["what"] for each in seen]
        assert 0 < order.index("delta") < order.index("done")
        growing = [stream.chunks for stream in shown(watched) if stream.status == "running"]
        assert len(growing) >= 4
        for before, after in pairwise(growing):
            assert before.items() <= after.items(), "chunks are appended, never rewritten"

    def test_the_chunks_are_the_answer(self, watched: Json) -> None:
        sent, stream = watched["sent"], watched["stream"]
        assert isinstance(sent, list) and isinstance(stream, dict)
        streamed = "".join(frame["data"]["text"] for frame in sent if frame["name"] == "delta")
        mirrored = "".join(stream["chunks"][key] for key in sorted(stream["chunks"]))
        assert streamed == mirrored
        assert "append-only" in streamed

    def test_the_balance_changes_by_itself(self, watched: Json) -> None:
        """T-28: while it streams the estimate is held, not spent; at the end the cost is spent and nothing held."""
        seen = balances(watched)
        held = [value for value in seen if value["reserved"] != "0"]
        assert held, "the reservation was shown while the answer streamed"
        assert {value["balance"] for value in held} == {"1000"}
        times = [value["updated_at"] for value in seen]
        assert times == sorted(times)
        assert watched["mirrored"] == watched["balance"]

    def test_what_is_charged_is_the_usage_at_the_list_price(self, suite: RunningSuite, watched: Json) -> None:
        sent, balance = watched["sent"], watched["balance"]
        assert isinstance(sent, list) and isinstance(balance, dict)
        usage, done = sent[-2]["data"], sent[-1]["data"]
        assert Decimal(done["cost"]) == cost_of(suite, sent[0]["data"]["model"], usage)
        assert Decimal(balance["balance"]) == 1000 - Decimal(done["cost"])
        assert balance["available"] == done["available"]
        stream = watched["stream"]
        assert isinstance(stream, dict)
        assert (stream["cost"], stream["finish_reason"], stream["model"]) == (done["cost"], "stop", "small")


class TestStreaming:
    @pytest.mark.parametrize("door", ["function", "hosting"])
    def test_the_first_byte_comes_before_the_last_token_exists(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str, door: str
    ) -> None:
        """T-90: the vendor stops after five tokens until we go on, and we have read them by then."""
        vendor.arrange("stall-after=5", contains=mark)
        through = person if door == "function" else person.through(f"{suite.hosting}/api")
        conversation = through.begin()
        with through.stream(conversation, f"{QUESTION} {mark}") as stream:
            seen = stream.until("start")
            while len(text_of(seen).split()) < 3:
                seen.append(next(stream.frames))
            assert [request["state"] for request in vendor.requests(wait_ms=None)] == ["running"]
            assert through.cancel(seen[0].data["message_id"]).status_code in (200, 202)
            assert stream.rest()[-1].data["finish_reason"] == "cancelled"

    def test_a_whole_answer_is_what_its_stream_says(self, person: Person, other: Person) -> None:
        conversation = person.begin()
        whole = person.ask(conversation, QUESTION)
        assert whole.status_code == 200
        elsewhere = other.begin()
        with other.stream(elsewhere, QUESTION) as stream:
            frames = stream.rest()
        answer = whole.json()
        assert text_of(frames) == answer["answer"]
        assert frames[-1].data["cost"] == answer["cost"]
        turn = person.turn(conversation, answer["message_id"])
        assert {**turn, **answer} == turn, "a list tells of its place in the tree as well"

    def test_a_conversation_goes_on(self, person: Person) -> None:
        conversation = person.begin()
        first = person.ask(conversation, "My name is Ada. What is a ledger?").json()
        second = person.ask(conversation, "What is my name?").json()
        assert "Ada" in second["answer"]
        assert second["usage"]["input_tokens"] > first["usage"]["output_tokens"]
        listed = person.get(messages(conversation))["items"]
        assert isinstance(listed, list)
        assert [turn["message_id"] for turn in listed] == [second["message_id"], first["message_id"]]
        assert len(person.entries()) == 3
        person.nothing_is_held()


@pytest.fixture(scope="module")
def called(suite: RunningSuite) -> Json:
    """What an app got that used `httpsCallable`."""
    return node.run(suite, "callables.mjs", question=QUESTION)


class TestCallables:
    def test_get_balance_is_the_route(self, called: Json) -> None:
        first, last = called["first"], called["last"]
        assert isinstance(first, dict) and isinstance(last, dict)
        assert first["data"]["balance"] == "1000"
        assert last["data"] == called["balance"]

    def test_send_message_answers_whole_and_streams_through_the_database(self, called: Json) -> None:
        answer, streams = called["answer"], called["streams"]
        assert isinstance(answer, dict) and isinstance(streams, dict)
        [(message_id, stream)] = streams.items()
        assert answer["data"]["message_id"] == message_id
        assert answer["data"]["answer"] == "".join(stream["chunks"][key] for key in sorted(stream["chunks"]))
        assert answer["data"]["cost"] == stream["cost"]

    def test_the_same_key_is_charged_once(self, called: Json) -> None:
        assert called["again"] == called["answer"]
        answer, balance = called["answer"], called["balance"]
        assert isinstance(answer, dict) and isinstance(balance, dict)
        assert Decimal(balance["balance"]) == 1000 - Decimal(answer["data"]["cost"])
        assert balance["reserved"] == "0"

    @pytest.mark.parametrize(
        ("call", "code", "problem"),
        [
            ("reused", "functions/invalid-argument", "idempotency_key_reused"),
            ("elsewhere", "functions/not-found", "not_found"),
            ("invalid", "functions/invalid-argument", "validation_failed"),
            ("greedy", "functions/invalid-argument", "max_cost_too_low"),
        ],
    )
    def test_refusals_are_typed_and_carry_the_problem(self, called: Json, call: str, code: str, problem: str) -> None:
        refused = called[call]
        assert isinstance(refused, dict)
        assert (refused["code"], refused["details"]["code"]) == (code, problem)
        assert refused["details"].keys() >= {"type", "title", "status", "detail", "code", "request_id"}
