"""What people ask beside their work: capitals, a joke, a poem, a letter, ideas, a kind word.

The answers are data in `everyday.toml`.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.words import capital, pick

_FILE = Path(__file__).parent / "everyday.toml"
_CAPITAL = re.compile(r"\bcapital (?:city )?(?:of|is)\s+(?:the )?([\w .'-]{3,40}?)\s*(?:\?|$|\.)", re.IGNORECASE)
_CAPITAL_OF = re.compile(r"\b([\w .'-]{3,30}?) is the capital of (?:what|which)\b", re.IGNORECASE)
_THING = r"\s+(?:((?:the|a|an|my|your|our)\s)?)([^.?!\n]{2,80})"
_ABOUT = re.compile(rf"\babout{_THING}", re.IGNORECASE)
_FOR = re.compile(rf"\b(?:for|on|to|over|of){_THING}", re.IGNORECASE)
_EDGES = " ,;:\"'"
_COUNT = re.compile(r"\b(\d{1,2}|two|three|four|five|six|seven|eight)\b", re.IGNORECASE)
_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


@dataclass(frozen=True, slots=True)
class Everyday:
    """What is known: capitals by country, and answers by pattern."""

    capitals: dict[str, str]
    answers: tuple[tuple[re.Pattern[str], list[str]], ...]
    ideas: list[str]


@cache
def _known() -> Everyday:
    data = tomllib.loads(_FILE.read_text("utf-8"))
    answers = tuple((re.compile(entry["asks"], re.IGNORECASE), entry["says"]) for entry in data["answer"])
    return Everyday(data["capitals"], answers, data["ideas"])


def talk(conversation: Conversation) -> str | None:
    """An everyday answer, or None."""
    question = conversation.question
    if len(question) > 300:
        return None
    for asked in (_CAPITAL, _CAPITAL_OF):
        match = asked.search(question)
        named = _capital(match[1].strip()) if match is not None else None
        if named is not None:
            return named
    for pattern, says in _known().answers:
        if pattern.search(question):
            return pick(says, question, str(conversation.seed)).format(subject=subject(question))
    if re.search(r"\bideas?\b", question, re.IGNORECASE):
        return _ideas(question)
    return None


def subject(question: str) -> str:
    """What a request is about: the words after `about`, `for` and the like."""
    match = _ABOUT.search(question) or _FOR.search(question)
    if match is None:
        return "it"
    return f"{'the ' if match[1] else ''}{match[2].strip(_EDGES)}"


def _capital(name: str) -> str | None:
    capitals = _known().capitals
    found = capitals.get(name.casefold())
    if found is not None:
        return f"The capital of {name.title() if name.islower() else name} is {found}."
    country = next((country for country, city in capitals.items() if city.casefold() == name.casefold()), None)
    return f"{capital(name)} is the capital of {country.title()}." if country is not None else None


def _ideas(question: str) -> str:
    wanted = _COUNT.search(question)
    number = 4 if wanted is None else _WORDS.get(wanted[1].casefold()) or int(wanted[1])
    about = subject(question)
    frames = _known().ideas
    start = frames.index(pick(frames, question))
    chosen = [frames[(start + step) % len(frames)] for step in range(min(max(number, 1), len(frames)))]
    lines = [f"{place}. {frame.format(subject=about)}" for place, frame in enumerate(chosen, start=1)]
    return f"Some ideas for {about}:\n" + "\n".join(lines)
