"""A person at the running suite: signs requests, reads streams, and counts what was charged independently of the app.

Refuses to know how the backend is built: what it knows is the OpenAPI document and the price list of GET /v1/models.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import requests

from support.clients import OWNER
from support.suite import RunningSuite, User, eventually

Json = dict[str, object]
_TIMEOUT_S: Final = 60
"""No answer of a healthy suite takes as long, cold worker included."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One Server-Sent Event."""

    name: str
    data: Json


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer on its way. `frames` may be read once, from one place."""

    response: requests.Response
    frames: Iterator[Frame]

    def until(self, name: str) -> list[Frame]:
        """Reads up to and including the first frame of that name."""
        seen = []
        for frame in self.frames:
            seen.append(frame)
            if frame.name == name:
                return seen
        raise AssertionError(f"the stream ended without {name!r}: {seen[-3:]}")

    def rest(self) -> list[Frame]:
        """All that is left."""
        return list(self.frames)


@dataclass(frozen=True)
class Person:
    """Someone who signed up, and their way to the API."""

    suite: RunningSuite
    user: User
    door: str = ""
    """Where `/v1` is; by default at the `api` function."""

    def through(self, door: str) -> "Person":
        """The same person, coming in through another door."""
        return replace(self, door=door)

    @property
    def api(self) -> str:
        return self.door or self.suite.api

    @property
    def uid(self) -> str:
        return self.user.uid

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """One request, `path` from `/v1` on."""
        signed = {**self.user.headers, **(headers or {})}
        return requests.request(method, f"{self.api}{path}", json=body, headers=signed, timeout=_TIMEOUT_S)

    def get(self, path: str) -> Json:
        """The JSON of a request that must succeed."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def begin(self) -> str:
        """A new conversation's id."""
        answer = self.call("POST", "/v1/chat/conversations", {})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def ask(self, conversation: str, content: str, *, key: str | None = None, **more: object) -> requests.Response:
        """A message, answered as JSON."""
        return self.call("POST", messages(conversation), {"content": content, **more}, _keyed(key))

    @contextmanager
    def stream(self, conversation: str, content: str, *, key: str | None = None, **more: object) -> Iterator[Stream]:
        """A message, answered as a stream. Leaving the context hangs up."""
        with requests.post(
            self.api + messages(conversation),
            json={"content": content, **more},
            headers={**self.user.headers, **_keyed(key), "Accept": "text/event-stream"},
            stream=True,
            timeout=_TIMEOUT_S,
        ) as response:
            yield Stream(response, _frames(response))

    def cancel(self, message_id: object) -> requests.Response:
        return self.call("POST", f"/v1/chat/messages/{message_id}/cancel")

    def turn(self, conversation: str, message_id: object) -> Json:
        """The turn as its owner's list shows it."""
        items = self.get(messages(conversation))["items"]
        assert isinstance(items, list)
        return next(turn for turn in items if turn["message_id"] == message_id)

    def ended(self, conversation: str, message_id: object) -> Json:
        """The turn, once it does not run any more."""

        def over() -> Json | None:
            turn = self.turn(conversation, message_id)
            return None if turn["status"] == "running" else turn

        return eventually(over, what=f"the end of {message_id}")

    def balance(self) -> Json:
        return self.get("/v1/credits/balance")

    def entries(self) -> list[Json]:
        """The whole history, oldest first (no test makes a hundred)."""
        items = self.get("/v1/credits/history?limit=100")["items"]
        assert isinstance(items, list)
        return items[::-1]

    def mirrored(self) -> object:
        """The balance in the Realtime Database now."""
        return requests.get(self.suite.database(f"users/{self.uid}/balance"), headers=OWNER, timeout=30).json()

    def shown(self, message_id: object, status: str) -> Json | None:
        """The live text of a message in the Realtime Database, when its status is this."""
        place = self.suite.database(f"users/{self.uid}/streams/{message_id}")
        found = requests.get(place, headers=OWNER, timeout=30).json()
        return found if isinstance(found, dict) and found["status"] == status else None

    def nothing_is_held(self) -> None:
        """Asserts that no reservation is open, the chain is whole, and the balance is the sum of its entries."""
        balance = self.balance()
        assert (balance["reserved"], balance["debt"]) == ("0", "0")
        assert balance["available"] == balance["balance"]
        entries = self.entries()
        assert sum(Decimal(str(entry["amount"])) for entry in entries) == Decimal(str(balance["balance"]))
        assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
        chain = self.get("/v1/credits/validate-chain")
        assert (chain["valid"], chain["sequence"], chain["balance"]) == (True, len(entries), balance["balance"])


def messages(conversation: str) -> str:
    """The path of a conversation's messages."""
    return f"/v1/chat/conversations/{conversation}/messages"


def text_of(frames: list[Frame]) -> str:
    """What a stream said."""
    return "".join(str(frame.data["text"]) for frame in frames if frame.name == "delta")


def problem_of(answer: requests.Response) -> Json:
    """The problem object (RFC 9457) of a refusal."""
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json", answer.text
    problem: Json = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return problem


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _frames(response: requests.Response) -> Iterator[Frame]:
    name = ""
    for line in response.iter_lines():
        field, _, value = line.decode().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield Frame(name, json.loads(value))
