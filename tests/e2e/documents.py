"""Firestore over its REST API, as the emulator's owner: what really stands there, without any of the app's code."""

from dataclasses import dataclass

import requests

from e2e.person import Json
from emulators.suite.places import HOST, PROJECT
from support.clients import OWNER
from support.suite import RunningSuite


@dataclass(frozen=True)
class Documents:
    """All documents; paths are relative to the root."""

    suite: RunningSuite

    def read(self, path: str) -> Json:
        answer = requests.get(self._url(path), headers=OWNER, timeout=30)
        assert answer.status_code == 200, answer.text
        return _map({"fields": answer.json().get("fields", {})})

    def raw(self, path: str) -> Json:
        """The document in the words of Firestore's API, as an event carries it."""
        document: Json = requests.get(self._url(path), headers=OWNER, timeout=30).json()
        return document

    def children(self, path: str) -> list[Json]:
        """The documents of a collection, by name."""
        answer = requests.get(self._url(path), params={"pageSize": "300"}, headers=OWNER, timeout=30).json()
        assert "nextPageToken" not in answer
        return [_map({"fields": each["fields"]}) for each in answer.get("documents", [])]

    def change(self, path: str, **changed: object) -> None:
        """Replaces some fields, as only somebody who goes around the app can."""
        mask = [("updateMask.fieldPaths", name) for name in changed]
        body = {"fields": {name: _encode(value) for name, value in changed.items()}}
        answer = requests.patch(self._url(path), params=mask, json=body, headers=OWNER, timeout=30)
        assert answer.status_code == 200, answer.text

    def delete(self, path: str) -> None:
        assert requests.delete(self._url(path), headers=OWNER, timeout=30).status_code == 200

    def _url(self, path: str) -> str:
        root = f"http://{HOST}:{self.suite.ports.firestore}/v1/projects/{PROJECT}/databases/(default)/documents"
        return f"{root}/{path}"


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
