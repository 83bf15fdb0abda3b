"""Speaks about pictures from what was seen in their pixels."""

import re

from emulators.model_vendor.pictures import Seen
from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.words import joined

_ABOUT = re.compile(
    r"\b(?:image|picture|photo|pictures|images|photos|see|look|colou?rs?|shown?|describe|wide|width|high|height|size|format|"
    r"pixels?|screenshot|diagram|bright|dark|this|it)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"\b(?:size|wide|width|high|height|dimensions?|resolution|pixels?)\b", re.IGNORECASE)


def describe(conversation: Conversation) -> str | None:
    """What the pictures show; None when there are none or the question leaves them."""
    question, pictures = conversation.question, conversation.pictures
    if not pictures:
        return None
    new = any(
        turn.pictures
        for turn in conversation.turns
        if turn.role == "user" and turn.text.strip() == conversation.whole_question
    )
    if not new and not _ABOUT.search(question):
        return None
    if len(pictures) == 1:
        return _one(pictures[0], question)
    each = " ".join(f"Picture {number}: {_whole(picture)}" for number, picture in enumerate(pictures, start=1))
    return f"I see {len(pictures)} pictures. {each} {_together(pictures)}".strip()


def _one(picture: Seen, question: str) -> str:
    first = picture.colours[0] if picture.colours else None
    if first is not None and re.search(r"\bcolou?rs?\b", question, re.IGNORECASE):
        leading = f"The dominant colour is {first.name} ({first.hex}), covering about {first.percent}% of the picture."
        return leading + _rest(picture)
    if _SIZE.search(question):
        size = f"{picture.width} pixels wide and {picture.height} pixels high"
        return f"The picture is {size}, a {picture.format} file in {_shape(picture)} format."
    if re.search(r"\b(?:file type|format|file format)\b", question, re.IGNORECASE):
        return f"It is a {picture.format} file of {picture.width} x {picture.height} pixels."
    return f"The picture is {_whole(picture)}"


def _whole(picture: Seen) -> str:
    colours = joined([f"{colour.name} ({colour.percent}%)" for colour in picture.colours]) or "very many colours"
    texture = (
        "one flat area" if picture.contrast < 4 else "soft transitions" if picture.contrast < 40 else "strong contrasts"
    )
    light = "dark" if picture.brightness < 80 else "bright" if picture.brightness > 175 else "of medium brightness"
    extra = " It has transparent parts." if picture.transparent else ""
    frames = f" It is animated, with {picture.frames} frames." if picture.frames > 1 else ""
    return (
        f"a {_shape(picture)} {picture.format} of {picture.width} x {picture.height} pixels, mostly {colours}; "
        f"it is {light}, with {texture}.{extra}{frames}"
    )


def _rest(picture: Seen) -> str:
    others = [f"{colour.name} ({colour.percent}%)" for colour in picture.colours[1:]]
    return f" After it come {joined(others)}." if others else " There is hardly any other colour."


def _shape(picture: Seen) -> str:
    if picture.width == picture.height:
        return "square"
    return "landscape" if picture.width > picture.height else "portrait"


def _together(pictures: tuple[Seen, ...]) -> str:
    leading = {picture.colours[0].name for picture in pictures if picture.colours}
    if len(leading) == 1:
        return f"They share {leading.pop()} as their main colour."
    return "Their main colours differ."
