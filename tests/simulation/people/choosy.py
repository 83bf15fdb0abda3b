"""Somebody who has the cheapest model chosen for each message, bounds what one may cost, and asks before they send it.

What is right is computed from the price book and from what was asked and told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, cast

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.kit.ids import derived
from app.kit.money import from_decimal, to_decimal
from app.kit.stores.documents import Document, Fields, int_field
from app.metering.billing import Mode
from app.ports import Identity
from simulation.audit.records import Records
from simulation.devices import Http, Reading
from simulation.instance import Backend
from simulation.outside.book import BOOK, OPEN
from simulation.workload import Known
from simulation.world import World

SECOND: Final = 1_000_000
_BOUNDS: Final = (None, 20_000, 60_000, 400_000)
"""Micro-credits that a message may cost."""
_ASKED: Final = (
    "Write a Python function that sorts a list",
    "Write a poem about rain",
    "Why is the sky blue, step by step",
    "Research the market for bicycles and write a report",
    "hm",
)


@dataclass(frozen=True)
class _Phone(Http):
    """An `Http` device that decides how models are chosen."""

    def prefer(self, backend: Backend, bound: int | None) -> str:
        """Wants the cheapest, for at most so much."""
        body: dict[str, object] = {"optimize": "cost"}
        if bound is not None:
            body["most_per_message"] = to_decimal(bound)
        return str(self._told(self._ask(backend, "PUT", "/v1/models/preferences", body)).fields["optimize"])

    def forecast(self, backend: Backend, ask: Ask) -> Mapping[str, object]:
        """Who would answer, and what it would cost."""
        body = {"content": ask.content, "model": ask.model, "conversation_id": ask.conversation_id}
        return self._told(self._ask(backend, "POST", "/v1/chat/estimate", body)).fields

    def compare(self, backend: Backend, content: str) -> Mapping[str, object]:
        """What every model would cost."""
        return self._told(self._ask(backend, "POST", "/v1/models/estimate-cost", {"content": content})).fields


class Choosy:
    """Lives in some seeds."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._kernel = world.kernel
        self.uid = "choosy"
        self._phone = _Phone(self._kernel, self.uid, world.outside.tokens.issue(Principal(self.uid)), known.keyed)
        self._said: dict[str, tuple[str, int]] = {}
        """By message, the model that was to answer, and the most that was said it costs."""
        self._found: list[str] = []

    def comes(self) -> None:
        """In the first minutes. Its own dice: a seed to which it does not come runs as if there were none."""
        if Random(f"choosy {self._kernel.seed}").random() < 0.15:
            mail = f"{self.uid}@fourth.example"
            self._world.outside.people.known[self.uid] = Identity(self.uid, "google.com", "google-c", mail, True, 0)
            delay_us = self._kernel.random.randrange(5, 200) * SECOND
            self._kernel.after(delay_us, lambda: self._kernel.start(self.uid, self._live))

    def verdict(self, records: Records) -> Iterator[str]:
        """What was said beforehand holds, and the choice is the cheapest."""
        yield from self._found
        for turn in records.documents(f"users/{self.uid}/conversations/"):
            if turn.fields.get("route") == "auto":
                yield from _dearer(turn)
                yield from self._more_than_said(turn)

    def _more_than_said(self, turn: Document) -> Iterator[str]:
        """The charge is at most what the estimate and the bound said, and of the chosen model or one in its place."""
        if turn.fields["state"] == "running":
            return
        cost, model = int_field(turn.fields, "cost"), BOOK.get(str(turn.fields["model"]))
        bound = self._known.limits.get(turn.id)
        said, high = self._said.get(turn.id, ("", 0))
        if said == turn.fields["model"] and cost > high:
            yield f"{turn.id} cost {cost}, and at most {high} was said"
        if bound is not None and cost > bound:
            yield f"{turn.id} cost {cost}, and {bound} was the most that was wanted"
        answered = turn.fields.get("answered_by")
        if model is not None and answered and answered not in (model.id, *model.fallbacks):
            yield f"{turn.id} was answered by {answered}, and {model.id} was chosen"

    def _ask_first(self, ask: Ask, message: str) -> None:
        """Compares models, and asks what this message would be."""
        told = self._world.request("choosy compares", lambda backend: self._phone.compare(backend, ask.content))
        if isinstance(told, Mapping):
            self._found += _disordered(told)
        told = self._world.request("choosy estimates", lambda backend: self._phone.forecast(backend, ask))
        if isinstance(told, Mapping):
            estimate = cast(Mapping[str, object], told["estimate"])
            self._found += _disordered({"estimates": [estimate]})
            # A model may go down before the message is sent: the estimate of a model holds for that model.
            self._said[message] = (str(estimate["model"]), from_decimal(str(estimate["high"])))

    def _live(self) -> None:
        self._world.comes_online(self.uid)
        self._kernel.sleep(5 * SECOND)
        bound = self._kernel.random.choice(_BOUNDS)
        begun = self._world.request("choosy begins", self._phone.begin)
        told = self._world.request("choosy decides", lambda backend: self._phone.prefer(backend, bound))
        if not isinstance(begun, str) or told != "cost":
            return
        for number, text in enumerate(self._kernel.random.sample(_ASKED, 3)):
            self._say(begun, f"{text}, {number} of {self.uid}", number, bound)
            self._kernel.sleep(SECOND)

    def _say(self, conversation: str, content: str, number: int, bound: int | None) -> None:
        ask = Ask(self.uid, conversation, content, model="auto", key=f"chosen-{number}")
        message = derived("msg", self.uid, conversation, f"chosen-{number}")
        self._known.conversations[message] = conversation_path(self.uid, conversation)
        self._known.questions[message] = content
        if bound is not None:
            self._known.limits[message] = bound
        self._ask_first(ask, message)
        mode = self._kernel.random.choice((Mode.STREAM, Mode.JSON))
        self._world.request("choosy says", lambda backend: self._phone.answer(backend, ask, mode, self._reading()))

    def _reading(self) -> Reading:
        def over(identity: str, state: str, cost: int, whole: str) -> None:
            if state == "done":
                self._known.answers.setdefault(identity, set()).add(cost)
                self._known.whole.setdefault(identity, set()).add(whole)

        return Reading(lambda _: False, over)


def _dearer(turn: Document) -> Iterator[str]:
    """What is wrong with a choice by price: by the price book alone, whatever the backend thinks a message costs."""
    choice = cast(Fields, turn.fields.get("choice") or {})
    others = cast("list[Mapping[str, object]]", choice.get("alternatives") or [])
    chosen = BOOK.get(str(turn.fields["model"]))
    if chosen is None or choice.get("model") != chosen.id:
        yield f"{turn.id} asks {turn.fields['model']}, chosen was {choice.get('model')}"
        return
    if {str(one["model"]) for one in others} != OPEN.keys() - {chosen.id}:
        yield f"{turn.id} names {[one['model'] for one in others]} beside {chosen.id}"
    for one in others:
        free = BOOK.get(str(one["model"])) if one["why_not"] is None else None
        if free and free.prices["input"] < chosen.prices["input"] and free.prices["output"] < chosen.prices["output"]:
            yield f"{turn.id} was for {chosen.id} though {free.id} was free and is cheaper"


def _disordered(told: Mapping[str, object]) -> Iterator[str]:
    """Estimates of which a lower bound is above a higher one."""
    for one in cast("list[Mapping[str, object]]", told["estimates"]):
        amounts = [from_decimal(str(one[name])) for name in ("low", "expected", "p90", "high")]
        if amounts != sorted(amounts):
            yield f"the estimate of {one['model']} is not in order: {amounts}"
