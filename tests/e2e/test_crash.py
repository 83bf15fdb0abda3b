"""A function killed in the middle of an answer: nothing is charged, and nothing stays held (T-9)."""

from dataclasses import dataclass

import pytest
import requests

from e2e.documents import Documents
from e2e.person import Json, Person, problem_of, text_of
from support.suite import RunningSuite, eventually
from support.vendor import Vendor

QUESTION = "What is a ledger?"
LONG_AGO = "2020-01-01T00:00:00.000000Z"
KEY = "the-same-key"


@dataclass(frozen=True)
class Orphan:
    """A turn whose function is dead, and its owner."""

    person: Person
    documents: Documents
    conversation: str
    message: str
    content: str
    reserved: str

    @property
    def path(self) -> str:
        return f"users/{self.person.uid}/conversations/{self.conversation}/messages/{self.message}"

    def let_the_lease_of_the_turn_end(self) -> None:
        """As five minutes later: the function cannot be alive any more."""
        self.documents.change(self.path, lease_until=LONG_AGO)

    def let_the_reservation_expire(self) -> None:
        path = f"accounts/{self.person.uid}"
        reservations = self.documents.read(path)["reservations"]
        assert isinstance(reservations, list)
        expired = [{**reservation, "expires_at": LONG_AGO} for reservation in reservations]
        self.documents.change(path, reservations=expired, next_expiry_at=LONG_AGO)

    def ask_again(self) -> requests.Response:
        return self.person.ask(self.conversation, self.content, key=KEY)


AFTER_TEXT, BEFORE_TEXT = "stall-after=4", "timeout"


@pytest.fixture
def orphan(
    request: pytest.FixtureRequest,
    suite: RunningSuite,
    person: Person,
    documents: Documents,
    vendor: Vendor,
    mark: str,
) -> Orphan:
    """An answer whose worker is killed with SIGKILL, after the first text or (as a parameter) before."""
    moment = getattr(request, "param", AFTER_TEXT)
    vendor.arrange(moment, times=1, contains=mark)
    conversation, content = person.begin(), f"{QUESTION} {mark}"
    with person.stream(conversation, content, key=KEY) as stream:
        frames = stream.until("start")
        while moment == AFTER_TEXT and len(text_of(frames).split()) < 3:
            frames.append(next(stream.frames))
        assert suite.kill_workers("api") > 0
        # What is left of the stream is not read: the emulator's proxy keeps it open without a word.
    eventually(lambda: person.call("GET", "/v1/monitoring/health").ok, what="an answer of a new worker")
    start = frames[0].data
    return Orphan(person, documents, conversation, str(start["message_id"]), content, str(start["reserved"]))


def ended(orphan: Orphan) -> Json:
    """The turn after the sweep; asserts that nothing was charged and nothing is held."""
    orphan.person.nothing_is_held()
    assert [entry["kind"] for entry in orphan.person.entries()] == ["grant"]
    turn = orphan.person.turn(orphan.conversation, orphan.message)
    assert (turn["status"], turn["finish_reason"], turn["cost"]) == ("error", "error", "0")
    return turn


class TestKilledInTheMiddle:
    def test_charges_nothing_and_keeps_the_reservation_until_the_lease_ends(
        self, suite: RunningSuite, orphan: Orphan
    ) -> None:
        """T-9, T-84: it may still live for all that anybody knows, so neither sweep nor repeat takes it away."""
        assert suite.fire("sweep").ok
        balance = orphan.person.balance()
        assert (balance["balance"], balance["reserved"]) == ("1000", orphan.reserved)
        assert orphan.person.turn(orphan.conversation, orphan.message)["status"] == "running"
        again = orphan.ask_again()
        assert (again.status_code, problem_of(again)["code"]) == (409, "idempotency_in_progress")

    @pytest.mark.parametrize("orphan", [AFTER_TEXT, BEFORE_TEXT], indirect=True, ids=["after text", "before text"])
    def test_is_cleaned_up_by_the_sweep_and_the_same_key_works_again(self, suite: RunningSuite, orphan: Orphan) -> None:
        """T-9: after the sweep nothing is reserved, the turn says what happened, and so does the live text."""
        orphan.let_the_lease_of_the_turn_end()
        orphan.let_the_reservation_expire()
        assert suite.fire("sweep").ok
        turn = ended(orphan)
        error = turn["error"]
        assert isinstance(error, dict)
        assert (error["code"], error["status"]) == ("answer_interrupted", 503)
        shown = eventually(lambda: orphan.person.shown(orphan.message, "error"), what="the end of the live text")
        assert shown["cost"] == "0"
        again = orphan.ask_again()
        assert (again.status_code, again.json()["status"]) == (200, "done")
        assert again.json()["message_id"] == orphan.message
        assert "Idempotent-Replayed" not in again.headers
        assert orphan.ask_again().headers["Idempotent-Replayed"] == "true"
        assert [entry["kind"] for entry in orphan.person.entries()] == ["grant", "settle"]
        orphan.person.nothing_is_held()

    def test_is_cleaned_up_when_only_the_turn_is_due(self, suite: RunningSuite, orphan: Orphan) -> None:
        """T-9, T-38: whichever half of the sweep comes first."""
        orphan.let_the_lease_of_the_turn_end()
        assert suite.fire("sweep").ok
        ended(orphan)

    def test_is_cleaned_up_in_two_sweeps_when_the_reservation_is_due_first(
        self, suite: RunningSuite, orphan: Orphan
    ) -> None:
        """T-9, T-38"""
        orphan.let_the_reservation_expire()
        assert suite.fire("sweep").ok
        orphan.person.nothing_is_held()
        orphan.let_the_lease_of_the_turn_end()
        assert suite.fire("sweep").ok
        ended(orphan)

    def test_may_be_repeated_before_any_sweep_once_the_lease_is_over(self, suite: RunningSuite, orphan: Orphan) -> None:
        """T-11: the repeat gives back what the dead attempt held, and pays once."""
        orphan.let_the_lease_of_the_turn_end()
        again = orphan.ask_again()
        assert (again.status_code, again.json()["status"]) == (200, "done")
        assert suite.fire("sweep").ok
        assert [entry["kind"] for entry in orphan.person.entries()] == ["grant", "settle"]
        orphan.person.nothing_is_held()


def test_a_killed_trigger_is_made_up_for_by_the_next_change(suite: RunningSuite, person: Person) -> None:
    """T-44: the worker that mirrors balances dies with every change; the mirror is right after the next one."""
    person.balance()
    eventually(lambda: person.mirrored() == person.balance(), what="the first mirror")
    suite.kill_workers("mirror_balance")
    held = person.call("POST", "/v1/credits/reserve", {"amount": "10", "purpose": "a change"})
    assert held.status_code == 201
    body = {"reservation_id": held.json()["id"]}
    assert person.call("POST", "/v1/credits/release-reservation", body).status_code == 200
    eventually(lambda: person.mirrored() == person.balance(), what="the mirror of the last change")
