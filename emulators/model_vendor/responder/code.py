"""Small pieces of code for well-known asks, each correct and complete. The pieces are data in `snippets.toml`."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.words import keywords, stem, words

_FILE = Path(__file__).parent / "snippets.toml"
_ASKED = re.compile(
    r"\b(?:code|function|snippet|implement(?:ation)?|script|program|regex|one-liner|method|query)\b|"
    r"\b(?:write|show|give)\b.*\b(?:python|javascript|typescript|js|sql|bash|c\+\+|rust|go|java)\b|"
    r"\bin (?:python|javascript|js|sql|bash)\b",
    re.IGNORECASE,
)
_LANGUAGES = {
    "python": "python",
    "javascript": "javascript",
    "js": "javascript",
    "typescript": "javascript",
    "sql": "sql",
    "bash": "bash",
    "shell": "bash",
}


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of code, the words that ask for it, and a remark."""

    asks: tuple[str, ...]
    language: str
    code: str
    remark: str


@cache
def snippets() -> tuple[Snippet, ...]:
    """All pieces."""
    entries = tomllib.loads(_FILE.read_text("utf-8"))["snippet"]
    return tuple(Snippet(tuple(e["asks"]), e["language"], e["code"].strip("\n"), e["remark"]) for e in entries)


def write(conversation: Conversation) -> str | None:
    """Code for the question, or None when it asks for none or for an unknown piece of another language."""
    question = conversation.question
    if not _ASKED.search(question):
        return None
    language = next((_LANGUAGES[word.casefold()] for word in words(question) if word.casefold() in _LANGUAGES), None)
    roots = {stem(word) for word in words(question)}
    best, points = None, 0
    for snippet in snippets():
        fit = max(_fit(ask, roots) for ask in snippet.asks)
        if fit and language is not None:
            fit = fit * 2 + (snippet.language == language)
        if fit > points:
            best, points = snippet, fit
    if best is not None:
        return f"```{best.language}\n{best.code}\n```\n{best.remark}"
    if language == "python" and re.search(r"\bfunction|code|script|program\b", question, re.IGNORECASE):
        return _skeleton(question)
    return None


def _fit(ask: str, roots: set[str]) -> int:
    needed = {stem(word) for word in words(ask)}
    return len(needed) if needed <= roots else 0


def _skeleton(question: str) -> str:
    found = [re.sub(r"\W", "", word).casefold() for word in keywords(question, 5)]
    name = (
        "_".join(word for word in found if word not in ("python", "function", "code", "script", "program"))[:40]
        or "solve"
    )
    return (
        f"```python\ndef {name}(items: list[str]) -> list[str]:\n"
        '    """Keep the items that are not empty, in order, once each."""\n'
        "    return list(dict.fromkeys(item.strip() for item in items if item.strip()))\n```\n"
        "This is a starting point that cleans its input; tell me what goes in and what should come out, "
        "and I will make it exact."
    )
