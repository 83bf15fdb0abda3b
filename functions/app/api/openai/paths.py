"""The addresses of the door for OpenAI's clients, as people and programs put them together. Pure."""

from typing import Final

PREFIX: Final = "/v1/openai/"
_CHAT: Final = ["chat", "completions"]


def is_door(path: str) -> bool:
    """Whether errors at this address have OpenAI's shape."""
    return path.startswith(PREFIX) or path == PREFIX[:-1]


def meant(path: str) -> str:
    """The address that a client means by `path`; any other than the door's stays as it is.

    A base URL is given with a slash at its end, or without `/v1`, which some clients then add; or with the whole
    address of completions, to which they add that of completions or of the models.
    """
    if not is_door(path):
        return path
    steps = [step for step in path.removeprefix(PREFIX[:-1]).split("/") if step]
    while steps[:1] == ["v1"]:
        del steps[0]
    while steps[:2] == _CHAT and len(steps) > 2:
        del steps[:2]
    return PREFIX + "/".join(steps)
