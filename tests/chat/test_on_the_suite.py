"""A paid answer through the real emulators: streaming, cancel across processes, a killed function, the demo."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support.suite import RunningSuite, User, eventually

ROOT = Path(__file__).parents[2]


class Chat:
    """A user's conversation on the running suite."""

    def __init__(self, suite: RunningSuite, user: User) -> None:
        self.suite = suite
        self.user = user
        self.id = str(self.post("chat/conversations", {"model": "small"}).json()["id"])

    @property
    def messages(self) -> str:
        return f"chat/conversations/{self.id}/messages"

    def post(self, path: str, body: object, **headers: str) -> requests.Response:
        url = f"{self.suite.api}/v1/{path}"
        return requests.post(url, json=body, headers={**self.user.headers, **headers}, timeout=120)

    def get(self, path: str) -> dict[str, Any]:
        answer = requests.get(f"{self.suite.api}/v1/{path}", headers=self.user.headers, timeout=120)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def stream(self, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events as they come. Closing it hangs up."""
        headers = {**self.user.headers, "Accept": "text/event-stream"}
        with requests.post(
            f"{self.suite.api}/v1/{self.messages}", json={"content": content}, headers=headers, stream=True, timeout=120
        ) as answer:
            assert answer.status_code == 200, answer.text
            name = ""
            for line in answer.iter_lines(chunk_size=1):
                field, _, value = line.decode().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def turn(self) -> dict[str, Any]:
        """Its newest turn."""
        found: dict[str, Any] = self.get(self.messages)["items"][0]
        return found

    def arrange(self, fault: str, contains: str) -> None:
        """A fault at the vendor for the request that holds this text."""
        rule = {"fault": fault, "times": 1, "contains": contains}
        requests.post(f"{self.suite.models}/__sim/faults", json=rule, timeout=20).raise_for_status()

    def live(self, path: str) -> Any:
        """What the user sees in the Realtime Database, with the own token."""
        url = f"{self.suite.database(f'users/{self.user.uid}/{path}')}&auth={self.user.id_token}"
        answer = requests.get(url, timeout=20)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def chat(suite: RunningSuite, user: User) -> Chat:
    return Chat(suite, user)


def test_text_arrives_before_the_answer_is_over(chat: Chat) -> None:
    """T-90: nothing on the way holds the stream back until its end."""
    asked = f"slowly {chat.user.uid}"
    chat.arrange("first-token-ms=0,tokens-per-second=20", asked)
    arrived: list[float] = []
    names: list[str] = []
    for name, _ in chat.stream(asked):
        names.append(name)
        arrived.append(time.monotonic())
    assert (names[0], names[-1]) == ("start", "done")
    # A buffered stream would come within a moment; twenty tokens a second cannot.
    assert arrived[-1] - arrived[names.index("delta")] > 1


def test_everything_agrees_about_what_it_cost(chat: Chat) -> None:
    """T-28, T-46: receipt, ledger, balance and the live balance."""
    events = dict(chat.stream("What is a ledger?"))
    done = events["done"]
    balance = chat.get("credits/balance")
    assert done["available"] == balance["available"] == balance["balance"]
    verified = chat.get(f"credits/verify/{done['transaction_id']}")
    assert verified["valid"] is True
    assert verified["entry"]["reference"] == {"type": "message", "id": done["message_id"]}
    eventually(lambda: chat.live("balance") == balance, what="the live balance follows")
    stream = chat.live(f"streams/{done['message_id']}")
    assert (stream["status"], stream["finish_reason"], stream["cost"]) == ("done", "stop", done["cost"])
    chunks = stream["chunks"]
    assert "".join(chunks[key] for key in sorted(chunks)) == chat.turn()["answer"]


def test_a_cancel_reaches_another_process(chat: Chat) -> None:
    """The emulator serves the cancel in a process of its own; word goes through the Realtime Database."""
    asked = f"forever {chat.user.uid}"
    chat.arrange("stall-after=3", asked)
    message_id = ""
    last: tuple[str, dict[str, Any]] = ("", {})
    for name, data in chat.stream(asked):
        if name == "start":
            message_id = data["message_id"]
        if name == "delta" and message_id:
            answer = chat.post(f"chat/messages/{message_id}/cancel", {})
            assert answer.status_code == 202, answer.text
            message_id = ""
        last = name, data
    assert (last[0], last[1]["finish_reason"]) == ("done", "cancelled")
    assert last[1]["cost"] != "0"
    assert chat.get("credits/balance")["reserved"] == "0"


def test_hanging_up_is_not_free_and_leaves_nothing_reserved(chat: Chat) -> None:
    """T-1, T-30: through the emulator's proxy; the vendor is hung up on as well."""
    asked = f"bye {chat.user.uid}"
    chat.arrange("tokens-per-second=30", asked)
    events = chat.stream(asked)
    for name, _ in events:
        if name == "delta":
            break
    events.close()  # type: ignore[attr-defined]  # a generator
    turn = eventually(lambda: found if (found := chat.turn())["status"] != "running" else None, what="the turn ends")
    assert turn["finish_reason"] in ("cancelled", "stop")
    assert turn["cost"] != "0"
    assert chat.get("credits/balance")["reserved"] == "0"


def test_a_killed_function_costs_nothing_once_swept(chat: Chat) -> None:
    """T-9: the reservation lasts as long as the function may live; then the sweep ends the turn.

    The lease is longer than a test may wait, so the sweep's own effect is tested in `test_orphans.py`; here: the kill
    leaves a reservation that names its turn, a retry is told to wait, and nothing was charged.
    """
    asked = f"killed {chat.user.uid}"
    chat.arrange("stall-after=2", asked)
    started = threading.Event()

    def ask() -> None:
        try:
            for name, _ in chat.stream(asked):
                if name == "delta":
                    started.set()
        except requests.RequestException:
            started.set()

    # Nobody waits for its end: the emulator's proxy may keep a stream whose worker is dead open without a word.
    threading.Thread(target=ask, daemon=True).start()
    assert started.wait(60)
    chat.suite.kill_workers("api")
    balance = eventually(lambda: _answered(chat), what="a new instance answers")
    turn = chat.turn()
    assert turn["status"] == "running"
    assert balance["reserved"] == turn["reserved"] != "0"
    assert balance["balance"] == "1000"


def _answered(chat: Chat) -> dict[str, Any] | None:
    try:
        return chat.get("credits/balance")
    except requests.RequestException:
        return None


def test_a_callable_answers_whole(chat: Chat) -> None:
    url = chat.suite.function("send_message")
    data = {"conversation_id": chat.id, "content": "What is a ledger?", "idempotency_key": "once"}
    first = requests.post(url, json={"data": data}, headers=chat.user.headers, timeout=120)
    assert first.status_code == 200, first.text
    again = requests.post(url, json={"data": data}, headers=chat.user.headers, timeout=120)
    assert again.json() == first.json()
    turn = chat.turn()
    assert {**turn, **first.json()["result"]} == turn


def test_the_demo_plays(suite: RunningSuite) -> None:
    environment = {**os.environ, "PORT_OFFSET": str(suite.offset)}
    played = subprocess.run(
        [sys.executable, "-m", "emulators.demo"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
    )
    assert played.returncode == 0, played.stdout + played.stderr
    for words in (
        "bookkeeping",
        "receipt",
        "the chain is whole: 4 entries",
        "found out by its hash",
        "insufficient_credits",
    ):
        assert words in played.stdout
    assert "✗" not in played.stdout
