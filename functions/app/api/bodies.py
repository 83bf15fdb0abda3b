"""Checks of request bodies: size, media type, and JSON that all readers understand alike.

No byte of a body is read before its sender is known; what a public route takes is small.
Owns the bytes of a request until they are parsed; refuses to know what the value means (that is pydantic's part).
"""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, TypeVar

import flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from app.api import auth
from app.api.problems import Malformed, UnsupportedMediaType

MAX_BODY: Final = 1024 * 1024
MAX_IMAGE_BODY: Final = 10 * 1024 * 1024
"""Bytes. The larger one is for routes that take pictures, and the most that is ever held in memory."""

MAX_PUBLIC_BODY: Final = 16 * 1024
"""Bytes that a route takes from callers whom it does not know."""

DROPPED_BYTES: Final = 32 * 1024 * 1024
"""The platform's own limit for a request."""
_CHUNK: Final = 64 * 1024

MOST_NESTED: Final = 64
"""Levels of lists and objects. The databases take fewer, and code that walks a body may recurse."""

View = TypeVar("View", bound=Callable[..., object])

_LIMIT: Final = "__credits_body_limit__"


class StrictJson(DefaultJSONProvider):
    """JSON as RFC 8259 has it, and no more: UTF-8, no repeated names, no NaN, no lone surrogates, finite numbers."""

    sort_keys = False
    ensure_ascii = False
    compact = True

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Raises ValueError for anything else, which Flask answers with 400."""
        return parse(s)


def parse(body: str | bytes) -> object:
    """The value of strict JSON; raises ValueError for anything else."""
    text = body if isinstance(body, str) else body.decode("utf-8")
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_repeats
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > MOST_NESTED and _depth(value) > MOST_NESTED:
        raise ValueError("nested too deeply")
    if "\\ud" in text.lower():
        # An escape may have made half of a surrogate pair, which no database of ours can store.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def takes_images(view: View) -> View:
    """Marks a handler whose body may be as large as `MAX_IMAGE_BODY`. Stands below the route's decorator."""
    setattr(view, _LIMIT, MAX_IMAGE_BODY)
    return view


def takes_files(view: View) -> View:
    """Marks a handler whose body holds files of users, and may be as large as one with pictures."""
    return takes_images(view)


def limit_of(view: Callable[..., object]) -> int:
    """The most bytes that this handler takes."""
    limit = MAX_PUBLIC_BODY if auth.is_public(view) else getattr(view, _LIMIT, MAX_BODY)
    return limit if isinstance(limit, int) else MAX_BODY


def check_body(request: flask.Request, view: Callable[..., object]) -> None:
    """Reads and parses the body within its limit; flask keeps the value for the handler.

    Raises:
        RequestEntityTooLarge: more bytes than allowed, whatever the headers say.
        UnsupportedMediaType: not application/json, or compressed.
        Malformed: not JSON.
    """
    if not read(request, limit_of(view)):
        return
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be application/json in UTF-8.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    try:
        value = request.get_json()
    except BadRequest as error:
        raise Malformed("The body is not JSON.") from error
    if isinstance(value, str):
        # flask-openapi would parse the content of a JSON string as JSON.
        raise Malformed("The body should be a JSON object.")


def read(request: flask.Request, limit: int) -> bytes:
    """The body, which flask keeps; raises RequestEntityTooLarge for more bytes than `limit`, whatever is said of it."""
    if (request.content_length or 0) > limit:
        raise RequestEntityTooLarge
    # One byte more than allowed, because werkzeug silently truncates a body of unknown length at its limit.
    request.max_content_length = limit + 1
    body = request.get_data(cache=True)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def drop_rest(stream: IO[bytes]) -> None:
    """Reads what nobody wanted, and keeps nothing of it.

    A client that is still sending would otherwise see a broken connection in place of the answer.
    """
    left = DROPPED_BYTES
    with suppress(OSError, HTTPException):  # the client has left, or the stream says that it was read to its limit
        while left > 0 and (piece := stream.read(_CHUNK)):
            left -= len(piece)


def _depth(value: object) -> int:
    """How deep lists and objects lie in each other, without recursion."""
    depth, level = 0, [value]
    while level:
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [member for members in inner for member in members]
        depth += bool(inner)
    return depth


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is repeated")
    return members
