"""How REST answers look: JSON, pretty, silent, JSONP, download, error. Knows no data."""

import re
from typing import Final

from aiohttp import web

from rtdb_emulator.errors import InvalidKey, RequestError
from rtdb_emulator.json_text import MalformedJson, dumps, loads, pretty
from rtdb_emulator.paths import key_problem
from rtdb_emulator.rest_request import Params

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, PUT, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Expose-Headers": "ETag",
    "Cache-Control": "no-cache",
}
_CALLBACK: Final = re.compile(r"[A-Za-z_$][\w$.]*\Z")
_FILE_NAME: Final = re.compile(r"[^\w.\- ]")
_MEMBER: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')


def answer(body: bytes, params: Params, *, status: int = 200, etag: str | None = None) -> web.Response:
    """A successful answer, in the shape that the parameters ask for."""
    headers = dict(CORS)
    if etag is not None:
        headers["ETag"] = etag
    if params.get("print") == "silent":
        return web.Response(status=204, headers=headers)
    if params.get("print") == "pretty":
        body = pretty(body)
    if "download" in params:
        name = _FILE_NAME.sub("_", params["download"]) or "data.json"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    callback = params.get("callback")
    if callback is not None and _CALLBACK.match(callback):
        script = callback.encode() + b"(" + body + b");"
        return web.Response(
            status=status, body=script, content_type="application/javascript", charset="utf-8", headers=headers
        )
    return _json(body, status, headers)


def unchanged(etag: str) -> web.Response:
    """The client knows the value already."""
    return web.Response(status=304, headers={**CORS, "ETag": etag})


def stale(body: bytes, etag: str) -> web.Response:
    """The condition does not hold: the current value, so that the client can try again."""
    return _json(body, 412, {**CORS, "ETag": etag})


def failure(error: RequestError, body: bytes = b"") -> web.Response:
    """The error as the production service words it; `body` is the request's, to point into."""
    message = str(error)
    if isinstance(error, InvalidKey):
        line, column = position_of_key(body, error.key)
        message = f"Invalid data; couldn't parse key beginning at {line}:{column}. {error.problem}"
    return error_answer(error.http_status, message)


def error_answer(status: int, message: str) -> web.Response:
    """`{"error": message}`, pretty-printed as in production."""
    return _json(pretty(dumps({"error": message})), status, dict(CORS))


def position_of_key(body: bytes, key: str) -> tuple[int, int]:
    """Line and column, from 1, where `key` stands in JSON text; of the first bad key if it cannot be found."""
    for member in _MEMBER.finditer(body):
        try:
            name = loads(b'"' + member.group(1) + b'"')
        except MalformedJson:
            continue
        if name == key and key_problem(key) is not None:
            before = body[: member.start()]
            return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
    return 1, 1


def _json(body: bytes, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", charset="utf-8", headers=headers)
