"""A listener on the user's own subtree of the Realtime Database, with the user's own token: rules apply.

Speaks the REST API's streaming protocol (https://firebase.google.com/docs/reference/rest/database#section-streaming)
and keeps a copy of what it was pushed. It asks for nothing a second time: whatever it knows, the server sent by itself.
"""

import threading
from collections.abc import Callable
from typing import Any

import requests

from emulators.demo.backend import Json, events


class Listener:
    """A thread that follows one subtree. `on_push` may be set to hear of each push, from that thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.on_push: Callable[[], None] = lambda: None
        self._tree: Json = {}
        self._changed = threading.Condition()
        self.pushes = 0
        self.failure: str | None = None
        threading.Thread(target=self._follow, name="listener", daemon=True).start()

    @property
    def balance(self) -> Json:
        """/users/{uid}/balance, as last pushed; empty before the first."""
        with self._changed:
            return dict(self._tree.get("balance") or {})

    def stream(self, message_id: str) -> Json:
        """/users/{uid}/streams/{message_id}; empty while there is none."""
        with self._changed:
            return dict((self._tree.get("streams") or {}).get(message_id) or {})

    def message_ids(self) -> set[str]:
        """The streams that exist."""
        with self._changed:
            return set(self._tree.get("streams") or {})

    def text(self, message_id: str) -> str:
        """The chunks of a stream, joined in their order."""
        chunks = self.stream(message_id).get("chunks") or {}
        pieces = chunks.items() if isinstance(chunks, dict) else enumerate(chunks)
        return "".join(str(piece) for _, piece in sorted(pieces))

    def wait_for(self, fact: Callable[[], bool], within_s: float = 20) -> bool:
        """Waits until a push makes `fact` true; False when none did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: fact() or self.failure is not None, within_s) and fact()

    def _follow(self) -> None:
        try:
            with requests.get(
                self._url, headers={"Accept": "text/event-stream"}, stream=True, timeout=(20, 3600)
            ) as answer:
                answer.raise_for_status()
                for name, data in events(answer):
                    self._push(name, data)
        except requests.RequestException as error:
            self.failure = f"the listener was cut off: {type(error).__name__}"
        with self._changed:
            self._changed.notify_all()

    def _push(self, name: str, data: Json) -> None:
        if name not in ("put", "patch"):
            return
        with self._changed:
            place = [key for key in str(data["path"]).split("/") if key]
            if name == "put":
                self._put(place, data["data"])
            else:
                for path, value in data["data"].items():
                    self._put([*place, *path.split("/")], value)
            self.pushes += 1
            self._changed.notify_all()
        self.on_push()

    def _put(self, place: list[str], value: Any) -> None:
        if not place:
            self._tree = value or {}
            return
        node = self._tree
        for key in place[:-1]:
            child = node.get(key)
            if not isinstance(child, dict):
                child = node[key] = {}
            node = child
        if value is None:
            node.pop(place[-1], None)
        else:
            node[place[-1]] = value
