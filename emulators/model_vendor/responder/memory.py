"""What was said before: names, first and last questions, facts that the user told."""

import re

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.knowledge import mentioned
from emulators.model_vendor.responder.words import capital, joined, keywords, sentences

_NAME_GIVEN = re.compile(
    r"\b(?:my name is|i am called|call me|i'm called)\s+([A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)?)", re.IGNORECASE
)
_NAME_ASKED = re.compile(
    r"\b(?:what(?:'s| is| was) my name|who am i|do you (?:remember|know) my name)\b", re.IGNORECASE
)
_FACT_GIVEN = re.compile(r"\bmy ((?:favou?rite )?[\w ]{2,30}?) (is|are|was) ([^.!?\n]{1,80})", re.IGNORECASE)
_FACT_ASKED = re.compile(r"\bwhat(?:'s| is| are| was) my ((?:favou?rite )?[\w ]{2,30}?)\s*\?", re.IGNORECASE)
_REMEMBER = re.compile(r"\b(?:remember|note)(?: that| this)?:?\s+(.{3,200})", re.IGNORECASE | re.DOTALL)
_FIRST = re.compile(
    r"\b(?:what|which)\b.*\b(?:first|initial)(?:ly)?\b.*\b(?:ask|say|question|message)|"
    r"\bwhat did i (?:ask|say|write|want)\b.*\b(?:first|initially|at the (?:start|beginning))\b|"
    r"\bfirst (?:question|thing i (?:asked|said))",
    re.IGNORECASE,
)
_PREVIOUS = re.compile(
    r"\bwhat (?:did|was|were) (?:i|my).*\b(?:just|last|previous(?:ly)?|before|earlier)\b|"
    r"\bmy (?:last|previous) (?:question|message)\b",
    re.IGNORECASE,
)
_TOPICS = re.compile(
    r"\bwhat (?:did|have|were|are) we (?:\w+ )?(?:talk|discuss|cover|speak)|"
    r"\bsummar\w+ (?:our|this|the) (?:chat|conversation)|\brecap\b",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\bhow many (?:questions|messages|things) (?:did|have) i\b", re.IGNORECASE)
_REPEAT = re.compile(
    r"^\W*(?:please )?(?:repeat|say) (?:that|it|your (?:last )?answer)(?: again)?\W*$|^\W*(?:pardon|come again)\W*$",
    re.IGNORECASE,
)
_YOURS = re.compile(r"\bwhat (?:did|have) you (?:just )?(?:say|said|answer|tell|told)", re.IGNORECASE)


def recall(conversation: Conversation) -> str | None:
    """An answer about the conversation itself, or None."""
    question, earlier = conversation.question, conversation.earlier
    told = _told(question)
    if told is not None:
        return told
    for asked, remembered in (
        (_NAME_ASKED, _name),
        (_FIRST, _first),
        (_COUNT, _count),
        (_TOPICS, _topics),
        (_REPEAT, _repeat),
        (_YOURS, _repeat),
        (_PREVIOUS, _previous),
    ):
        if asked.search(question):
            return remembered(conversation)
    return _fact(question, earlier)


def user_name(conversation: Conversation) -> str | None:
    """The name that the user gave, if any; the latest counts."""
    found = [
        match[1] for text in (*conversation.earlier, conversation.question) for match in _NAME_GIVEN.finditer(text)
    ]
    # The pattern ignores case for its verbs, so "call me later" must be told from "call me Ada" here.
    names = [" ".join(word for word in name.split() if word[:1].isupper()) for name in found]
    return next((name for name in reversed(names) if name), None)


def _told(question: str) -> str | None:
    if "?" in question or len(question) > 300:
        return None
    name = _NAME_GIVEN.search(question)
    if name is not None and name[1][:1].isupper():
        rest = [fact for fact in _FACT_GIVEN.finditer(question) if fact[1].casefold() != "name"]
        also = f" I will also remember that your {rest[0][1]} {rest[0][2]} {rest[0][3].strip()}." if rest else ""
        return f"Nice to meet you, {name[1].split()[0]}!{also} What would you like to know?"
    fact = _FACT_GIVEN.match(question)
    if fact is not None:
        return f"Noted: your {fact[1]} {fact[2]} {fact[3].strip()}. I will keep it in mind for this conversation."
    keep = _REMEMBER.match(question)
    if keep is not None:
        return f"I will remember it for this conversation: {keep[1].strip().rstrip('.')}."
    return None


def _name(conversation: Conversation) -> str:
    name = user_name(conversation)
    if name is None:
        return "You have not told me your name in this conversation yet."
    return f"Your name is {name}; you told me earlier in this conversation."


def _first(conversation: Conversation) -> str:
    if not conversation.earlier:
        return "This is your first message in this conversation, so there is nothing before it."
    return f"The first thing you asked was: “{_quoted(conversation.earlier[0])}”"


def _previous(conversation: Conversation) -> str:
    if not conversation.earlier:
        return "Nothing yet: this is the first message that I can see."
    return f"Just before this you wrote: “{_quoted(conversation.earlier[-1])}”"


def _count(conversation: Conversation) -> str:
    number = len(conversation.earlier) + 1
    return f"You have sent {number} message{'s' if number > 1 else ''} in this conversation, this one included."


def _topics(conversation: Conversation) -> str:
    if not conversation.earlier:
        return "We have only just begun; you have not asked about anything yet."
    named = [topic.title for text in conversation.earlier for topic in mentioned(text)]
    subjects = list(dict.fromkeys(named)) or [
        " ".join(keywords(text, 3)) or "a greeting" for text in conversation.earlier
    ]
    opening = f"So far we talked about {joined(subjects[:6])}."
    if not conversation.replies:
        return opening
    last = sentences(conversation.replies[-1])
    return f"{opening} My last point was: {last[0] if last else conversation.replies[-1][:200]}"


def _repeat(conversation: Conversation) -> str:
    if not conversation.replies:
        return "I have not said anything yet in this conversation."
    return conversation.replies[-1]


def _fact(question: str, earlier: tuple[str, ...]) -> str | None:
    asked = _FACT_ASKED.search(question)
    if asked is None:
        return None
    subject = asked[1].casefold().strip()
    for text in reversed(earlier):
        for fact in _FACT_GIVEN.finditer(text):
            if fact[1].casefold().strip() == subject:
                return capital(f"your {fact[1]} {fact[2]} {fact[3].strip()}, as you told me.")
    return f"You have not told me your {subject} in this conversation."


def _quoted(text: str) -> str:
    return text if len(text) <= 300 else text[:297].rstrip() + "…"
