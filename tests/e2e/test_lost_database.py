"""All of the Realtime Database is lost, or lies, or does not answer: no money is, and what it showed comes back."""

from collections.abc import Iterator

import pytest
import requests

from e2e.person import Json, Person, text_of
from e2e.production import serving_api
from support.clients import OWNER
from support.framework import free_port
from support.suite import RunningSuite, eventually
from support.vendor import Vendor

QUESTION = "What is a ledger?"


def lose_everything(suite: RunningSuite) -> None:
    """As the owner of the database: the whole tree."""
    assert requests.delete(suite.database(""), headers=OWNER, timeout=30).status_code == 200
    assert requests.get(suite.database(""), headers=OWNER, timeout=30).json() is None


@pytest.fixture
def shown(hurried: Person) -> Iterator[Person]:
    """Someone who spent something, and whose mirror has seen it."""
    assert hurried.ask(hurried.begin(), QUESTION).status_code == 200
    eventually(lambda: hurried.mirrored() == hurried.balance(), what="the mirror")
    yield hurried
    hurried.nothing_is_held()


class TestLost:
    def test_costs_no_money_and_comes_back_with_the_next_change(self, suite: RunningSuite, shown: Person) -> None:
        before = shown.balance(), shown.entries()
        lose_everything(suite)
        assert (shown.balance(), shown.entries()) == before
        assert shown.mirrored() is None
        assert shown.ask(shown.begin(), QUESTION).status_code == 200
        eventually(lambda: shown.mirrored() == shown.balance(), what="the mirror of the next change")

    def test_is_rebuilt_on_demand(self, suite: RunningSuite, shown: Person) -> None:
        lose_everything(suite)
        synced = shown.call("POST", "/v1/credits/sync-balance")
        assert (synced.status_code, synced.json()) == (
            200,
            {"mirror_was": None, "authoritative": shown.balance(), "repaired": True},
        )
        assert shown.mirrored() == shown.balance()
        again = shown.call("POST", "/v1/credits/sync-balance").json()
        assert (again["repaired"], again["mirror_was"]) == (False, shown.balance())

    def test_under_a_running_answer_costs_nothing_but_the_live_text(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """The answer goes on over the response, is settled once, and can still be cancelled through the database."""
        vendor.arrange("stall-after=5", contains=mark)
        with person.stream(person.begin(), f"{QUESTION} {mark}") as stream:
            frames = stream.until("delta")
            lose_everything(suite)
            assert person.cancel(frames[0].data["message_id"]).status_code in (200, 202)
            frames += stream.rest()
        assert frames[-1].data["finish_reason"] == "cancelled"
        assert text_of(frames)
        assert [entry["kind"] for entry in person.entries()] == ["grant", "settle"]
        eventually(lambda: person.mirrored() == person.balance(), what="the mirror of the settlement")
        person.nothing_is_held()


class TestSilent:
    def test_database_does_not_keep_anybody_from_being_answered_and_charged(
        self, suite: RunningSuite, hurried: Person
    ) -> None:
        """The mirror is a comfort: without it the answer comes, is settled once and is in the ledger."""
        nowhere = f"127.0.0.1:{free_port()}"
        with serving_api(suite, FIREBASE_DATABASE_EMULATOR_HOST=nowhere) as address:
            person = hurried.through(address)
            conversation = person.begin()
            with person.stream(conversation, QUESTION) as stream:
                frames = stream.rest()
            assert (frames[-1].name, frames[-1].data["finish_reason"]) == ("done", "stop")
            turn = person.turn(conversation, frames[-1].data["message_id"])
        assert turn["cost"] == frames[-1].data["cost"]
        assert [entry["kind"] for entry in hurried.entries()] == ["grant", "settle"]
        hurried.nothing_is_held()


class TestLies:
    @pytest.mark.parametrize(
        "lie",
        [
            {"balance": "1000000", "available": "1000000"},
            {"updated_at": "2099-01-01T00:00:00.000000Z", "balance": "5"},
            {"sequence": 999, "balance": "5"},
            {"sequence": 999, "updated_at": "2099-01-01T00:00:00.000000Z", "balance": "5"},
        ],
        ids=["richer", "from the future", "ahead of its source", "ahead in everything"],
    )
    def test_are_no_money_and_are_repaired(self, suite: RunningSuite, shown: Person, lie: Json) -> None:
        """A mirror is never believed: not by the balance, not by a spend, and not by its own repair."""
        told = suite.database(f"users/{shown.uid}/balance")
        assert requests.patch(told, json=lie, headers=OWNER, timeout=30).ok
        assert shown.balance()["balance"] != lie["balance"]
        too_much = shown.call("POST", "/v1/credits/reserve", {"amount": "1000", "purpose": "believing the mirror"})
        assert too_much.status_code == 402
        repaired = shown.call("POST", "/v1/credits/sync-balance").json()
        assert repaired["repaired"] is True
        assert shown.mirrored() == shown.balance()
