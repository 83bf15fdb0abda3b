"""Somebody who has models chosen for their messages, and asks before they send one what it would cost.

What they want of a choice differs by seed: the cheapest, the best or the fastest, for at most so much, and nobody of
some providers, not even where another one fails. What is right stands in `simulation.chat`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final, cast

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.kit.ids import derived
from app.kit.money import from_decimal, to_decimal
from app.kit.stores.documents import Document, int_field
from app.metering.billing import Mode
from app.ports import Identity
from simulation.audit.records import Records
from simulation.chat.choices import Wishes, chosen
from simulation.chat.estimates import Message, compared, estimated, routed, tabled
from simulation.devices import Http, Reading
from simulation.instance import Backend
from simulation.outside.book import BOOK, BY_VENDOR
from simulation.outside.model_vendor import BREAKS
from simulation.workload import Known
from simulation.world import World

SECOND: Final = 1_000_000
_WANTED: Final = ("cost", "cost", "cost", "quality", "quality", "speed", "balanced")
_BOUNDS: Final = (None, 20_000, 60_000, 400_000)
"""Micro-credits that a message may cost."""
_WITHOUT: Final = ((), ("southern seas",), ("south",), ("northern works", "east"), ("simulator",))
_MOST_OUTPUT: Final = (None, 20, 300)
_ASKED: Final = (
    "Write a Python function that sorts a list",
    "Write a poem about rain",
    "Why is the sky blue, step by step",
    "Research the market for bicycles and write a report",
    "Report on sales",
    "hm",
)


@dataclass(frozen=True)
class _Phone(Http):
    """An `Http` device that decides how models are chosen."""

    def prefer(self, backend: Backend, wishes: Wishes) -> str:
        """Decides how models are chosen."""
        body: dict[str, object] = {"optimize": wishes.optimize, "excluded_providers": sorted(wishes.without)}
        if wishes.bound is not None:
            body["most_per_message"] = to_decimal(wishes.bound)
        return str(self._told(self._ask(backend, "PUT", "/v1/models/preferences", body)).fields["optimize"])

    def forecast(self, backend: Backend, ask: Ask, asked: Message) -> Mapping[str, object]:
        """Who would answer, and what it would cost."""
        body = {"content": ask.content, "model": ask.model, "conversation_id": ask.conversation_id}
        return self._post(backend, "/v1/chat/estimate", {**body, "images": asked.pictures}, asked)

    def bind(self, backend: Backend, ask: Ask) -> Mapping[str, object]:
        """A price of this message that binds."""
        body = {"content": ask.content, "model": ask.model, "conversation_id": ask.conversation_id}
        return self._told(self._ask(backend, "POST", "/v1/chat/quotes", body)).fields

    def compare(self, backend: Backend, asked: Message) -> Mapping[str, object]:
        """What every model would cost."""
        body = {"content": asked.content, "image": asked.pictures > 0}
        return self._post(backend, "/v1/models/estimate-cost", body, asked)

    def policy(self, backend: Backend) -> Mapping[str, object]:
        """The billing table."""
        return self._told(self._ask(backend, "GET", "/v1/billing/policy")).fields

    def _post(self, backend: Backend, path: str, body: Mapping[str, object], asked: Message) -> Mapping[str, object]:
        bounded = {} if asked.most_output is None else {"max_output_tokens": asked.most_output}
        return self._told(self._ask(backend, "POST", path, {**body, **bounded})).fields


class Choosy:
    """Lives in some seeds."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._kernel = world.kernel
        self.uid = "choosy"
        self._phone = _Phone(self._kernel, self.uid, world.outside.tokens.issue(Principal(self.uid)), known.keyed)
        self._said: dict[str, tuple[str, int]] = {}
        """By message, the model that was to answer, and the most that was said it costs."""
        self._quoted: dict[str, tuple[str, int]] = {}
        """By message that was sent with a quote, the model and the ceiling that bind."""
        self._found: list[str] = []
        self._dice = Random(f"choosy {self._kernel.seed}")
        self.come = self._dice.random() < 0.35
        without, wanted = frozenset(self._dice.choice(_WITHOUT)), self._dice.choice(_WANTED)
        self._wishes = Wishes(wanted, self._dice.choice(_BOUNDS), without)

    def comes(self) -> None:
        """In the first minutes. Its own dice: a seed to which it does not come runs as if there were none."""
        if self.come:
            mail = f"{self.uid}@fourth.example"
            self._world.outside.people.known[self.uid] = Identity(self.uid, "google.com", "google-c", mail, True, 0)
            delay_us = self._dice.randrange(5, 200) * SECOND
            self._kernel.after(delay_us, lambda: self._kernel.start(self.uid, self._live))

    def verdict(self, records: Records) -> Iterator[str]:
        """What was said beforehand holds, the choice is right, and nobody was asked who was left out."""
        yield from self._found
        for one in self._world.outside.models.answers:
            if one.question.endswith(f"of {self.uid}") and BY_VENDOR[one.model].of(self._wishes.without):
                yield f"{one.model} was asked {one.question!r}, and was left out"
        for turn in records.documents(f"users/{self.uid}/conversations/"):
            if turn.fields.get("route") == "auto":
                yield from chosen(turn, self._wishes)
                yield from self._more_than_said(turn)
                yield from self._unlike_its_quote(turn)

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

    def _unlike_its_quote(self, turn: Document) -> Iterator[str]:
        """Where there was a quote, its model was asked, and no more could be charged than it said."""
        if quoted := self._quoted.get(turn.id):
            model, ceiling = quoted
            if turn.fields["model"] != model or int_field(turn.fields, "ceiling") > ceiling:
                yield f"{turn.id} asked {turn.fields['model']} for {turn.fields['ceiling']}, its quote says {quoted}"

    def _bound(self, ask: Ask, message: str) -> Ask:
        """The message at a price that binds, in half of the cases."""
        if self._dice.random() < 0.5:
            return ask
        told = self._world.request("choosy asks the price", lambda backend: self._phone.bind(backend, ask))
        if not isinstance(told, Mapping):
            return ask
        self._quoted[message] = (str(told["model"]), from_decimal(str(told["ceiling"])))
        return replace(ask, quote=str(told["quote_id"]))

    def _ask_first(self, ask: Ask, message: str) -> None:
        """Compares models, and asks what this message would be."""
        pictures, most = self._dice.choice((0, 1)), self._dice.choice(_MOST_OUTPUT)
        asked = Message(ask.content, pictures, most)
        told = self._world.request("choosy compares", lambda backend: self._phone.compare(backend, asked))
        if isinstance(told, Mapping):
            self._found += compared(asked, told)
        wishes = self._wishes
        planned = Message(ask.content, alone=False, without=wishes.without, bound=wishes.bound)
        told = self._world.request("choosy estimates", lambda backend: self._phone.forecast(backend, ask, planned))
        if isinstance(told, Mapping):
            estimate = cast(Mapping[str, object], told["estimate"])
            self._found += [*estimated(planned, estimate), *routed(told)]
            # A model may go down before the message is sent: the estimate of a model holds for that model.
            self._said[message] = (str(estimate["model"]), from_decimal(str(estimate["high"])))

    def _live(self) -> None:
        self._world.comes_online(self.uid)
        self._kernel.sleep(5 * SECOND)
        begun = self._world.request("choosy begins", self._phone.begin)
        told = self._world.request("choosy decides", lambda backend: self._phone.prefer(backend, self._wishes))
        table = self._world.request("choosy reads", self._phone.policy)
        if isinstance(table, Mapping):
            self._found += tabled(table)
        if not isinstance(begun, str) or told != self._wishes.optimize:
            return
        for number, text in enumerate(self._dice.sample(_ASKED, 3)):
            broken = f" {BREAKS}thrifty, {BREAKS}small, {BREAKS}grok" if self._dice.random() < 0.3 else ""
            self._say(begun, f"{text},{broken} {number} of {self.uid}", number)
            self._kernel.sleep(SECOND)

    def _say(self, conversation: str, content: str, number: int) -> None:
        ask = Ask(self.uid, conversation, content, model="auto", key=f"chosen-{number}")
        message = derived("msg", self.uid, conversation, f"chosen-{number}")
        self._known.conversations[message] = conversation_path(self.uid, conversation)
        self._known.questions[message] = content
        self._known.without[message] = self._wishes.without
        if self._wishes.bound is not None:
            self._known.limits[message] = self._wishes.bound
        self._ask_first(ask, message)
        ask = self._bound(ask, message)
        mode = self._dice.choice((Mode.STREAM, Mode.JSON))
        self._world.request("choosy says", lambda backend: self._phone.answer(backend, ask, mode, self._reading()))

    def _reading(self) -> Reading:
        def over(identity: str, state: str, cost: int, whole: str) -> None:
            if state == "done":
                self._known.answers.setdefault(identity, set()).add(cost)
                self._known.whole.setdefault(identity, set()).add(whole)

        return Reading(lambda _: False, over)
