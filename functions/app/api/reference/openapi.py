"""The OpenAPI document: what flask-openapi derives from the handlers, completed with what this edge adds to each.

The edge adds security, error answers, idempotency keys and request ids, so they are written into the document here,
from the same marks on the handlers that the edge reads; no feature repeats them.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import flask
from flask_openapi import OpenAPI
from werkzeug.routing import Rule

from app.api import auth, idempotency, problems, streaming
from app.api.openai import errors as openai_errors
from app.api.openai.paths import is_door
from app.api.schemas import Problem

JsonObject = dict[str, Any]  # an OpenAPI document; the tests validate it against the schema of OpenAPI 3.1
ViewFunction = Callable[..., object]

_building: Final = threading.Lock()
"""Building completes the application's own description in place: two that begin at once would break each other."""
SCHEME: Final = "firebase"
VERSION: Final = "3.1.1"
_PROBLEM: Final = {"schema": {"$ref": "#/components/schemas/Problem"}}
_ALWAYS: Final = (429, 500, 503)
_NAMES: Final[Mapping[int, str]] = {
    400: "Malformed",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "NotFound",
    409: "IdempotencyConflict",
    413: "BodyTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "Unavailable",
}
_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request could not be read: malformed JSON or header.",
    401: "No ID token, or one that does not verify.",
    403: "Your role does not allow this.",
    404: "It does not exist, or it is not yours.",
    409: "The first request with this Idempotency-Key is still running.",
    413: "The body is larger than this route accepts.",
    415: "The body must be application/json.",
    422: "The request does not fit the documented model, or the idempotency key came with another one.",
    429: "As many requests were made as one minute allows; see Retry-After.",
    500: "Something went wrong on our side.",
    503: "A dependency did not answer; see Retry-After.",
}


def document(app: OpenAPI) -> JsonObject:
    """The finished document of `app`. Made once, when first asked for."""
    with _building:
        cached = app.extensions.get("credits.openapi")
        if cached is None:
            cached = app.extensions["credits.openapi"] = _build(app)
    return cast(JsonObject, cached)


def routes_of(app: flask.Flask) -> Iterator[tuple[str, str, ViewFunction]]:
    """Every (path as OpenAPI writes it, method, handler) that the application serves."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield _path_of(rule), method.lower(), app.view_functions[rule.endpoint]


def _build(app: OpenAPI) -> JsonObject:
    written = cast(JsonObject, app.api_doc)
    components = written["components"]
    for shape in (Problem, openai_errors.OpenAIError):
        name = "#/components/schemas/{model}"
        components["schemas"][shape.__name__] = shape.model_json_schema(ref_template=name)
    _lift_definitions(components["schemas"])
    components["responses"] = {name: _problem_response(status) for status, name in _NAMES.items()}
    components["headers"] = {
        "RequestId": {"description": "The caller's id, or ours", "schema": {"type": "string"}, "required": True},
        "Replayed": {"description": "`true` on a repeated answer", "schema": {"type": "string"}},
        "RetryAfter": {
            "description": "Seconds, at least",
            "schema": {"type": "integer", "minimum": 1},
            "required": True,
        },
        "RetryAfterRunning": {
            "description": "Seconds, with the code `idempotency_in_progress`",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
    for path, method, view in routes_of(app):
        operation = written["paths"].get(path, {}).get(method)
        if operation is not None:
            _complete(operation, view)
            if is_door(path):
                _tell_as_openai(operation["responses"])
    return written


def _tell_as_openai(responses: JsonObject) -> None:
    """Gives error answers the shape, and those to what does not fit the status, that OpenAI's clients expect."""
    if "422" in responses:
        responses.setdefault("400", responses["422"])
    for status in [status for status in responses if status >= "400"]:
        response: JsonObject = {"description": _DESCRIPTIONS.get(int(status)) or HTTPStatus(int(status)).phrase}
        response["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
        headers = response["headers"] = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
        if status in ("409", "429", "503"):
            name = "RetryAfterRunning" if status == "409" else "RetryAfter"
            headers["Retry-After"] = {"$ref": f"#/components/headers/{name}"}
        responses[status] = response


def _complete(operation: JsonObject, view: ViewFunction) -> None:
    operation["tags"] = sorted(operation.get("tags", []))
    operation["security"] = [] if auth.is_public(view) else [{SCHEME: []}]
    responses: JsonObject = operation["responses"]
    own_422 = "422" in responses and "array" not in str(responses["422"])
    if not own_422:
        responses.pop("422", None)
    for status, response in responses.items():
        _complete_response(status, response)
    for expected in _expected(operation, view):
        responses.setdefault(str(expected), {"$ref": f"#/components/responses/{_NAMES[expected]}"})
    operation["responses"] = responses = dict(sorted(responses.items()))
    if idempotency.takes_a_key(view):
        _add_key(operation)
    if streaming.may_stream(view):
        responses["200"]["content"][streaming.MEDIA_TYPE] = {"schema": {"type": "string"}}


def _expected(operation: JsonObject, view: ViewFunction) -> list[int]:
    """The statuses with which the edge itself may refuse this operation."""
    parameters = operation.get("parameters", [])
    expected = [*_ALWAYS]
    if not auth.is_public(view):
        expected.append(401)
    if auth.roles_of(view):
        expected.append(403)
    if any(parameter["in"] == "path" for parameter in parameters):
        expected.append(404)
    if parameters:
        expected.append(422)
    if operation.get("requestBody"):
        expected += [400, 413, 415, 422]
    if idempotency.takes_a_key(view):
        expected += [400, 409, 422]
    return expected


def _complete_response(status: str, response: JsonObject) -> None:
    headers = response.setdefault("headers", {})
    headers["X-Request-Id"] = {"$ref": "#/components/headers/RequestId"}
    if status in ("429", "503"):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = response.get("content", {})
    if status >= "400" and content.get("application/json") == _PROBLEM:
        content[problems.MEDIA_TYPE] = content.pop("application/json")
        response["description"] = response.get("description") or HTTPStatus(int(status)).phrase


def _add_key(operation: JsonObject) -> None:
    operation.setdefault("parameters", []).append(
        {
            "name": idempotency.HEADER,
            "in": "header",
            "required": False,
            "description": "Same key and same body: the first answer again. Kept for 24 hours.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        }
    )
    conflict = operation["responses"]["409"]
    if "headers" in conflict:
        conflict["headers"]["Retry-After"] = {"$ref": "#/components/headers/RetryAfterRunning"}
    for status, response in operation["responses"].items():
        if status < "300":
            response["headers"][idempotency.REPLAYED] = {"$ref": "#/components/headers/Replayed"}


def _problem_response(status: int) -> JsonObject:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if status in (409, 429, 503):
        name = "RetryAfterRunning" if status == 409 else "RetryAfter"
        headers["Retry-After"] = {"$ref": f"#/components/headers/{name}"}
    return {"description": _DESCRIPTIONS[status], "headers": headers, "content": {problems.MEDIA_TYPE: _PROBLEM}}


def _lift_definitions(schemas: JsonObject) -> None:
    """Moves the models that pydantic nests in a model's `$defs` to the document's one place for all."""
    for name in list(schemas):
        for inner, schema in (schemas[name].pop("$defs", None) or {}).items():
            schemas.setdefault(inner, schema)


def _path_of(rule: Rule) -> str:
    return re.sub(r"<(?:[^<:>]+:)?([^<>]+)>", r"{\1}", rule.rule)
