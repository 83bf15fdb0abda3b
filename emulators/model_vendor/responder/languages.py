"""Other languages: a phrase book for translations, and answers in German, French, Spanish, Polish and Italian.

The knowledge is English; asked to answer in another language the responder speaks in general terms about the subject.
"""

import re
import tomllib
from functools import cache
from pathlib import Path

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.knowledge import mentioned
from emulators.model_vendor.responder.style import LANGUAGES
from emulators.model_vendor.responder.textwork import material
from emulators.model_vendor.responder.words import keywords

_FILE = Path(__file__).parent / "languages.toml"
_TRANSLATE = re.compile(
    r"\b(?:translate|translation)\b|\bhow (?:do|would) (?:you|i) say\b|"
    r"\bwhat is .{1,60} in (?:german|french|spanish|polish|italian)\b",
    re.IGNORECASE,
)
_TARGET = re.compile(r"\b(?:to|into|in)\s+(german|french|spanish|polish|italian|english)\b", re.IGNORECASE)
_SAID = re.compile(
    r"\b(?:say|translate|what is)\s+(?:the (?:word|phrase|sentence) )?(.{1,200}?)\s+(?:to|into|in)\s+\w+\W*$",
    re.IGNORECASE,
)


@cache
def _book() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads(_FILE.read_text("utf-8"))
    return found


def about(conversation: Conversation, language: str) -> str | None:
    """An answer in `language` about the question's subject; None for English."""
    if language == "en":
        return None
    named = [topic.title for topic in mentioned(conversation.question)] or keywords(conversation.question, 1)
    frame = _book()["about"][language]
    return frame.format(subject=named[0] if named else "?")


def translate(conversation: Conversation) -> str | None:
    """A translation by phrase book: known phrases whole, else word by word; None when nobody asks for one."""
    question = conversation.question
    target = _TARGET.search(question)
    if target is None or not _TRANSLATE.search(question):
        return None
    said = _SAID.search(question.split("\n")[0])
    text = material(question) or (said[1].strip(" \"'“”") if said else None)
    if text is None:
        return None
    language = LANGUAGES[target[1].casefold()]
    translated = _translated(text, language)
    if translated is None:
        return f"My phrase book has no {target[1].capitalize()} for “{text}”."
    return translated


def _translated(text: str, language: str) -> str | None:
    phrases = _phrases(language)
    plain = text.casefold().strip(" .!?")
    if plain in phrases:
        ending = text.strip()[-1] if text.strip()[-1:] in ".!?" else ""
        whole = phrases[plain]
        return (whole[:1].upper() + whole[1:] if text[:1].isupper() else whole) + ending
    hits = 0
    out: list[str] = []
    for piece in re.findall(r"[\w']+|[^\w]+", text):
        found = phrases.get(piece.casefold())
        hits += found is not None
        out.append(piece if found is None else (found.capitalize() if piece[:1].isupper() else found))
    return "".join(out) if hits * 2 >= len(re.findall(r"[\w']+", text)) else None


def _phrases(language: str) -> dict[str, str]:
    book = _book()
    if language == "en":
        return {
            foreign.casefold(): english
            for code in ("de", "fr", "es", "pl", "it")
            for english, foreign in book[code].items()
        }
    return {english.casefold(): foreign for english, foreign in book[language].items()}
