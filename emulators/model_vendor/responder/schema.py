"""Fills a JSON schema from the words of a question: arguments of a tool, or a structured answer.

Owns how a property's name and type pick a piece of the text. Refuses to know tools and answers.
"""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from emulators.model_vendor.responder.arithmetic import expression, tidy
from emulators.model_vendor.responder.textwork import material
from emulators.model_vendor.responder.words import keywords, stem, words

Schema = Mapping[str, JsonValue]

_PLACE = re.compile(
    r"\b(?:in|at|for|near|from|to|of)\s+((?:[A-ZÀ-Þ][\w'’-]+)(?:[ -](?:[A-ZÀ-Þ][\w'’-]+))*(?:,\s?[A-ZÀ-Þ][\w'’-]+)?)"
)
_CAPITALS = re.compile(r"(?<!^)(?<![.!?] )\b([A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*)")
_MORE_PLACES = re.compile(r"(?:,| and| or|, and)\s+([A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*)")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FORMS = (
    (("email", "mail"), re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+\w")),
    (("url", "link", "uri"), re.compile(r"https?://[^\s\"'<>]+[^\s\"'<>.,?!)]")),
    (("date", "day"), re.compile(r"\d{4}-\d{2}-\d{2}")),
    (("time",), re.compile(r"\b\d{1,2}:\d{2}\b")),
    (("currency", "symbol", "ticker", "code"), re.compile(r"\b[A-Z]{3,5}\b")),
)
_PLACE_NAMES = ("city", "location", "place", "town", "country", "destination", "origin", "region", "address")
_TEXT_NAMES = ("query", "question", "text", "prompt", "search", "message", "content", "topic", "term")
_SUM_NAMES = ("expression", "formula", "calculation", "equation")
_MAX_DEPTH = 6


def fill(schema: Schema, question: str, name: str = "", depth: int = 0) -> JsonValue:
    """A value that fits `schema`, taken from `question` where it can be."""
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(options, list) and options:
        return chosen(options, question)
    branch = _branch(schema)
    if branch is not None:
        return fill(branch, question, name, depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    match kind:
        case "object":
            return _object(schema, question, depth)
        case "array":
            return _array(schema, question, name, depth)
        case "integer" | "number":
            return _number(schema, question, whole=kind == "integer")
        case "boolean":
            return not re.search(r"\b(?:no|not|don't|without|never|disable|off)\b", question, re.IGNORECASE)
        case "null":
            return None
        case _:
            return text_for(name, question)


def _branch(schema: Schema) -> Schema | None:
    for union in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(union)
        if isinstance(branches, list) and branches and isinstance(branches[0], dict):
            return branches[0]
    return None


def chosen(options: list[JsonValue], question: str) -> JsonValue:
    """The option that the question names, else the first."""
    roots = {stem(word) for word in words(question)}
    for option in options:
        parts = [stem(word) for word in words(str(option).replace("_", " "))]
        if parts and all(part in roots for part in parts):
            return option
    return options[0]


def places(question: str) -> list[str]:
    """Places that the question names, in order."""
    match = _PLACE.search(question)
    if match is None:
        found = _CAPITALS.findall(question)
        return [str(found[0])] if found else []
    rest = _MORE_PLACES.findall(question[match.end() :].split("?")[0])
    return [match[1], *rest] if "," not in match[1] else [match[1]]


def text_for(name: str, question: str) -> str:
    """The piece of the question that a string property of this name asks for."""
    key = name.casefold()
    for names, pattern in _FORMS:
        if any(part in key for part in names) and (found := pattern.search(question)) is not None:
            return found[0]
    if any(part in key for part in _SUM_NAMES):
        return tidy(expression(question) or question)
    if any(part in key for part in _PLACE_NAMES):
        return next(iter(places(question)), " ".join(keywords(question, 1)) or question)
    if any(part in key for part in _TEXT_NAMES):
        return material(question) or question.rstrip("?.! ")
    found_places = _CAPITALS.findall(question)
    if "name" in key and found_places:
        return str(found_places[-1])
    return " ".join(keywords(question, 3)) or question


def _object(schema: Schema, question: str, depth: int) -> JsonValue:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth >= _MAX_DEPTH:
        return {}
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set(properties)
    return {
        key: fill(entry, question, key, depth + 1)
        for key, entry in properties.items()
        if isinstance(entry, dict) and (key in needed or _evident(key, entry, question))
    }


def _evident(name: str, schema: Schema, question: str) -> bool:
    """An optional property is filled only when the question speaks of it."""
    options = schema.get("enum")
    roots = {stem(word) for word in words(question)}
    if isinstance(options, list):
        return any(stem(str(option)) in roots for option in options)
    return any(stem(part) in roots for part in re.split(r"[_\W]+", name) if len(part) > 2)


def _array(schema: Schema, question: str, name: str, depth: int) -> JsonValue:
    items = schema.get("items")
    if not isinstance(items, dict):
        return list(keywords(question, 3))
    if items.get("type") in ("number", "integer"):
        numbers = [_plain(text, whole=items.get("type") == "integer") for text in _NUMBER.findall(question)]
        return list(numbers)
    if items.get("type") == "string" and "enum" not in items:
        return list(places(question) if any(part in name for part in _PLACE_NAMES) else keywords(question, 3))
    return [fill(items, question, name, depth + 1)]


def _number(schema: Schema, question: str, *, whole: bool) -> JsonValue:
    found = _NUMBER.search(question)
    value = _plain(found[0], whole=whole) if found is not None else 1
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float) and value < low:
        value = low
    if isinstance(high, int | float) and value > high:
        value = high
    return int(value) if whole else value


def _plain(text: str, *, whole: bool) -> int | float:
    value = float(text.replace(",", ""))
    return int(value) if whole or value.is_integer() else value
