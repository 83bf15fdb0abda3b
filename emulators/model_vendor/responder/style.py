"""The form of an answer: how long, in which language, as prose or list, as the system prompt and question ask.

Owns reading such wishes and cutting or lengthening a text to fit. Refuses to know what the text says.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from emulators.model_vendor.responder.words import sentences

_NUMBERS = {
    "one": 1, "a single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "hundred": 100, "a hundred": 100,
}  # fmt: skip
_NUMBER = r"(\d{1,5}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_LENGTH = re.compile(
    rf"\b(?:in|with|within|use|using|of|about|around|at most|no more than|under|maximum|max|exactly|write|than|to)\s+"
    rf"(?:(?:about|around|at most|exactly|under|only|just|max(?:imum)?)\s+)?{_NUMBER}[\s-]+"
    r"(?:short\s+|simple\s+|complete\s+)?(words?|sentences?|paragraphs?|bullet points?|bullets|points|lines)\b",
    re.IGNORECASE,
)
_BARE_LENGTH = re.compile(rf"\b{_NUMBER}[\s-](word|sentence)s?\b", re.IGNORECASE)
_BRIEF = re.compile(
    r"\b(brief(ly)?|concise(ly)?|short answers?|be short|keep it short|tl;?dr|in short|terse)\b", re.IGNORECASE
)
_UPPER = re.compile(r"\b(all caps|upper[- ]?case|capital letters)\b", re.IGNORECASE)
_BULLETS = re.compile(r"\b(bullet(ed)?( points?| list)?|as a list|bullets)\b", re.IGNORECASE)
_ENDING = re.compile(
    r"\bend (?:every|each|your|all) (?:answer|reply|response|message)s? with [\"'“](.+?)[\"'”]", re.IGNORECASE
)
_OPENING = re.compile(
    r"\b(?:start|begin) (?:every|each|your|all) (?:answer|reply|response|message)s? with [\"'“](.+?)[\"'”]",
    re.IGNORECASE,
)
LANGUAGES = {
    "german": "de", "deutsch": "de", "french": "fr", "français": "fr", "spanish": "es", "español": "es",
    "polish": "pl", "polski": "pl", "polsku": "pl", "italian": "it", "italiano": "it", "english": "en",
}  # fmt: skip
_LANGUAGE = re.compile(
    r"\b(?:answer|reply|respond|speak|write|talk|explain(?: it| this)?|antworte|réponds|responde|odpowiadaj|rispondi)"
    r"(?:\s+[\w']+){0,3}?\s+(?:in|only|auf|en|po|in plain)\s+(\w+)",
    re.IGNORECASE,
)
_TRAILING_LANGUAGE = re.compile(r"\b(?:in|auf|en|po)\s+(\w+)\s*(?:please|bitte)?\s*[.?!]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Style:
    """What was wished; None where nothing was."""

    words: int | None = None
    sentences: int | None = None
    bullets: bool = False
    brief: bool = False
    upper: bool = False
    language: str = "en"
    opening: str = ""
    ending: str = ""


def wished(instructions: str, question: str) -> Style:
    """Read the wishes; the question's own wins over the system prompt's."""
    length = _length(question) or _length(instructions)
    both = f"{instructions}\n{question}"
    opening, ending = _OPENING.search(instructions), _ENDING.search(instructions)
    return Style(
        words=length[0] if length is not None and length[1] == "words" else None,
        sentences=length[0] if length is not None and length[1] == "sentences" else None,
        bullets=bool(_BULLETS.search(both)) or (length is not None and length[1] == "bullets"),
        brief=bool(_BRIEF.search(both)),
        upper=bool(_UPPER.search(instructions)),
        language=_language(question, trailing=True) or _language(instructions, trailing=False) or "en",
        opening=opening[1] if opening else "",
        ending=ending[1] if ending else "",
    )


def _length(text: str) -> tuple[int, str] | None:
    match = _LENGTH.search(text) or _BARE_LENGTH.search(text)
    if match is None:
        return None
    number = int(match[1]) if match[1].isdigit() else _NUMBERS[match[1].casefold()]
    unit = match[2].casefold()
    if unit.startswith("word"):
        return max(number, 1), "words"
    if unit.startswith("paragraph"):
        return number * 60, "words"
    if unit.startswith(("bullet", "point", "line")):
        return number, "bullets"
    return max(number, 1), "sentences"


def _language(text: str, *, trailing: bool) -> str | None:
    patterns = (_LANGUAGE, _TRAILING_LANGUAGE) if trailing else (_LANGUAGE,)
    for pattern in patterns:
        for match in pattern.finditer(text):
            if match[1].casefold() in LANGUAGES:
                return LANGUAGES[match[1].casefold()]
    return None


def fitted(text: str, style: Style, more: Iterable[str]) -> str:
    """`text` in the wished form; `more` gives further sentences when it is too short."""
    if style.words is not None:
        text = _to_words(text, style.words, more)
    elif style.sentences is not None:
        text = _to_sentences(text, style.sentences, more)
    elif style.brief:
        text = " ".join(sentences(text)[:2])
    if style.bullets and "\n- " not in f"\n{text}":
        text = "\n".join(f"- {sentence}" for sentence in sentences(text))
    if style.opening and not text.startswith(style.opening):
        text = f"{style.opening} {text}"
    if style.ending and not text.endswith(style.ending):
        text = f"{text} {style.ending}"
    return text.upper() if style.upper else text


def _to_words(text: str, wanted: int, more: Iterable[str]) -> str:
    parts = [text]
    have = len(text.split())
    for sentence in more:
        if have >= wanted:
            break
        parts.append(sentence)
        have += len(sentence.split())
    if have <= wanted:
        return " ".join(parts)
    # Words are cut where they end, so that line breaks inside code and lists survive.
    whole = " ".join(parts)
    ends = [match.end() for match in re.finditer(r"\S+", whole)]
    return whole[: ends[wanted - 1]].rstrip(",;:-– ").rstrip(".") + "."


def _to_sentences(text: str, wanted: int, more: Iterable[str]) -> str:
    have = sentences(text)
    for extra in more:
        if len(have) >= wanted:
            break
        have += sentences(extra)
    return " ".join(have[:wanted])
