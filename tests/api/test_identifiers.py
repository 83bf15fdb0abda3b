"""What a client calls an id becomes a path in Firestore, which refuses some texts and finds others elsewhere."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError
from werkzeug.test import TestResponse

from app.api.openai.paths import is_door
from app.api.reference import openapi
from support.world import World

WORLD = World()
ADMIN = WORLD.client(WORLD.user("root", role="admin"))
assert ADMIN.get("/v1/credits/balance").status_code == 200
DOCUMENT = openapi.document(WORLD.app)

HOSTILE: Final = {
    "slash": "a/b",
    "another document": "bob/entries/000000000001",
    "dot": ".",
    "dots": "..",
    "up": "../accounts/bob",
    "reserved": "__x__",
    "long": "x" * 2_000,
    "empty": "",
    "nul": "a\0b",
    "newline": "a\n",
    "delete": "a\x7f",
    "path of the live tree": "a.b$c#d[e]",
}
"""No id of any kind."""
ODD: Final = {
    "letters": "łódź",
    "picture": "🙂",
    "blank": " ",
    "escaped": "a%2Fb",
    "bars": "a|b",
    "right to left": "\u202ea",
    "half a character": "a\ud800",
}
"""Ids of users may be these; other ids may not. Half a character is no JSON, and another letter in an address."""

FREE_TEXT: Final = {
    "excluded_providers.[]": "compared with the names of the catalogue",
    "q": "cut into words, which are looked up as values",
    "name": "stored as a value of the key",
    "stop": "sent to the vendor",
    "stop.[]": "sent to the vendor",
    "tools.[].function.name": "sent to the vendor",
    "tools.[].function.description": "sent to the vendor",
    "tool_choice.function.name": "sent to the vendor",
    "user": "dropped",
    "safety_identifier": "dropped",
    "prompt_cache_key": "dropped",
    "title": "stored as a value and never part of a path",
    "system_prompt": "stored as a value and sent to the vendor",
    "content": "stored as a value and sent to the vendor",
    "reason": "stored as a value",
    "purpose": "stored as a value of the reservation",
    "device_fingerprint": "hashed before it names a mark",
    "images.[]": "an address that the vendor fetches",
    "again": "hashed into the key of a delivery",
}
"""Texts that a client may choose freely, and why none of them can reach a path as it is."""
OTHER_FORMATS: Final = {"date-time", "cursor"}
"""Texts that are decoded before anything is done with them."""


@dataclass(frozen=True)
class Place:
    """One text in one request that a client writes."""

    method: str
    path: str
    where: str
    name: str
    schema: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.schema.get("format", ""))

    @property
    def closed(self) -> bool:
        """Whether the document lists what may stand here, or spells it without room for a path."""
        return bool({"enum", "const"} & self.schema.keys()) or (self.kind == "" and _is_amount(self.schema))

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.where} {self.name}"


def _is_amount(schema: dict[str, Any]) -> bool:
    return str(schema.get("pattern", "")).lstrip("^").removeprefix("-?").startswith("(0|[1-9]")


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = DOCUMENT
        for part in schema["$ref"][2:].split("/"):
            target = target[part]
        schema = target
    return schema


def texts(name: tuple[str, ...], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = resolved(schema)
    for choice in schema.get("anyOf", []):
        yield from texts(name, choice)
    if schema.get("type") == "string":
        yield ".".join(name), schema
    for field, inner in schema.get("properties", {}).items():
        yield from texts((*name, field), inner)
    if "items" in schema:
        yield from texts((*name, "[]"), schema["items"])


def places() -> Iterator[Place]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for parameter in map(resolved, operation.get("parameters", [])):
                for name, schema in texts((parameter["name"],), parameter["schema"]):
                    yield Place(method, path, parameter["in"], name, schema)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, schema in texts((), content["schema"]):
                    yield Place(method, path, "body", name, schema)


def sample(schema: dict[str, Any], name: str = "") -> Any:
    """A value that fits; optional fields are left out."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], name)
    if schema.get("type") == "object":
        needed = schema.get("required", [])
        return {field: sample(schema["properties"][field], field) for field in needed}
    known = {"from": "2026-11-20T00:00:00Z", "lane": "events"}
    options = [schema.get("const"), *schema.get("enum", []), known.get(name), *schema.get("examples", []), "aaaaaaaa"]
    return next(option for option in options if option is not None)


def ask(place: Place, text: str) -> TestResponse:
    """The request of `place` with `text` in it, and with something that fits everywhere else."""
    operation = DOCUMENT["paths"][place.path][place.method]
    values = {p["name"]: sample(p["schema"], p["name"]) for p in map(resolved, operation.get("parameters", []))}
    body: Any = None
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = sample(content["schema"])
    if place.where == "body":
        *outer, last = place.name.split(".")
        inside = body
        for step in outer:
            inside = inside.setdefault(step, {})
        inside[last] = text
    else:
        values[place.name] = text
    path = re.sub(r"\{(\w+)\}", lambda found: quote(str(values[found[1]]), safe="", errors="surrogatepass"), place.path)
    query = urlencode({place.name: text}, errors="surrogatepass") if place.where == "query" else ""
    more = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
    headers = {"HTTP_IDEMPOTENCY_KEY": text} if place.where == "header" else {}
    return ADMIN.open(path, method=place.method.upper(), query_string=query, environ_overrides=headers, **more)


PLACES: Final = list(places())
IDS: Final = [place for place in PLACES if place.kind.endswith("-id")]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_text_of_a_request_is_an_id_of_some_kind_or_cannot_be_one(place: Place) -> None:
    """T-103: a new field that names something has to say what."""
    typed = place.kind.endswith("-id") or place.kind in OTHER_FORMATS or place.closed
    header = place.where == "header"  # the only one is Idempotency-Key, which is hashed with the uid into a path
    assert typed or header or place.name.rpartition("operation.")[2] in FREE_TEXT, place.schema


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_no_text_of_a_request_breaks_anything(place: Place) -> None:
    """T-103: whatever stands where an id belongs, it is told so, and nothing is written."""
    before, live = WORLD.documents.all(), WORLD.realtime.get("")
    for what, text in {**HOSTILE, **ODD}.items():
        answer = ask(place, text)
        assert answer.status_code < 500, (what, answer.json)
        if place in IDS:
            refused = (400, 404) if is_door(place.path) else (404, 422)
            # An address of the door that ends in a slash is the one without it.
            listed = what == "empty" and place.where == "path" and is_door(place.path)
            assert what in ODD or listed or answer.status_code in refused, (what, answer.status_code)
            assert (WORLD.documents.all(), WORLD.realtime.get("")) == (before, live), what


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_callable_takes_no_other_ids_than_the_routes(text: str) -> None:
    with flask.Flask("test").test_request_context():
        raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
    auth = AuthData(uid="root", token={"uid": "root"})
    call: CallableRequest[object] = CallableRequest(
        data={"conversation_id": text, "content": "hi"}, raw_request=raw, auth=auth
    )
    with pytest.raises(HttpsError) as caught:
        WORLD.system.call("send_message", call)
    assert caught.value.details is not None
    assert caught.value.details["status"] in (404, 422)
