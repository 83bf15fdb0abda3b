"""Four people whose requests come to the same instance, while the vendor of a model that they use has no room.

First one of them has questions that break the model's server, which is no reason to keep the others from it. Then it is
away for all of them: left alone, tried with one request at a time, tried by somebody who stops waiting, and back again.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.kit.ids import derived
from app.metering.billing import Mode
from app.ports import Identity
from simulation.chat.circuits import Line
from simulation.devices import Http, Reading
from simulation.instance import Backend
from simulation.machine.kernel import CALM
from simulation.outside.book import BOOK
from simulation.outside.model_vendor import BREAKS, Away
from simulation.workload import Known
from simulation.world import World

SECOND: Final = 1_000_000
_NAMES: Final = ("ann", "bob", "cay", "dan")
_MODELS: Final = ("thrifty", "thrifty", "grok")
_TASKS: Final = ("chat", "writing", "reasoning", "code", "data_analysis", "research")
_SLOW_US: Final = 8 * SECOND


class _Phone(Http):
    """An `Http` device whose user has a model of their own for each task, and wants the cheapest besides."""

    def wants(self, backend: Backend, model: str) -> str:
        """Decides so."""
        body: dict[str, object] = {"optimize": "cost", "defaults": dict.fromkeys(_TASKS, model)}
        return str(self._told(self._ask(backend, "PUT", "/v1/models/preferences", body)).fields["optimize"])


class Neighbours:
    """Live in some seeds in which no instance dies or stands still."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._kernel = world.kernel
        self._dice = Random(f"neighbours {world.kernel.seed}")
        still = not (world.faults.crash or world.faults.stall)
        self.come = still and self._dice.random() < (0.8 if world.faults == CALM else 0.4)
        self._model = BOOK[self._dice.choice(_MODELS)]
        self._phones: dict[str, _Phone] = {}
        self._conversations: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        """By question, who sent it."""
        self._sent = 0
        self._last: dict[str, str] = {}
        """By name, the message that they sent last."""
        self._found: list[str] = []
        self._line: Line | None = None
        self._backend = world.backends[0]

    def comes(self) -> None:
        """In the first minutes."""
        if self.come:
            delay_us = self._dice.randrange(5, 100) * SECOND
            self._kernel.after(delay_us, lambda: self._kernel.start("neighbours", self._live))

    def verdict(self) -> list[str]:
        """What any of them could complain of."""
        return [*self._found, *(self._line.found if self._line else ())]

    def _live(self) -> None:
        for name in _NAMES:
            self._moves_in(name)
        self._kernel.sleep(5 * SECOND)
        self._backend = self._dice.choice(self._world.backends)
        self._line = line = Line(self._world, self._backend.instance, self._model, self._whose)
        for name in _NAMES:
            begun = self._world.request(f"{name} begins", self._phones[name].begin)
            if isinstance(begun, str):
                self._conversations[name] = begun
        if len(self._conversations) < len(_NAMES):
            return
        self._one_alone(line)
        self._all_of_them(line)

    def _moves_in(self, name: str) -> None:
        world = self._world
        world.outside.people.known[name] = Identity(name, "google.com", f"g-{name}", f"{name}@fifth.example", True, 0)
        token = world.outside.tokens.issue(Principal(name))
        self._phones[name] = _Phone(self._kernel, name, token, self._known.keyed)
        world.comes_online(name)

    def _one_alone(self, line: Line) -> None:
        """What one of them alone meets closes the model to nobody."""
        for _ in range(3):
            self._asks("bob", f"{BREAKS}{self._model.id}")
        asked = self._asks("ann", "and mine?")
        if not line.reached(asked) and self._met() == {"bob"}:
            self._found.append(f"{self._model.id} was closed to ann by what only bob had met")
        if self._chosen() is False and self._met() == {"bob"}:
            self._found.append(f"{self._model.id} was not chosen for cay for what only bob had met")

    def _all_of_them(self, line: Line) -> None:
        vendor, name = self._world.outside.models, self._model.vendor_id
        vendor.away[name] = Away(self._kernel.now_us + 600 * SECOND, SECOND // 3)
        opened_us = self._fails(line)
        if opened_us:
            self._until(opened_us + SECOND)
            asked = self._begins("cay", "is it open?")
            self._until(opened_us + 2 * SECOND)
            if self._chosen():
                self._found.append(f"{self._model.id} was chosen for cay, and has just failed again and again")
            vendor.away[name] = Away(self._kernel.now_us + 600 * SECOND, _SLOW_US)
            self._until(opened_us + 5 * SECOND)
            if line.reached(asked):
                self._found.append(f"{name} was asked just after it had failed again and again")
            self._until(opened_us + 11 * SECOND)
            for one in ("ann", "bob", "cay"):
                self._begins(one, "is it back?")
            self._until(opened_us + 17 * SECOND)
            self._begins("dan", "or now?")
            self._until(opened_us + 48 * SECOND)
            self._stops("bob", line)
        vendor.away.pop(name, None)
        for one in ("ann", "dan"):
            self._begins(one, "and now?")

    def _fails(self, line: Line) -> int:
        """Two of them ask until it has failed again and again; when that was, or 0."""
        for _ in range(4):
            for one in ("ann", "bob"):
                self._begins(one, "what now?")
            for _ in range(20):
                self._kernel.sleep(SECOND // 10)
                if line.opened:
                    return self._kernel.now_us
        return 0

    def _stops(self, name: str, line: Line) -> None:
        """One of them stops waiting for it, which says nothing of it: it is tried again with the next request."""
        asked = self._begins(name, "take your time")
        self._kernel.sleep(2 * SECOND)
        tried, message = line.reached(asked), self._last[name]
        self._world.request(f"{name} stops", lambda b: self._phones[name].cancel(b, message), self._backend)
        self._kernel.sleep(SECOND)
        self._world.outside.models.away.pop(self._model.vendor_id)
        if line.busy:
            return
        asked = self._begins("cay", "again?")
        self._kernel.sleep(2 * SECOND)
        if self._calm and tried and not line.reached(asked):
            self._found.append(f"{self._model.id} was not tried after {name} had stopped waiting for it")

    @property
    def _calm(self) -> bool:
        return self._world.faults == CALM

    def _met(self) -> set[str]:
        """Who has met a failure of the model, on any instance; one of others is met by nobody. In calm weather alone it
        is known that no connection has failed.
        """
        answers = [one for one in self._world.outside.models.answers if one.model == self._model.vendor_id]
        failed = {self._whose(one.question) for one in answers if one.failing is not None and one.failing.follows.sick}
        return failed if self._calm else set()

    def _chosen(self) -> bool | None:
        """Whether the model is chosen for somebody who wants it for every task; None when nothing is."""
        phone, model = self._phones["cay"], self._model.id
        if self._world.request("cay decides", lambda b: phone.wants(b, model), self._backend) != "cost":
            return None
        self._begins("cay", "whoever is well?", model="auto")
        self._kernel.sleep(SECOND)
        message = self._last["cay"]
        turn = self._world.documents.real.get(f"{self._known.conversations[message]}/messages/{message}")
        return None if turn is None else turn.fields["model"] == model

    def _until(self, at_us: int) -> None:
        self._kernel.sleep(max(0, at_us - self._kernel.now_us))

    def _whose(self, question: str) -> str:
        return self._owners.get(question, "")

    def _asks(self, name: str, text: str) -> str:
        """Sends a message and reads its answer; what it says."""
        question, send = self._says(name, text)
        send()
        return question

    def _begins(self, name: str, text: str, model: str = "") -> str:
        """Sends a message, and does not wait for its answer; what it says."""
        question, send = self._says(name, text, model)
        self._kernel.start(f"{name} asks", send)
        return question

    def _says(self, name: str, text: str, model: str = "") -> tuple[str, Callable[[], None]]:
        self._sent += 1
        key, conversation = f"{name}-{self._sent}", self._conversations[name]
        question = f"{text} {self._sent} of {name}"
        message = derived("msg", name, conversation, key)
        self._owners[question], self._last[name] = name, message
        self._known.conversations[message] = conversation_path(name, conversation)
        self._known.questions[message] = question
        ask = Ask(name, conversation, question, model=model or self._model.id, key=key)

        def answer(backend: Backend) -> None:
            self._phones[name].answer(backend, ask, Mode.JSON, self._reading)

        def send() -> None:
            self._world.request(f"{name} asks", answer, self._backend)

        return question, send

    @property
    def _reading(self) -> Reading:
        def over(identity: str, state: str, cost: int, whole: str) -> None:
            if state == "done":
                self._known.answers.setdefault(identity, set()).add(cost)
                self._known.whole.setdefault(identity, set()).add(whole)

        return Reading(lambda _: False, over)
