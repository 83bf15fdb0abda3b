"""Events that come twice, late, shuffled: the mirror of the balance ends where its source stands."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import requests

from e2e import node
from e2e.documents import Documents
from e2e.person import Json, Person
from emulators.suite.places import HOST, PROJECT, origin
from support.clients import OWNER
from support.suite import RunningSuite, User, eventually

CHANGES: Final = 6
WITHOUT_CONTROL: Final = "Google's emulator delivers as it likes"


def account_event(id: str, uid: str, document: Json) -> Json:
    """What Eventarc sends for a write to the account's document."""
    return {
        "specversion": "1.0",
        "id": id,
        "type": "google.cloud.firestore.document.v1.written",
        "source": f"//firestore.googleapis.com/projects/{PROJECT}/databases/(default)",
        "subject": f"documents/accounts/{uid}",
        "time": "2026-01-01T00:00:00.000001Z",
        "datacontenttype": "application/json",
        "document": f"accounts/{uid}",
        "database": "(default)",
        "namespace": "(default)",
        "project": PROJECT,
        "location": "nam5",
        "data": {"value": document},
    }


@pytest.fixture
def deliver(suite: RunningSuite) -> "Deliver":
    return Deliver(suite)


class Deliver:
    """Posts events to the trigger's function, as the emulators and Eventarc do."""

    def __init__(self, suite: RunningSuite) -> None:
        self._url = (
            f"{origin(suite.ports.functions)}/functions/projects/{PROJECT}/triggers/us-central1-mirror_balance-0"
        )

    def __call__(self, events: Sequence[Json], *, at_once: int = 1) -> None:
        with ThreadPoolExecutor(at_once) as pool:
            statuses = list(pool.map(self._post, events))
        assert statuses == [200] * len(events)

    def _post(self, event: Json) -> int:
        headers = {"Content-Type": "application/cloudevents+json"}
        return requests.post(self._url, json=event, headers=headers, timeout=60).status_code


@pytest.fixture
def history(person: Person, documents: Documents) -> list[Json]:
    """The account's document after each of a few changes, oldest first, once the mirror has seen them all."""
    path = f"accounts/{person.uid}"
    person.balance()
    states = [documents.raw(path)]
    for amount in range(1, CHANGES):
        held = person.call("POST", "/v1/credits/reserve", {"amount": str(amount), "purpose": "a change"})
        assert held.status_code == 201
        states.append(documents.raw(path))
    eventually(lambda: person.mirrored() == person.balance(), what="the mirror of the last change")
    return states


class TestTheMirrorOfTheBalance:
    def test_does_not_go_back_when_old_events_come_late(
        self, person: Person, history: list[Json], deliver: "Deliver"
    ) -> None:
        """T-44, T-46: each of them once more, the oldest last."""
        deliver([account_event(f"late-{index}", person.uid, state) for index, state in enumerate(history)][::-1])
        assert person.mirrored() == person.balance()

    @pytest.mark.parametrize("seed", range(3))
    def test_is_its_source_after_every_event_came_twice_in_any_order(
        self, suite: RunningSuite, person: Person, history: list[Json], deliver: "Deliver", seed: int
    ) -> None:
        """T-44, T-46: from nothing, each event twice, shuffled, three at a time in as many processes."""
        requests.delete(suite.database(f"users/{person.uid}/balance"), headers=OWNER, timeout=30)
        events = [account_event(f"e-{index}", person.uid, state) for index, state in enumerate(history)] * 2
        random.Random(seed).shuffle(events)
        deliver(events, at_once=3)
        assert person.mirrored() == person.balance()

    def test_takes_two_events_of_one_id_for_two(
        self, suite: RunningSuite, person: Person, history: list[Json], deliver: "Deliver"
    ) -> None:
        """T-45: functions that hear of one write share its id, so an id alone says nothing."""
        requests.delete(suite.database(f"users/{person.uid}/balance"), headers=OWNER, timeout=30)
        deliver([account_event("same", person.uid, state) for state in (history[0], history[-1])])
        assert person.mirrored() == person.balance()

    def test_is_right_after_one_event_even_if_all_others_were_lost(
        self, suite: RunningSuite, person: Person, history: list[Json], deliver: "Deliver"
    ) -> None:
        requests.delete(suite.database(f"users/{person.uid}/balance"), headers=OWNER, timeout=30)
        deliver([account_event("only", person.uid, history[-1])])
        assert person.mirrored() == person.balance()


class TestComingOnline:
    @pytest.fixture
    def rough(self, suite: RunningSuite) -> None:
        if not suite.can_wait_for_triggers:
            pytest.skip(WITHOUT_CONTROL)

    def test_opens_one_account_when_its_event_comes_seven_times(self, suite: RunningSuite, rough: None) -> None:
        """T-44, T-51: the database's trigger is delivered seven times, late and not one after another."""
        control = f"http://{HOST}:{suite.ports.database}/.control/faults"
        plan = {"duplicate": 1.0, "copies": 7, "delay": 1.0, "delay_ms": 100, "reorder": 1.0, "only": "open_account"}
        assert requests.put(control, json=plan, headers=OWNER, timeout=30).ok
        try:
            done = node.run(suite, "first_touch.mjs", doors=["presence"])
            suite.wait_for_triggers()
        finally:
            assert requests.delete(control, headers=OWNER, timeout=30).ok
        person = Person(suite, User(str(done["uid"]), "", "", str(done["idToken"])))
        assert [entry["reason"] for entry in person.entries()] == ["welcome"]
        person.nothing_is_held()
        eventually(lambda: person.mirrored() == person.balance(), what="the mirror")
