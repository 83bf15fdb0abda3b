"""A user's device: what it asks of an instance, through the HTTP API, a client SDK's callables, or the use cases.

All three mean the same; what they answer is told in one way. A refusal or a fault is raised as the `Failure` that the
client can make of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

import flask
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError

from app.api.auth import Principal
from app.chat.attempt import Over, Text
from app.chat.opening import Ask
from app.chat.service import Chat, ConversationDraft
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.errors import Failure, InvariantViolation, Rejection, Unavailable
from app.kit.money import from_decimal, to_decimal
from app.metering.billing import Mode
from simulation.edge import HttpAnswer, HttpRequest, serve
from simulation.instance import Backend
from simulation.machine.kernel import Kernel

_RESERVED_FOR_S: Final = 600


class Refusal(Rejection):
    """An answer of the 400s."""

    def __init__(self, answer: "Told") -> None:
        super().__init__(str(answer.fields.get("detail")), status=answer.status, code=answer.fields.get("code"))
        self.answer = answer


@dataclass(frozen=True)
class Told:
    """An answer over HTTP, read to its end. `replayed`: it says that it is a repetition."""

    status: int
    text: str
    replayed: bool

    @property
    def fields(self) -> Mapping[str, object]:
        """The JSON object."""
        return cast(Mapping[str, object], json.loads(self.text)) if self.text else {}


@dataclass(frozen=True)
class Reading:
    """How a client reads an answer: `text` says whether to hang up, `over` is told id, state, cost and whole text."""

    text: Callable[[str], bool]
    over: Callable[[str, str, int, str], None]


@dataclass(frozen=True)
class Direct:
    """Calls use cases in the instance."""

    kernel: Kernel
    uid: str
    token: str = ""
    keyed: dict[str, list[Told]] = field(default_factory=dict)
    """By idempotency key, what was answered over HTTP."""

    def begin(self, backend: Backend) -> str:
        """A new conversation's id."""
        return _chat(backend).create(self.uid, ConversationDraft()).id

    def delete(self, backend: Backend, conversation: str) -> None:
        """Takes a conversation away."""
        _chat(backend).delete(self.uid, conversation)

    def cancel(self, backend: Backend, message: str) -> None:
        """Stops an answer."""
        _chat(backend).cancel(self.uid, message)

    def answer(self, backend: Backend, ask: Ask, mode: Mode, reading: Reading) -> None:
        """Sends a message and reads its answer."""
        answer, texts = _chat(backend).answer(ask, mode), list[str]()
        for event in answer:
            self.kernel.pause("client reads")
            if isinstance(event, Text):
                texts.append(event.text)
                if reading.text(event.text) and mode is Mode.STREAM:
                    answer.close()
                    return
            if isinstance(event, Over):
                reading.over(event.turn.id, event.end.state, event.end.cost, "".join(texts))

    def look(self, backend: Backend) -> None:
        """Asks for the balance."""
        backend.credits.balance(self.uid)

    def claim(self, backend: Backend, key: str) -> None:
        """Claims the welcome bonus."""
        backend.system.bonus.claim(self.uid, None)

    def hold(self, backend: Backend, key: str, amount: int) -> str:
        """Sets credits aside; the reservation's id."""
        reference = Reference("run", "x")
        backend.credits.reserve(self.uid, Reserve(key, amount, 1, "api", reference, _RESERVED_FOR_S * 1_000_000))
        return key

    def let_go(self, backend: Backend, key: str, reservation: str) -> None:
        """Gives them back."""
        backend.credits.release(self.uid, reservation, "unused")


@dataclass(frozen=True)
class Callables(Direct):
    """Calls what there is by name, as Firebase's SDKs do, and use cases for the rest."""

    def answer(self, backend: Backend, ask: Ask, mode: Mode, reading: Reading) -> None:
        data = {"conversation_id": ask.conversation_id, "idempotency_key": ask.key}
        _tell(self._call(backend, "send_message", {**data, **_body(ask)}), reading)

    def look(self, backend: Backend) -> None:
        self._call(backend, "get_balance", None)

    def claim(self, backend: Backend, key: str) -> None:
        self._call(backend, "claim_welcome_bonus", {"device_fingerprint": f"device of {self.uid}"})

    def _call(self, backend: Backend, name: str, data: object) -> Mapping[str, object]:
        auth = AuthData(self.uid, {"uid": self.uid})
        # Without a raw request it has no id of its client's, and gets one of ours.
        request = CallableRequest[object](data=data, raw_request=cast(flask.Request, None), auth=auth)
        try:
            return cast(Mapping[str, object], backend.system.call(name, request))
        except HttpsError as error:
            problem = json.dumps(error.details, default=str)
            raise _failure(Told(int(json.loads(problem)["status"]), problem, replayed=False)) from error


