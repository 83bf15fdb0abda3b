"""The plug: what a feature may contribute to the backend. Everything defaults to nothing and is asked for late.

A feature is a folder of `app/` with a `feature.py`, which holds one subclass of `Feature`:

- what it needs (ports, its settings, other features' services) are arguments of its constructor;
- what it offers to others are `once` properties: built when first asked for, so that a cold instance pays for what
  its first request needs and for nothing else;
- its settings stand in its `settings.py`, as a frozen class with `read(environment)`; `app.settings` reads those of all
  features when a process starts, so that a bad value stops the start;
- what it contributes are the methods below that it overrides. Their imports stand inside them, for the same reason.

`app.wiring` names the features and collects what they contribute; nothing else has to change for a new one. A callable
function that is to be deployed under a name of its own also gets its line in `main.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from app.kit.once import Locked

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.api.callables import CallableHandler
    from app.orchestration.assembly import Contributions
    from app.orchestration.event_bus import Subscription
    from app.orchestration.queue.handler import Handler, Lane
    from app.orchestration.sagas.saga_definition import SagaDefinition
    from app.orchestration.sweeper import Chore


@dataclass(frozen=True, slots=True)
class Figure:
    """One gauge for an administrator's Prometheus; `name` without the project's prefix, its unit last."""

    name: str
    help: str
    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


class Invariant(NamedTuple):
    """Something that must hold of what is stored. `broken` looks at a bounded sample and names what breaks it.

    Evaluated with every scrape of the metrics, as `invariant_broken{invariant}`; `broken` must read few documents.
    """

    name: str
    broken: Callable[[], Sequence[str]]


class Feature(Locked):
    """One feature. Subclasses override what they contribute."""

    def routes(self) -> "Sequence[APIBlueprint]":
        """HTTP routes, mounted under `/v1`. Handlers look their services up when they are called."""
        return ()

    def callables(self) -> "Mapping[str, CallableHandler]":
        """What clients' SDKs call by name (`httpsCallable`)."""
        return {}

    def handlers(self) -> "Sequence[Handler]":
        """Operations that the queue runs."""
        return ()

    def subscriptions(self) -> "Sequence[Subscription]":
        """Events that it listens to."""
        return ()

    def sagas(self) -> "Sequence[SagaDefinition]":
        """Long work in steps that are undone when a later one fails for good."""
        return ()

    def lanes(self) -> "Sequence[Lane]":
        """Lanes of the queue that its operations run in, beside those that every deployment has."""
        return ()

    def chores(self) -> "Sequence[Chore]":
        """What the sweep does for it every minute."""
        return ()

    def figures(self) -> Iterable[Figure]:
        """Gauges, read from the stores when they are asked for."""
        return ()

    def invariants(self) -> Sequence[Invariant]:
        """What must hold of its documents."""
        return ()


def contributions(features: Sequence[Feature]) -> "Contributions":
    """What all features contribute to the orchestration."""
    from app.orchestration.assembly import Contributions

    return Contributions(
        handlers=[handler for feature in features for handler in feature.handlers()],
        subscriptions=[subscription for feature in features for subscription in feature.subscriptions()],
        sagas=[saga for feature in features for saga in feature.sagas()],
        # The upper features first: what they end frees credits below, and checkpoints may take long.
        chores=[chore for feature in reversed(features) for chore in feature.chores()],
        lanes=[lane for feature in features for lane in feature.lanes()],
    )


Service = TypeVar("Service")


def late(build: Callable[[], Service]) -> Service:
    """A stand-in for a service that is built when it is first used, as `flask.request` stands for a request.

    Routes are given these, so that mounting all of them builds none of their services.
    """
    from werkzeug.local import LocalProxy

    return cast(Service, LocalProxy(build))
