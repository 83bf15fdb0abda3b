"""Greetings, thanks, farewells and questions about the assistant itself."""

import re

from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.memory import user_name
from emulators.model_vendor.responder.words import pick

_GREETING = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|greetings|howdy)\b[\w\s,]{0,20}[!.?]*\W*$", re.IGNORECASE
)
_THANKS = re.compile(
    r"^\W*(?:thanks?(?: you)?|thx|cheers|great|perfect|awesome|nice)\b[\w\s,!]{0,30}\W*$", re.IGNORECASE
)
_BYE = re.compile(r"^\W*(?:bye|goodbye|see you|farewell|good night)\b[\w\s,!]{0,20}\W*$", re.IGNORECASE)
_HOW_ARE_YOU = re.compile(r"\bhow are you\b|\bhow(?:'s| is) it going\b", re.IGNORECASE)
_IDENTITY = re.compile(
    r"\b(?:who|what) are you\b|\byour name\b|\bwhich model\b|\bare you (?:a|an|chatgpt|human|real)\b", re.IGNORECASE
)
_ABILITY = re.compile(r"\bwhat can you (?:do|help)|\bhow can you help\b", re.IGNORECASE)
_PERSONA = re.compile(r"\b[Yy]ou are (?:called |named )?([A-Z][\w-]+(?: [A-Z][\w-]+)?)(?=[,.]| the | an? )")
_PING = re.compile(r"^\W*(?:ping|test(?:ing)?|are you there)\W*$", re.IGNORECASE)


def chat(conversation: Conversation) -> str | None:
    """A friendly sentence, or None when the question is about something."""
    question = conversation.question
    name = user_name(conversation)
    you = f", {name.split()[0]}" if name else ""
    if not question:
        return "Your message is empty. Ask me something, and I will do my best."
    for pattern, answer in (
        (_HOW_ARE_YOU, f"I am well, thank you{you}. What can I help you with?"),
        (_IDENTITY, _identity(conversation)),
        (_ABILITY, "I can explain technical topics, compare options, do sums, convert units, reckon with dates, write "
         "small pieces of code, summarise texts and look at pictures. Ask away."),
        (_PING, "I am here and listening."),
        (_THANKS, pick([f"You are welcome{you}!", f"My pleasure{you}.", f"Glad that it helped{you}."], question)),
        (_BYE, pick([f"Goodbye{you}, and good luck!", f"See you soon{you}."], question)),
        (_GREETING, pick([f"Hello{you}! What would you like to know?", f"Hi{you}! How can I help?"], question)),
    ):  # fmt: skip
        if pattern.search(question):
            return answer
    return None


def _identity(conversation: Conversation) -> str:
    persona = _PERSONA.search(conversation.instructions)
    if persona is not None:
        return f"I am {persona[1]}, your assistant. Ask me anything, and I will answer as well as I can."
    return (
        "I am a simulated assistant: a small program with fixed rules, "
        "so the same question always gets the same answer."
    )
