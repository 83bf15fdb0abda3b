"""Greets who is greeted: one of each contribution, each as small as it can be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask_openapi import APIBlueprint

from app.api.auth import caller
from app.api.callables import CallableHandler
from app.feature import Feature, Figure, Invariant
from app.kit.environment import Environment
from app.kit.stores.documents import Documents, Increment, Merge, Query, Where, int_field
from app.orchestration.event_bus import Subscription
from app.orchestration.queue.handler import Done, Handler, Lane, Run
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sweeper import Chore

LANE: Final = Lane("greetings", 2)


@dataclass(frozen=True, slots=True)
class GreetingSettings:
    """`most`: greetings that one person may get."""

    most: int

    @classmethod
    def read(cls, env: Environment) -> "GreetingSettings":
        """Raises `BadSetting`."""
        return cls(env.whole("GREETINGS_MOST", 3, at_least=1))


class GreetingFeature(Feature):
    """Counts greetings in `greetings/{who}`."""

    def __init__(self, settings: GreetingSettings, documents: Documents) -> None:
        super().__init__()
        self.settings, self._documents = settings, documents

    def greet(self, who: str) -> None:
        self._documents.commit([Merge(f"greetings/{who}", {"count": Increment(1)})])

    def greeted(self, who: str) -> int:
        found = self._documents.get(f"greetings/{who}")
        return int_field(found.fields, "count") if found else 0

    def routes(self) -> Sequence[APIBlueprint]:
        blueprint = APIBlueprint("greetings", __name__)

        @blueprint.get("/greetings")
        def greetings() -> dict[str, int]:
            return {"count": self.greeted(caller().uid), "most": self.settings.most}

        return [blueprint]

    def callables(self) -> Mapping[str, CallableHandler]:
        return {"greet": lambda call: {"count": self.greeted(call.who.uid)}}

    def handlers(self) -> Sequence[Handler]:
        return [Handler("greetings.greet", self._operation, lane=LANE.name)]

    def subscriptions(self) -> Sequence[Subscription]:
        return [Subscription("greetings.opened", "AccountOpened", lambda event, _: self._said(f"new {event.account}"))]

    def sagas(self) -> Sequence[SagaDefinition]:
        return [SagaDefinition("greetings.round", 1, (SagaStep("say", lambda run: self._step(run.saga_id)),))]

    def lanes(self) -> Sequence[Lane]:
        return [LANE]

    def chores(self) -> Sequence[Chore]:
        return [Chore("greetings", self._sweep)]

    def figures(self) -> Iterable[Figure]:
        yield Figure("greetings", "People who were greeted", len(self._documents.query(Query("greetings"))))

    def invariants(self) -> Sequence[Invariant]:
        return [Invariant("greetings_are_few", self._too_many)]

    def order(self, who: str) -> Order:
        return Order("greetings.greet", {"who": who}, once=who)

    def _too_many(self) -> list[str]:
        where = (Where("count", ">", self.settings.most),)
        return [one.id for one in self._documents.query(Query("greetings", where, ("count",)))]

    def _sweep(self, _: int) -> int:
        self.greet("swept")
        return 1

    def _operation(self, run: Run) -> Done:
        return self._said(str(run.operation.payload["who"]))

    def _step(self, saga: str) -> StepDone:
        self.greet(saga)
        return StepDone()

    def _said(self, who: str) -> Done:
        self.greet(who)
        return Done()
