"""What the responder sees: the turns, what is offered, and the form that the answer must have."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from emulators.model_vendor.pictures import Seen


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; `name` is the tool's for a tool result."""

    role: str
    text: str
    pictures: tuple[Seen, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A function that may be called."""

    name: str
    description: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)


_HEAD = 2000
_TAIL = 1000


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that an answer may depend on."""

    turns: tuple[Turn, ...]
    offers: tuple[Offer, ...] = ()
    must_call: bool = False
    parallel: bool = True
    json_schema: Mapping[str, JsonValue] | None = None
    json_object: bool = False
    seed: int = 0

    @property
    def question(self) -> str:
        """The last user turn as far as it matters for what is asked: a long text keeps its head and its tail."""
        return _clipped(self._last.text)

    @property
    def whole_question(self) -> str:
        """The last user turn with all the text that it brings along."""
        return self._last.text.strip()

    @property
    def pictures(self) -> tuple[Seen, ...]:
        """The pictures of the last user turn, or of the last turn that had any when it has none."""
        shown = [turn.pictures for turn in self.turns if turn.pictures]
        return self._last.pictures or (shown[-1] if shown else ())

    @property
    def _last(self) -> Turn:
        users = [turn for turn in self.turns if turn.role == "user"]
        return users[-1] if users else self.turns[-1]

    @property
    def earlier(self) -> tuple[str, ...]:
        """What the user said before the last question, oldest first."""
        users = [_clipped(turn.text) for turn in self.turns if turn.role == "user"]
        return tuple(users[:-1])

    @property
    def replies(self) -> tuple[str, ...]:
        """What the assistant has said."""
        return tuple(turn.text.strip() for turn in self.turns if turn.role == "assistant" and turn.text.strip())

    @property
    def instructions(self) -> str:
        """System and developer texts."""
        return "\n".join(turn.text for turn in self.turns if turn.role in ("system", "developer"))

    @property
    def results(self) -> tuple[Turn, ...]:
        """Tool results that came after the last user turn."""
        last_user = max((at for at, turn in enumerate(self.turns) if turn.role == "user"), default=-1)
        return tuple(turn for turn in self.turns[last_user + 1 :] if turn.role == "tool")


def _clipped(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} … {text[-_TAIL:]}"
