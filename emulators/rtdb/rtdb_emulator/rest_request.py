"""What a REST request asks for, read from its URL and headers. Pure; touches no data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from rtdb_emulator.errors import ExpiredToken, InvalidPath, InvalidQuery, InvalidToken, RequestError
from rtdb_emulator.identity import ADMIN, ANONYMOUS, Identity, acting_as, from_token, is_token
from rtdb_emulator.json_text import Json, MalformedJson, loads
from rtdb_emulator.paths import PRIORITY, Path, check_path
from rtdb_emulator.query import BY_KEY, BY_PRIORITY, BY_VALUE, Bound, Query, check_bounds, child_index

Params = Mapping[str, str]

_FILTERS: Final = ("startAt", "startAfter", "endAt", "endBefore", "equalTo", "limitToFirst", "limitToLast")
_PRIMITIVE: Final = "Constraint index field must be a JSON primitive"


class NotRest(RequestError):
    """The URL is not one of the REST API."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class Target:
    """The location of a request and its parameters."""

    path: Path
    is_priority: bool
    params: Params

    @property
    def namespace(self) -> str | None:
        return self.params.get("ns")

    def is_set(self, name: str) -> bool:
        return self.params.get(name) == "true"


def read_target(raw: str) -> Target:
    """Read a raw request target such as `/a/b%20c.json?ns=x`. Raises InvalidPath or NotRest."""
    location, _, query = raw.partition("?")
    if not location.endswith(".json"):
        raise NotRest("append .json to your request URI to use the REST API.")
    params = read_params(query)
    try:
        parts = [unquote(part, errors="strict") for part in location[: -len(".json")].split("/") if part]
    except UnicodeDecodeError:
        raise InvalidPath() from None
    is_priority = bool(parts) and parts[-1] == PRIORITY
    path = tuple(parts[:-1] if is_priority else parts)
    check_path(path)
    return Target(path, is_priority, params)


def read_params(query: str) -> dict[str, str]:
    """Query parameters, decoded like an HTML form; the last of several wins."""
    return dict(parse_qsl(query, keep_blank_values=True))


def read_identity(authorization: str | None, params: Params, now_ms: int) -> Identity:
    """Who asks. Raises InvalidToken or ExpiredToken."""
    identity = _credential(authorization, params)
    if identity.is_expired(now_ms):
        raise ExpiredToken()
    override = params.get("auth_variable_override")
    return acting_as(_json(override, "auth_variable_override")) if override is not None and identity.admin else identity


def _credential(authorization: str | None, params: Params) -> Identity:
    if authorization is not None and authorization.lower().startswith("bearer "):
        return ADMIN
    token = params.get("auth")
    if "access_token" in params or token == "owner":
        return ADMIN
    if not token:
        return ANONYMOUS
    if not is_token(token):
        raise InvalidToken()
    return from_token(token)


def read_query(params: Params) -> Query | None:
    """The query that the parameters describe. Raises InvalidQuery."""
    filters = [name for name in _FILTERS if name in params]
    if "orderBy" not in params:
        if not filters:
            return None
        if params.get("shallow") != "true":
            raise InvalidQuery("orderBy must be defined when other query parameters are defined")
        return _filtered(BY_KEY, params)
    return _filtered(_order_by(params["orderBy"]), params)


def _filtered(order_by: str, params: Params) -> Query:
    if "equalTo" in params and any(name in params for name in ("startAt", "startAfter", "endAt", "endBefore")):
        raise InvalidQuery("equalTo cannot be specified in addition to startAt or endAt")
    if "limitToFirst" in params and "limitToLast" in params:
        raise InvalidQuery("Only one of limitToFirst and limitToLast may be specified")
    lenient = "orderBy" not in params
    start, end = _bounds(params, lenient)
    from_left = "limitToLast" not in params
    limit = params.get("limitToFirst" if from_left else "limitToLast")
    return check_bounds(Query(order_by, start, end, None if limit is None else _limit(limit), from_left))


def _bounds(params: Params, lenient: bool) -> tuple[Bound | None, Bound | None]:
    if "equalTo" in params:
        both = _bound(params["equalTo"], lenient)
        return both, both
    start = _one_bound(params, "startAt", "startAfter", "[MAX_NAME]", lenient)
    end = _one_bound(params, "endAt", "endBefore", "[MIN_NAME]", lenient)
    return start, end


def _one_bound(params: Params, inclusive: str, exclusive: str, extreme: str, lenient: bool) -> Bound | None:
    if inclusive in params and exclusive in params:
        raise InvalidQuery(f"{inclusive} cannot be specified in addition to {exclusive}")
    if inclusive in params:
        return _bound(params[inclusive], lenient)
    if exclusive in params:
        bound = _bound(params[exclusive], lenient)
        return Bound(bound.value, extreme if bound.key is None else bound.key, inclusive=False)
    return None


def _bound(text: str, lenient: bool) -> Bound:
    try:
        values = loads(f"[{text}]")
    except MalformedJson:
        if lenient:  # firebase-tools pages through a shallow read with bare keys
            return Bound(text)
        raise InvalidQuery(_PRIMITIVE) from None
    if not isinstance(values, list) or len(values) not in (1, 2):
        raise InvalidQuery(_PRIMITIVE)
    value, key = values[0], values[1] if len(values) == 2 else None
    if isinstance(value, dict | list) or not isinstance(key, str | None):
        raise InvalidQuery(_PRIMITIVE)
    return Bound(text if lenient and not isinstance(value, str) else value, key)


def _order_by(text: str) -> str:
    try:
        value = loads(text)
    except MalformedJson:
        value = None
    if not isinstance(value, str):
        raise InvalidQuery("orderBy must be a valid JSON encoded path")
    return value if value in (BY_KEY, BY_VALUE, BY_PRIORITY) else child_index(value)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise InvalidQuery("A limit must be a positive integer")
    return int(text)


def _json(text: str, name: str) -> Json:
    try:
        return loads(text)
    except MalformedJson:
        raise InvalidQuery(f"{name} must be JSON") from None
