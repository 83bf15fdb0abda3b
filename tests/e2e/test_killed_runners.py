"""The workers of the queue are killed, again and again, over work of many commits: it ends whole and once (T-84)."""

from dataclasses import dataclass
from typing import Final

import pytest
import requests

from app.chat.deletion import NAME
from app.kit.ids import derived
from e2e.documents import Documents
from e2e.person import Json, Person, messages
from support.clients import OWNER
from support.suite import RunningSuite, eventually

CONVERSATIONS: Final = 3
MESSAGES: Final = 3000
KILLS: Final = 4
LONG_AGO: Final = "2020-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Deletion:
    """A conversation on its way out, and the operation that takes it."""

    suite: RunningSuite
    documents: Documents
    conversation: str
    place: str

    @property
    def operation(self) -> str:
        return derived("op", NAME, self.place)

    @property
    def state(self) -> object:
        return self.documents.read(f"operations/{self.operation}")["state"]

    def let_two_minutes_pass(self) -> None:
        """What waits is overdue, and what a worker held is over: unless it moved meanwhile."""
        path = f"operations/{self.operation}"
        stored, seen_at = self.documents.seen(path)
        lease = stored["lease"]
        if isinstance(lease, dict):
            expired = {**lease, "expires_at": LONG_AGO}
            self.documents.change_unmoved(path, seen_at, lease=expired, wake_at=LONG_AGO)
        elif stored["state"] == "queued":
            self.documents.change_unmoved(path, seen_at, wake_at=LONG_AGO)
        slots = self.suite.database("orchestration/slots/default/slots")
        for name, slot in (requests.get(slots, headers=OWNER, timeout=30).json() or {}).items():
            if slot.get("operation") == self.operation:
                slot_of_it = self.suite.database(f"orchestration/slots/default/slots/{name}")
                assert requests.delete(slot_of_it, headers=OWNER, timeout=30).ok

    def nothing_is_left(self) -> None:
        """Asserts that neither the conversation nor a message is there."""
        assert requests.get(self.documents.address(self.place), headers=OWNER, timeout=30).status_code == 404
        assert self.documents.children(f"{self.place}/messages") == []


@pytest.fixture
def admin(suite: RunningSuite) -> Person:
    return Person(suite, suite.create_user(claims={"role": "admin"}))


@pytest.fixture
def long(suite: RunningSuite, hurried: Person, documents: Documents) -> list[Deletion]:
    """Conversations with one answer that was paid for, and a great many like it."""
    made = []
    for _ in range(CONVERSATIONS):
        conversation = hurried.begin()
        answer = hurried.ask(conversation, "What is a ledger?")
        assert answer.status_code == 200, answer.text
        place = f"users/{hurried.uid}/conversations/{conversation}"
        documents.copy(f"{place}/messages/{answer.json()['message_id']}", MESSAGES)
        made.append(Deletion(suite, documents, conversation, place))
    return made


def shown(admin: Person, state: str) -> set[str]:
    """All operations in this state, as an administrator pages through them: other tests have made some, too."""
    found: set[str] = set()
    page = f"/v1/orchestration/operations?state={state}&limit=100"
    cursor: object = ""
    while cursor is not None:
        answer = admin.get(f"{page}&cursor={cursor}" if cursor else page)
        items, cursor = answer["items"], answer["next_cursor"]
        assert isinstance(items, list)
        found |= {item["id"] for item in items}
    return found


def killed_over_their_work(suite: RunningSuite, admin: Person, deletions: list[Deletion]) -> set[str]:
    """Waits for work, kills all workers of the queue with SIGKILL, and gives what still runs with nobody to run it."""
    eventually(
        lambda: any(one.state == "running" for one in deletions) or all(one.state == "succeeded" for one in deletions),
        what="a deletion that runs",
        within_s=60,
    )
    suite.kill_workers("run_operation")
    return shown(admin, "running") & {one.operation for one in deletions}


def history_makes_sense(operation: Json, *, was_killed: bool) -> None:
    """Asserts that every attempt but the last left a line, which says why it was not the last."""
    history = operation["history"]
    assert isinstance(history, list)
    assert any(line["outcome"] == "lost" for line in history) or not was_killed
    assert [line["attempt"] for line in history] == list(range(1, len(history) + 1))
    assert {line["outcome"] for line in history} <= {"lost", "failed"}, history
    assert operation["attempts"] == len(history) + 1


def test_every_deletion_ends_once_and_whole(
    suite: RunningSuite, hurried: Person, admin: Person, documents: Documents, long: list[Deletion]
) -> None:
    charged = hurried.entries()
    for one in long:
        assert hurried.call("DELETE", f"/v1/chat/conversations/{one.conversation}").status_code == 204
        assert hurried.call("GET", messages(one.conversation)).status_code == 404
    assert hurried.get("/v1/chat/conversations")["items"] == []

    hit: set[str] = set()
    for _ in range(KILLS):
        hit |= killed_over_their_work(suite, admin, long)
        for one in long:
            one.let_two_minutes_pass()
        assert suite.fire("sweep").ok
    assert hit, "no worker was killed over its work"
    eventually(lambda: all(one.state == "succeeded" for one in long), what="the end of all deletions", within_s=60)

    assert shown(admin, "succeeded") >= {one.operation for one in long}
    for one in long:
        operation = admin.get(f"/v1/orchestration/operations/{one.operation}")
        assert (operation["name"], operation["account"]) == (NAME, hurried.uid)
        history_makes_sense(operation, was_killed=one.operation in hit)
        one.nothing_is_left()
    assert admin.get(f"/v1/orchestration/audit-log?uid={hurried.uid}")["items"] == []
    tickets = requests.get(suite.database("orchestration/queue/default"), headers=OWNER, timeout=30).json() or {}
    assert not [name for name in tickets if any(one.operation in name for one in long)]
    assert hurried.entries() == charged
    hurried.nothing_is_held()
