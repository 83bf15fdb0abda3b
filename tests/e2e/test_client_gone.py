"""A client that hangs up, met by the `api` function as production serves it: functions-framework, gunicorn, threads.

Not through the Functions emulator: its proxy keeps the connection to the function open when the client has left.
"""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from e2e.person import Person, Stream, text_of
from e2e.prices import most
from e2e.production import serving_api
from support.suite import RunningSuite
from support.vendor import Vendor

QUESTION = "What is a ledger?"


@pytest.fixture(scope="module")
def served(suite: RunningSuite) -> Iterator[str]:
    """Address of the `api` function, on the suite's stores."""
    with serving_api(suite) as address:
        yield address


@pytest.fixture
def person(served: str, person: Person) -> Person:
    return person.through(served)


def read_some(stream: Stream) -> object:
    """Reads until there is text. Returns the message id."""
    frames = stream.until("start")
    while len(text_of(frames).split()) < 3:
        frames.append(next(stream.frames))
    return frames[0].data["message_id"]


class TestClientGone:
    def test_in_the_middle_is_charged_for_what_came(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """T-1, T-30: hanging up is no way to pay nothing, and the vendor does not go on for nobody."""
        vendor.arrange("tokens-per-second=20", contains=mark)
        conversation = person.begin()
        with person.stream(conversation, f"{QUESTION} {mark}") as stream:
            message = read_some(stream)
        turn = person.ended(conversation, message)
        assert (turn["status"], turn["finish_reason"], turn["reason"]) == ("done", "cancelled", "client_gone_partial")
        assert 0 < Decimal(str(turn["cost"])) <= most(suite, vendor)
        assert vendor.requests()[-1]["client_aborted"]
        person.nothing_is_held()

    def test_while_the_vendor_is_silent_is_noticed_too(
        self, suite: RunningSuite, person: Person, vendor: Vendor, mark: str
    ) -> None:
        """T-30, T-9: nothing comes that could fail to be written, and still the turn ends and the vendor is left."""
        vendor.arrange("stall-after=6", contains=mark)
        conversation = person.begin()
        with person.stream(conversation, f"{QUESTION} {mark}") as stream:
            frames = stream.until("start")
            while text_of(frames) != "A ledger is an append-":
                frames.append(next(stream.frames))
        turn = person.ended(conversation, frames[0].data["message_id"])
        assert (turn["status"], turn["reason"]) == ("done", "client_gone_partial")
        person.nothing_is_held()
