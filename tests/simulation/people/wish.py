"""A message before it is sent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """What a message says, which model is to answer it (None: whichever it is) and what it may cost."""

    content: str
    model: str | None = None
    limit: int | None = None
