"""Tool calls: which offered function serves the question, with which arguments, and how its result is told."""

import re
from dataclasses import dataclass

import orjson
from pydantic import JsonValue

from emulators.model_vendor.responder import schema
from emulators.model_vendor.responder.arithmetic import expression
from emulators.model_vendor.responder.conversation import Conversation, Offer, Turn
from emulators.model_vendor.responder.words import STOP_WORDS, joined, stem, words

_KINDRED = {
    "weather": "weather forecast temperature rain sunny warm cold wind umbrella",
    "calculat": "calculate sum plus minus times divided percent root compute",
    "search": "search find look latest news web google",
    "time": "time clock hour now today date",
    "convert": "convert exchange currency dollars euros",
    "mail": "mail email send inbox",
    "stock": "stock share price ticker quote",
    "calendar": "calendar meeting schedule appointment event",
    "translat": "translate translation german french spanish",
    "balanc": "balance credits money left",
}
_DENIED = re.compile(
    r"\b(?:don't|do not|without) (?:use|call|using|calling)\b.*\b(?:tools?|functions?)\b", re.IGNORECASE
)
_NEEDED = 2
"""Points that a function needs to be called on its own account: a word of its name counts 2, of its description 1."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments as JSON text."""

    name: str
    arguments: str


def choose(conversation: Conversation) -> tuple[Call, ...]:
    """The calls to make before answering; none when no offer fits or results are already there."""
    question = conversation.question
    if not conversation.offers or conversation.results:
        return ()
    ranked = sorted(conversation.offers, key=lambda offer: -_fit(offer, question))
    best = ranked[0]
    if not conversation.must_call and (_fit(best, question) < _NEEDED or _DENIED.search(question)):
        return ()
    return _calls(best, question, parallel=conversation.parallel)


def report(conversation: Conversation) -> str | None:
    """An answer made of the tool results, or None when there are none."""
    if not conversation.results:
        return None
    return " ".join(_told(turn) for turn in conversation.results)


def _fit(offer: Offer, question: str) -> int:
    asked = {stem(word) for word in words(question) if word.casefold() not in STOP_WORDS}
    raw = {stem(word) for word in words(question)}
    name = _parts(offer.name) - {"get", "fetch", "run", "do", "the"}
    points = 2 * len(name & raw)
    points += len((_parts(offer.description) & asked) - name)
    for root, kindred in _KINDRED.items():
        if any(part.startswith(stem(root)) for part in name):
            points += 2 * len({stem(word) for word in kindred.split()} & raw)
    if any(part.startswith(("calculat", "comput", "math")) for part in name) and expression(question):
        points += 3
    return points


def _parts(text: str) -> set[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ").replace("-", " ")
    return {stem(word) for word in words(spaced) if word.casefold() not in STOP_WORDS}


def _calls(offer: Offer, question: str, *, parallel: bool) -> tuple[Call, ...]:
    parameters = dict(offer.parameters) or {"type": "object", "properties": {}}
    parameters.setdefault("type", "object")
    first = schema.fill(parameters, question)
    arguments = first if isinstance(first, dict) else {}
    found = schema.places(question)
    key = next((key for key, value in arguments.items() if found and value == found[0]), None)
    if not parallel or key is None or len(found) < 2:
        return (_call(offer, arguments),)
    return tuple(_call(offer, {**arguments, key: place}) for place in found[:8])


def _call(offer: Offer, arguments: dict[str, JsonValue]) -> Call:
    return Call(offer.name, orjson.dumps(arguments).decode())


def _told(turn: Turn) -> str:
    source = turn.name.replace("_", " ") or "the tool"
    try:
        value: JsonValue = orjson.loads(turn.text)
    except orjson.JSONDecodeError:
        return f"According to {source}: {turn.text.strip()}"
    if isinstance(value, dict):
        if "error" in value:
            return f"I asked {source}, but it failed: {_plain(value['error'])}."
        return (
            f"According to {source}, {joined([f'{_spaced(key)} is {_plain(entry)}' for key, entry in value.items()])}."
        )
    if isinstance(value, list):
        return (
            f"According to {source} there are {len(value)} results: {joined([_plain(entry) for entry in value[:8]])}."
        )
    return f"According to {source}, the result is {_plain(value)}."


def _spaced(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: JsonValue) -> str:
    if isinstance(value, dict):
        return joined([f"{_spaced(key)} {_plain(entry)}" for key, entry in value.items()])
    if isinstance(value, list):
        return joined([_plain(entry) for entry in value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
