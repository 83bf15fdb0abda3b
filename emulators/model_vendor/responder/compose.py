"""Explains, compares and lists: builds an answer from known topics, or from the question's own words.

Owns the kinds of question and the order of facts. Refuses to know lengths and formats.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.knowledge import Topic, mentioned, related
from emulators.model_vendor.responder.words import joined, keywords, pick, sentences


class Kind(StrEnum):
    """What a question wants to know."""

    COMPARE = "compare"
    LIST = "list"
    WHY = "why"
    HOW = "how"
    PITFALL = "pitfall"
    EXAMPLE = "example"
    WHEN = "when"
    WHAT = "what"


_KINDS = (
    (
        Kind.COMPARE,
        r"\b(?:compare|versus|vs\.?|difference|differ|better|or should)\b|\b(?:which|should|is|are)\b.*\bor\b",
    ),
    (Kind.LIST, r"\b(?:list|steps|checklist|ways to|tips|pros and cons|name (?:some|\w+)|ideas|bullet)\b"),
    (
        Kind.PITFALL,
        r"\b(?:pitfalls?|wrong|fails?|failure|mistakes?|risks?|dangers?|disadvantages?|drawbacks?|careful|problems?)\b",
    ),
    (Kind.EXAMPLE, r"\b(?:examples?|for instance|show me)\b"),
    (Kind.WHEN, r"\bwhen (?:should|do|would|to|is)\b|\bshould i use\b"),
    (Kind.WHY, r"\b(?:why|reasons?|benefits?|advantages?|what for|the point|purpose)\b"),
    (Kind.HOW, r"\bhow\b"),
)
_FOLLOW_UP = re.compile(
    r"^\W*(?:and |but |ok(?:ay)?,? |so |then )*(?:why|how|when|more|tell me more|go on|continue|"
    r"give (?:me )?(?:an? )?(?:other )?example|"
    r"(?:an? )?(?:other )?example|what (?:about|else|if)|is (?:it|that)|does (?:it|that)|can (?:it|you)|"
    r"elaborate|explain)\b|"
    r"\b(?:it|its|that|this|they|them|those|the former|the latter)\b",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"^\W*(?:tell me more|more|go on|continue|elaborate|and\??|what else|explain (?:it |that )?(?:more|further))\b",
    re.IGNORECASE,
)


def answer(conversation: Conversation) -> str:
    """The best answer that the built-in knowledge gives."""
    question = conversation.question
    topics = mentioned(question)
    if not topics and _refers_back(question):
        topics = _last_topics(conversation)
        if topics and _MORE.search(question):
            return _more(topics[0], conversation)
    kind = kind_of(question)
    if kind is Kind.COMPARE and len(topics) >= 2:
        return _compare(topics[0], topics[1])
    if topics:
        return _explain(topics, kind)
    return _from_words(conversation, kind)


def kind_of(question: str) -> Kind:
    """What the question wants to know."""
    return next((kind for kind, pattern in _KINDS if re.search(pattern, question, re.IGNORECASE)), Kind.WHAT)


def further(conversation: Conversation, text: str) -> Iterator[str]:
    """Sentences that go on from `text`, nearest first, none of them said yet."""
    said = set(sentences(text))
    queue = mentioned(conversation.question) or mentioned(text) or _last_topics(conversation)
    seen: set[str] = set()
    while queue:
        topic = queue.pop(0)
        if topic.title in seen:
            continue
        seen.add(topic.title)
        queue += related(topic)
        for facet in topic.facets:
            for sentence in sentences(facet):
                if sentence not in said:
                    said.add(sentence)
                    yield sentence
    subject = joined(keywords(conversation.question, 2)) or "this"
    for template in _GENERAL:
        sentence = template.format(subject=subject)
        if sentence not in said:
            yield sentence


def _refers_back(question: str) -> bool:
    return len(question) < 160 and _FOLLOW_UP.search(question) is not None


def _last_topics(conversation: Conversation) -> list[Topic]:
    for text in reversed(conversation.earlier):
        found = mentioned(text)
        if found:
            return found
    for text in reversed(conversation.replies):
        found = mentioned(text)
        if found:
            return found[:1]
    return []


def _explain(topics: list[Topic], kind: Kind) -> str:
    topic = topics[0]
    match kind:
        case Kind.WHY:
            parts = [topic.why, topic.example]
        case Kind.HOW:
            parts = [topic.how, topic.example, f"One thing to watch: {_lower(topic.pitfall)}"]
        case Kind.PITFALL:
            parts = [topic.pitfall, f"Otherwise the principle holds: {_lower(topic.how)}"]
        case Kind.EXAMPLE:
            parts = [topic.example, topic.how]
        case Kind.WHEN:
            parts = [f"Use {_inside(topic)} when {topic.choose}.", topic.why, f"But mind this: {_lower(topic.pitfall)}"]
        case Kind.LIST:
            return _listed(topics)
        case _:
            parts = [topic.what, topic.how, topic.example]
    others = [other for other in topics[1:3] if other.title not in topic.title]
    parts += [other.what for other in others]
    return " ".join(parts)


def _compare(one: Topic, other: Topic) -> str:
    return (
        f"{one.what} {other.what} Choose {_inside(one)} when {one.choose}; "
        f"choose {_inside(other)} when {other.choose}. "
        f"Watch out: {_lower(one.pitfall)} And on the other side: {_lower(other.pitfall)}"
    )


def _listed(topics: list[Topic]) -> str:
    topic = topics[0]
    points = [
        ("What", topic.what),
        ("How", topic.how),
        ("Why", topic.why),
        ("Example", topic.example),
        ("Watch out", topic.pitfall),
    ]
    lines = [f"- **{label}:** {text}" for label, text in points]
    return f"{topic.title} in five points:\n" + "\n".join(lines)


def _more(topic: Topic, conversation: Conversation) -> str:
    said = "\n".join(conversation.replies)
    fresh = [facet for facet in topic.facets if facet not in said]
    neighbours = [other.what for other in related(topic) if other.what not in said]
    return " ".join((fresh + neighbours)[:3]) or f"That is all that I know about {_inside(topic)}."


def _inside(topic: Topic) -> str:
    first = topic.title.split()[0]
    return (
        topic.title if first[1:] != first[1:].lower() or first in _PROPER else topic.title[:1].lower() + topic.title[1:]
    )


_PROPER = frozenset(
    (
        "Firestore",
        "Realtime",
        "Redis",
        "Docker",
        "Kubernetes",
        "Git",
        "Python",
        "Linux",
        "Merkle",
        "Raft",
        "Bitcoin",
        "Ethereum",
        "Unicode",
        "Cloud",
    )
)


def _lower(sentence: str) -> str:
    first = sentence.split(" ", 1)[0]
    keep = first[1:] != first[1:].lower() or first in _PROPER or (len(first) == 1 and first == "I")
    return sentence if keep else sentence[:1].lower() + sentence[1:]


_STEPS = (
    "Say what a good result looks like, so that you can tell when you are done.",
    "Find out what is there already: limits, people, earlier attempts.",
    "Take the smallest step that shows something real, and look at the outcome with fresh eyes.",
    "Keep what worked, change one thing at a time, and note why.",
    "Repeat until the result is good enough, and make it easy to undo.",
)
_GENERAL = (
    "It helps to separate what is known about {subject} from what is only assumed.",
    "Small reversible steps beat one large plan here.",
    "Ask who else has a stake in {subject}, because their limits shape the options.",
    "Measure before and after, so that an improvement is more than an impression.",
    "Common mistakes are to start too big, to change several things at once and to stop before checking the outcome.",
    "If two options look equal, take the one that is easier to reverse.",
    "A short written note on {subject} saves a long discussion later.",
    "Compare the cost of being wrong with the cost of waiting.",
)
_REASON = (
    "I have no facts of my own about {subject}, but questions of this kind usually have three answers that work "
    "together: a need that was real at the start, a habit that formed around it, and somebody who gains from it today. "
    "Look for each of the three in {first}, and the strongest reason shows."
)
_CHOICE = (
    "The choice between {options} depends on three things: what you must not lose, what you do most often, and what "
    "you can undo. Write down how each option does in all three; the one that wins where it hurts most is yours."
)
_OPENINGS = (
    "I have no facts of my own about {subject}, so here is how I would get to a good answer.",
    "About {subject} I know only what you tell me, but this is how to go about it.",
    "My knowledge does not reach to {subject}; a method helps all the same.",
)
_METHOD = (
    "Pin down first what you want to know about {first}: a definition, a cause or a decision. Then look for a source "
    "close to the matter{also}, and compare it with a second one. If you tell me what you know already, I can sort it, "
    "compare it or put it into words."
)


def _from_words(conversation: Conversation, kind: Kind) -> str:
    question = conversation.question
    found = keywords(question, 3)
    if not found:
        return "Could you tell me a little more? I am not sure yet what your question is about."
    subject, first = joined(found), found[0]
    match kind:
        case Kind.HOW | Kind.LIST:
            task = _task(question)
            opening = f"To {task}, work in small steps." if task else f"A practical way into {subject}:"
            steps = [f"{number}. {step}" for number, step in enumerate(_STEPS, start=1)]
            return opening + "\n" + "\n".join(steps)
        case Kind.COMPARE:
            options = _options(question) or joined(found[:2], "and")
            return _CHOICE.format(options=options)
        case Kind.WHY:
            return _REASON.format(subject=subject, first=first)
        case _:
            opening = pick(list(_OPENINGS), question, str(conversation.seed)).format(subject=subject)
            also = f" that also speaks of {found[1]}" if len(found) > 1 else ""
            return f"{opening} {_METHOD.format(first=first, also=also)}"


def _options(question: str) -> str | None:
    match = re.search(r"([\w'-]+) or (?:to )?([\w'-]+(?: [\w'-]+){0,2})", question)
    return f"“{match[1]}” and “{match[2]}”" if match is not None else None


def _task(question: str) -> str | None:
    match = re.search(
        r"\bhow (?:do|can|should|would|could) (?:i|we|you|one) ([^.?!\n]{3,80})|\bhow to ([^.?!\n]{3,80})",
        question,
        re.IGNORECASE,
    )
    if match is None:
        return None
    return re.sub(r"\bmy\b", "your", (match[1] or match[2]).strip())
