"""Firestore over its REST API, as the emulator's owner: what really stands there, without any of the app's code."""

from dataclasses import dataclass
from typing import Final

import requests

from e2e.person import Json
from emulators.suite.places import HOST, PROJECT
from support.clients import OWNER
from support.suite import RunningSuite

_WRITES: Final = 500
"""Firestore takes so many in one commit."""


@dataclass(frozen=True)
class Documents:
    """All documents; paths are relative to the root."""

    suite: RunningSuite

    def read(self, path: str) -> Json:
        answer = requests.get(self.address(path), headers=OWNER, timeout=30)
        assert answer.status_code == 200, answer.text
        return _map({"fields": answer.json().get("fields", {})})

    def raw(self, path: str) -> Json:
        """The document in the words of Firestore's API, as an event carries it."""
        document: Json = requests.get(self.address(path), headers=OWNER, timeout=30).json()
        return document

    def children(self, path: str) -> list[Json]:
        """The documents of a collection, by name."""
        answer = requests.get(self.address(path), params={"pageSize": "300"}, headers=OWNER, timeout=30).json()
        assert "nextPageToken" not in answer
        return [_map({"fields": each["fields"]}) for each in answer.get("documents", [])]

    def change(self, path: str, **changed: object) -> None:
        """Replaces some fields, as only somebody who goes around the app can."""
        mask = [("updateMask.fieldPaths", name) for name in changed]
        body = {"fields": {name: _encode(value) for name, value in changed.items()}}
        answer = requests.patch(self.address(path), params=mask, json=body, headers=OWNER, timeout=30)
        assert answer.status_code == 200, answer.text

    def seen(self, path: str) -> tuple[Json, str]:
        """A document, and when it was last written."""
        document = self.raw(path)
        return _map({"fields": document["fields"]}), str(document["updateTime"])

    def change_unmoved(self, path: str, seen_at: str, **changed: object) -> bool:
        """As `change`, but only over exactly what was seen; whether it still stood there."""
        document = {"name": self._name(path), "fields": {name: _encode(value) for name, value in changed.items()}}
        # In a commit, because the emulator reads a time in the parameters of a PATCH as zero.
        write = {
            "update": document,
            "updateMask": {"fieldPaths": [*changed]},
            "currentDocument": {"updateTime": seen_at},
        }
        answer = requests.post(self._committing, json={"writes": [write]}, headers=OWNER, timeout=30)
        assert answer.ok or answer.json()["error"]["status"] == "FAILED_PRECONDITION", answer.text
        return answer.ok

    def copy(self, path: str, copies: int) -> None:
        """So many more like this one beside it, under names of their own."""
        original = self.raw(path)
        for first in range(0, copies, _WRITES):
            writes = [
                {"update": {"name": f"{original['name']}_{number}", "fields": original["fields"]}}
                for number in range(first, min(first + _WRITES, copies))
            ]
            answer = requests.post(self._committing, json={"writes": writes}, headers=OWNER, timeout=60)
            assert answer.status_code == 200, answer.text

    def delete(self, path: str) -> None:
        assert requests.delete(self.address(path), headers=OWNER, timeout=30).status_code == 200

    def address(self, path: str) -> str:
        """Where a document or collection is."""
        return f"{self._origin}/v1/{self._name(path)}"

    def _name(self, path: str) -> str:
        return f"projects/{PROJECT}/databases/(default)/documents/{path}"

    @property
    def _committing(self) -> str:
        return f"{self._origin}/v1/projects/{PROJECT}/databases/(default)/documents:commit"

    @property
    def _origin(self) -> str:
        return f"http://{HOST}:{self.suite.ports.firestore}"


def _decode(value: Json) -> object:
    [(kind, inner)] = value.items()
    match kind:
        case "integerValue":
            return int(str(inner))
        case "nullValue":
            return None
        case "mapValue":
            assert isinstance(inner, dict)
            return _map(inner)
        case "arrayValue":
            assert isinstance(inner, dict)
            return [_decode(each) for each in inner.get("values", [])]
        case "stringValue" | "booleanValue" | "timestampValue":
            return inner
    raise AssertionError(f"no ledger holds a {kind}")


def _map(value: Json) -> Json:
    fields = value.get("fields", {})
    assert isinstance(fields, dict)
    return {name: _decode(each) for name, each in fields.items()}


def _encode(value: object) -> Json:
    if value is None:
        return {"nullValue": None}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"integerValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_encode(each) for each in value]}}
    assert isinstance(value, dict), f"nothing writes a {type(value).__name__}"
    return {"mapValue": {"fields": {name: _encode(each) for name, each in value.items()}}}
