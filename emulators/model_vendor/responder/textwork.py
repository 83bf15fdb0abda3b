"""Work on a given text: summarise, count, reverse, change case, sort."""

import re
from collections import Counter

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.words import STOP_WORDS, joined, keywords, sentences, stem, words

_SUMMARISE = re.compile(r"\b(?:summar(?:y|i[sz]e)|tl;?dr|key points|sum up|shorten|condense|gist)\b", re.IGNORECASE)
_COUNT = re.compile(r"\b(?:count|how many) (?:the )?(words|letters|characters|sentences|lines)\b", re.IGNORECASE)
_REVERSE = re.compile(r"\breverse (?:the )?(?:string|word|text|letters|sentence)?\b", re.IGNORECASE)
_CASE = re.compile(r"\b(?:in |to |into )?(upper|lower|title)[- ]?case\b", re.IGNORECASE)
_SORT = re.compile(
    r"\bsort (?:these|the|this|following)?\b.*?(?:words|names|numbers|items|list|lines)?[^:]*:", re.IGNORECASE
)
_KEYWORDS = re.compile(r"\b(?:extract|find|give me|list) (?:the )?(?:main )?keywords\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“«‘']([^\"”»’]{1,4000})[\"”»’']")


def work(conversation: Conversation) -> str | None:
    """The result of the text job that the question asks for, or None."""
    question = conversation.question
    head = question[:200]
    if _SUMMARISE.search(head) or _SUMMARISE.search(question[-200:]):
        return _summary(conversation)
    text = material(conversation.whole_question)
    if text is None:
        return None
    counted = _COUNT.search(head)
    if counted is not None:
        return _counted(text, counted[1].casefold())
    case = _CASE.search(head)
    if case is not None:
        return {"upper": text.upper(), "lower": text.lower(), "title": text.title()}[case[1].casefold()]
    if _REVERSE.search(head):
        return text[::-1]
    if _SORT.search(head):
        return _sorted(text)
    if _KEYWORDS.search(head):
        return f"Keywords: {', '.join(keywords(text, 8))}."
    return None


def material(question: str) -> str | None:
    """The text that a question brings along: in quotes, after a colon, or below the first line."""
    quoted = _QUOTED.search(question)
    if quoted is not None:
        return quoted[1].strip()
    first, _, rest = question.partition("\n")
    if rest.strip():
        return rest.strip()
    _, colon, tail = first.partition(": ")
    return tail.strip() if colon and tail.strip() else None


def _summary(conversation: Conversation) -> str | None:
    text = material(conversation.whole_question)
    if text is None or len(text.split()) < 12:
        text = conversation.replies[-1] if conversation.replies else text
    if text is None:
        return None
    chosen = summarise(text, most=3)
    subjects = joined(keywords(text, 3))
    return f"In short, this is about {subjects}: {chosen}" if subjects else chosen


def summarise(text: str, most: int) -> str:
    """The `most` sentences that hold the text's commonest words, in their order."""
    parts = sentences(text)
    if len(parts) <= most:
        return " ".join(parts)
    counts = Counter(stem(word) for word in words(text) if word.casefold() not in STOP_WORDS)

    def weight(sentence: str) -> float:
        roots = [stem(word) for word in words(sentence) if word.casefold() not in STOP_WORDS]
        return sum(counts[root] for root in roots) / (len(roots) + 3)

    ranked = sorted(range(len(parts)), key=lambda at: (-weight(parts[at]) - (0.5 if at == 0 else 0), at))
    return " ".join(parts[at] for at in sorted(ranked[:most]))


def _counted(text: str, unit: str) -> str:
    number = {
        "words": len(text.split()),
        "letters": sum(character.isalpha() for character in text),
        "characters": len(text),
        "sentences": len(sentences(text)),
        "lines": len(text.splitlines()),
    }[unit]
    return f"The text has {number} {unit if number != 1 else unit[:-1]}."


def _sorted(text: str) -> str:
    items = [item.strip() for item in re.split(r"[,;\n]", text) if item.strip(" .")]
    if all(re.fullmatch(r"-?\d+(\.\d+)?", item) for item in items):
        return ", ".join(sorted(items, key=float))
    return ", ".join(sorted((item.rstrip(".") for item in items), key=str.casefold))
