"""Answers as JSON: in the shape of a schema, or as an object around the text."""

from collections.abc import Mapping

import orjson
from pydantic import JsonValue

from emulators.model_vendor.responder import schema
from emulators.model_vendor.responder.compose import kind_of
from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.words import keywords


def fill(conversation: Conversation, form: Mapping[str, JsonValue]) -> str:
    """A JSON text that fits `form`, from the question's words."""
    return orjson.dumps(schema.fill(form, conversation.question)).decode()


def wrap(conversation: Conversation, text: str) -> str:
    """`text` inside an object with the kind of question and its keywords."""
    question = conversation.question
    answer = {"answer": text, "kind": kind_of(question).value, "keywords": keywords(question, 4)}
    return orjson.dumps(answer).decode()