@dataclass(frozen=True)
class Http(Direct):
    """Speaks HTTP, with a token, keys, pages and streams."""

    def begin(self, backend: Backend) -> str:
        return str(self._told(self._ask(backend, "POST", "/v1/chat/conversations", {})).fields["id"])

    def delete(self, backend: Backend, conversation: str) -> None:
        self._told(self._ask(backend, "DELETE", f"/v1/chat/conversations/{conversation}"))

    def cancel(self, backend: Backend, message: str) -> None:
        self._told(self._ask(backend, "POST", f"/v1/chat/messages/{message}/cancel"))

    def answer(self, backend: Backend, ask: Ask, mode: Mode, reading: Reading) -> None:
        body = _body(ask)
        path = f"/api/v1/chat/conversations/{ask.conversation_id}/messages"
        headers = {"Idempotency-Key": str(ask.key)}
        if mode is Mode.STREAM:
            headers["Accept"] = "text/event-stream"
        answer = self._ask(backend, "POST", path, body, headers)
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            self._read(answer, reading)
        else:
            _tell(self._told(answer).fields, reading)

    def look(self, backend: Backend) -> None:
        """Balance, and all conversations page by page, each of them once."""
        self._told(self._ask(backend, "GET", "/v1/credits/balance"))
        seen, query = list[str](), "limit=2"
        while query:
            page = self._told(self._ask(backend, "GET", "/v1/chat/conversations", query=query)).fields
            seen += [str(one["id"]) for one in cast(list[Mapping[str, object]], page["items"])]
            query = f"limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        if len(seen) != len(set(seen)):
            raise InvariantViolation(f"a conversation is listed twice: {seen}")

    def claim(self, backend: Backend, key: str) -> None:
        body = {"device_fingerprint": f"device of {self.uid}"}
        self._keyed(backend, key, "/v1/credits/welcome-bonus", body)

    def hold(self, backend: Backend, key: str, amount: int) -> str:
        body = {"amount": to_decimal(amount), "purpose": "api", "expires_in": _RESERVED_FOR_S}
        return str(self._keyed(backend, key, "/v1/credits/reserve", body).fields["id"])

    def let_go(self, backend: Backend, key: str, reservation: str) -> None:
        self._keyed(backend, key, "/v1/credits/release-reservation", {"reservation_id": reservation})

    def raw(
        self,
        backend: Backend,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        token: str | None,
        key: str,
    ) -> Told:
        """Any request, with any token, and what is answered whatever it is."""
        hand = self if token is None else replace(self, token=token)
        answer = hand._ask(backend, method, path, body, {"Idempotency-Key": key} if key else None)
        return Told(answer.status, answer.whole().decode(), replayed=False)

    def _keyed(self, backend: Backend, key: str, path: str, body: Mapping[str, object]) -> Told:
        """A request that may be sent again under its key. What it is told is kept for the auditor."""
        answer = self._ask(backend, "POST", path, body, {"Idempotency-Key": key})
        told = Told(answer.status, answer.whole().decode(), "Idempotent-Replayed" in answer.headers)
        self.keyed.setdefault(key, []).append(told)
        if told.status >= 400:
            raise _failure(told)
        return told

    def _ask(
        self,
        backend: Backend,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> HttpAnswer:
        content = b"" if body is None else json.dumps(body).encode()
        return serve(backend.system, HttpRequest(method, path, self.token, content, query, headers))

    def _told(self, answer: HttpAnswer) -> Told:
        told = Told(answer.status, answer.whole().decode(), "Idempotent-Replayed" in answer.headers)
        if told.status >= 400:
            raise _failure(told)
        return told

    def _read(self, answer: HttpAnswer, reading: Reading) -> None:
        texts: list[str] = []
        for name, data in self._frames(answer):
            if name == "delta":
                texts.append(str(data["text"]))
                if reading.text(texts[-1]):
                    break
            elif name == "done" or (name == "error" and "cost" in data):
                cost = from_decimal(str(data["cost"]))
                reading.over(str(data["message_id"]), "done" if name == "done" else "error", cost, "".join(texts))
            elif name == "error":
                raise _failure(Told(int(str(data["status"])), json.dumps(data), replayed=False))
        answer.close()

    def _frames(self, answer: HttpAnswer) -> Iterator[tuple[str, Mapping[str, object]]]:
        for chunk in answer.body:
            self.kernel.pause("client reads")
            for frame in chunk.decode().split("\n\n"):
                head, _, data = frame.partition("\ndata: ")
                if data:
                    yield head.removeprefix("event: "), json.loads(data)


def _body(ask: Ask) -> dict[str, object]:
    """A message as JSON; what it leaves open is not named."""
    limit = None if ask.max_cost is None else to_decimal(ask.max_cost)
    given = {"content": ask.content, "model": ask.model, "max_cost": limit, "quote_id": ask.quote}
    return {name: value for name, value in given.items() if value is not None}


def _chat(backend: Backend) -> Chat:
    return backend.system.chat.service


def _tell(message: Mapping[str, object], reading: Reading) -> None:
    """A whole message as JSON."""
    text = str(message["answer"] or "")
    if text:
        reading.text(text)
    cost = from_decimal(str(message["cost"]))
    reading.over(str(message["message_id"]), str(message["status"]), cost, text)


def _failure(told: Told) -> Failure:
    if told.status == 503:
        return Unavailable(str(told.fields.get("detail")))
    if told.status >= 500:
        return InvariantViolation(f"answered {told.status}: {told.text}")
    return Refusal(told)


def device(kind: str, kernel: Kernel, who: Principal, token: str, keyed: dict[str, list[Told]]) -> Direct:
    """A device of one kind: `http`, `callables` or `direct`."""
    kinds: dict[str, type[Direct]] = {"http": Http, "callables": Callables, "direct": Direct}
    return kinds[kind](kernel, who.uid, token, keyed)
