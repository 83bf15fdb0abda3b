"""JSON text in and out. Owns the difference between JSON and what parsers let through; knows no database."""

import json
import re
from typing import TypeAlias, cast

import orjson

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class MalformedJson(ValueError):
    """The text is not JSON (NaN and Infinity are not JSON either)."""


def loads(text: bytes | str) -> Json:
    """Parse strictly. A lone surrogate, legal in JSON text but not in UTF-8, becomes U+FFFD."""
    try:
        return cast(Json, orjson.loads(text))
    except orjson.JSONDecodeError as error:
        if "surrogate" not in str(error):
            raise MalformedJson(str(error)) from None
    try:
        return _without_lone_surrogates(cast(Json, json.loads(text, parse_constant=_refuse_constant)))
    except (ValueError, RecursionError) as error:
        raise MalformedJson(str(error)) from None


def dumps(value: Json) -> bytes:
    """Compact UTF-8 JSON."""
    return orjson.dumps(value)


def pretty(compact: bytes) -> bytes:
    """The same JSON, indented as the production service does: two spaces, ` : `."""
    value = json.loads(compact)
    return json.dumps(value, indent=2, separators=(",", " : "), ensure_ascii=False).encode() + b"\n"


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _without_lone_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [_without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_LONE_SURROGATE.sub("�", key): _without_lone_surrogates(item) for key, item in value.items()}
    return value
