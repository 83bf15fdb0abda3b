"""Clients that lie: wrong tokens, other people's ids, a key again with another body, bodies of the wrong shape.

Each lie is refused with a status of the 400s and changes nothing, which the auditor sees as everything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.api.auth import Principal
from app.kit.errors import InvariantViolation
from simulation.devices import Http, Told
from simulation.instance import Backend
from simulation.machine.kernel import Kernel

_NOT_NOW: Final = frozenset({409, 429, 503})
"""Answers that refuse nothing for good: somebody is faster, too much is asked, a store is away."""


@dataclass(frozen=True)
class Lie:
    """A request, and the statuses with which it may be refused."""

    method: str
    path: str
    refused: frozenset[int]
    body: Mapping[str, object] | None = None
    token: str | None = None
    key: str = ""


def lies(other: str, conversations: list[str], messages: list[str]) -> list[Lie]:
    """What may be tried against `other`, one of whose conversations and messages are known, or guessed."""
    theirs = conversations[-1] if conversations else "cnv-guessed"
    message = messages[-1] if messages else "msg-guessed"
    chat = f"/v1/chat/conversations/{theirs}"
    found = [
        Lie("GET", "/v1/credits/balance", frozenset({401}), token=f"token-{other}-root"),
        Lie("GET", "/v1/credits/balance", frozenset({401}), token="a.b.c"),
        Lie("POST", "/v1/chat/conversations", frozenset({401}), {}, token=""),
        Lie("GET", chat, frozenset({404})),
        Lie("GET", f"{chat}/messages", frozenset({404})),
        Lie("DELETE", chat, frozenset({404})),
        Lie("POST", f"{chat}/messages", frozenset({404}), {"content": "mine?"}, key="theirs"),
        Lie("POST", f"/v1/chat/messages/{message}/cancel", frozenset({404})),
        Lie("GET", "/v1/chat/conversations/..%2F..%2Faccounts", frozenset({400, 404, 422})),
        Lie("GET", "/v1/credits/breaches", frozenset({403})),
        Lie("POST", f"/v1/credits/breaches/account-{other}/resolve", frozenset({403}), {"reason": "x", "accept": True}),
    ]
    for field, value in (("amount", "-1"), ("amount", "1e9"), ("amount", None), ("purpose", 7), ("expires_in", -5)):
        body = {"amount": "1", "purpose": "api", "expires_in": 600, field: value}
        found.append(Lie("POST", "/v1/credits/reserve", frozenset({400, 402, 422, 429}), body, key=f"wrong {field}"))
    body = {"reservation_id": f"{message}.1"}
    found.append(Lie("POST", "/v1/credits/release-reservation", frozenset({404, 422}), body, key="theirs"))
    return found


class Liar:
    """A signed-in user who tries what they may not."""

    def __init__(self, kernel: Kernel, who: Principal, token: str, keyed: dict[str, list[Told]]) -> None:
        self._random = kernel.random
        self._hand = Http(kernel, who.uid, token, keyed)
        self._told = 0

    def lie(self, one: Lie) -> Callable[[Backend], None]:
        """Tells a lie; raises InvariantViolation when it is believed."""

        def tell(backend: Backend) -> None:
            answer = self._hand.raw(backend, one.method, one.path, one.body, one.token, one.key)
            if answer.status not in one.refused | _NOT_NOW:
                raise InvariantViolation(f"{one.method} {one.path} {one.body} was answered {answer.status}")

        return tell

    def repeat(self, key: str, path: str, bodies: tuple[Mapping[str, object], Mapping[str, object]]) -> "Repeat":
        """Sends a key with one body and then with another."""

        def tell(backend: Backend) -> None:
            first, second = (self._hand.raw(backend, "POST", path, body, None, key) for body in bodies)
            if first.status < 400 and second.status not in {422} | _NOT_NOW:
                raise InvariantViolation(f"{key} came with another body and was answered {second.status}")

        return tell


Repeat = Callable[[Backend], None]
