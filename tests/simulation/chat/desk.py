"""A device with which somebody works on a conversation: each request is answered with JSON, or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from app.kit.errors import Unavailable
from simulation.devices import Http, Told
from simulation.instance import Backend

Json = Mapping[str, object]
FAILED: Final = ("model_broke", "model_busy", "model_timeout", "model_unavailable", "model_refused", "empty_answer")
"""Codes with which an answer ends that failed."""


class Unsaid(Unavailable):
    """A message that was not answered, and the code that tells `why`."""

    def __init__(self, told: Told) -> None:
        super().__init__(str(told.fields.get("detail")))
        self.why = str(told.fields.get("code"))


@dataclass(frozen=True)
class Desk(Http):
    """An `Http` device that knows all that can be done with a conversation."""

    def says(self, backend: Backend, path: str, body: Json, key: str) -> Json:
        """Sends a message or has one answered anew: the turn."""
        headers = {"Idempotency-Key": key}
        answer = self._ask(backend, "POST", path, body, headers)
        told = Told(answer.status, answer.whole().decode(), "Idempotent-Replayed" in answer.headers)
        if told.status >= 400:
            raise Unsaid(told)
        return told.fields

    def read(self, backend: Backend, path: str, query: str = "") -> Json:
        """What is there."""
        return self._told(self._ask(backend, "GET", path, query=query)).fields

    def change(self, backend: Backend, conversation: str, changes: Json) -> Json:
        """The conversation after the changes."""
        return self._told(self._ask(backend, "PATCH", f"/v1/chat/conversations/{conversation}", changes)).fields

    def search(self, backend: Backend, words: str) -> Json:
        """The turns and titles with these words."""
        return self.read(backend, "/v1/chat/search", f"q={quote(words)}&limit=50")
