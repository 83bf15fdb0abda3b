"""The composition root: names the features, gives each what it needs, and collects what they contribute.

Holds no rule of the product. Nobody imports it but `main.py`, the tests' worlds and the simulator, which build the same
`System` over other ports. Imports of features stand inside the property that builds them, so that a cold instance pays
for what its first request needs and for nothing else.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from app.feature import Feature
from app.kit.once import Locked, once
from app.ports import Ports
from app.settings import Settings

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest
    from flask_openapi import OpenAPI

    from app.admin.orchestration.feature import OrchestrationAdminFeature
    from app.api.callables import CallableHandler
    from app.api.edge import Edge
    from app.assistant.feature import AssistantFeature
    from app.bonus.feature import BonusFeature
    from app.chat.feature import ChatFeature
    from app.credits.feature import CreditsFeature
    from app.keys.feature import KeysFeature
    from app.metering.feature import MeteringFeature
    from app.models.feature import ModelsFeature
    from app.monitoring.feature import MonitoringFeature
    from app.orchestration.assembly import Orchestration, QueueDependencies
    from app.orchestration.queue.outbox import Outbox
    from app.rates.feature import RatesFeature

VERSION: Final = "0.1.0"
NAME: Final = "credits"
Plugin = Callable[["System"], Feature]
"""Builds one more feature on top of the others."""


class System(Locked):
    """The backend over one set of ports. `plugins` are features beside those named here."""

    def __init__(self, ports: Ports, plugins: Sequence[Plugin] = ()) -> None:
        super().__init__()
        self.ports = ports
        self._plugins = plugins

    @once
    def settings(self) -> Settings:
        """What this deployment decides."""
        return Settings.read(self.ports.environment)

    @once
    def features(self) -> tuple[Feature, ...]:
        """All of them, the lower ones first."""
        named = (self.rates, self.credits, self.bonus, self.models, self.metering, self.keys, self.assistant, self.chat)
        watching = (self.monitoring, self.orchestration_admin)
        return (*named, *watching, *(build(self) for build in self._plugins))

    @once
    def rates(self) -> "RatesFeature":
        from app.rates.feature import RatesFeature

        return RatesFeature(self.ports, self.settings.rates)

    @once
    def credits(self) -> "CreditsFeature":
        from app.credits.feature import CreditsFeature, CreditsHooks

        # Late: the bonus posts through credits, the bus delivers to handlers that are built on credits.
        hooks = CreditsHooks(
            opening=lambda uid: self.bonus.opening(uid),
            publish=lambda events: self.orchestration.bus.rows(events),
            price=lambda uid, operation: self.chat.price(uid, operation),
            opens_unseen=lambda: not self.settings.bonus.checks,
        )
        return CreditsFeature(self.ports, self.settings.credits, self.outbox, hooks)

    @once
    def bonus(self) -> "BonusFeature":
        from app.bonus.feature import BonusFeature

        threshold = self.settings.credits.low_threshold
        return BonusFeature(
            self.ports, self.settings.bonus, low_threshold=threshold, credits=lambda: self.credits.service
        )

    @once
    def models(self) -> "ModelsFeature":
        from app.models.feature import ModelsFeature

        return ModelsFeature(self.ports, self.settings.models)

    @once
    def metering(self) -> "MeteringFeature":
        from app.metering.feature import MeteringFeature

        return MeteringFeature(self.ports, self.outbox, self.credits, self.models)

    @once
    def keys(self) -> "KeysFeature":
        from app.keys.feature import KeysFeature

        return KeysFeature(self.ports, self.credits)

    @once
    def assistant(self) -> "AssistantFeature":
        from app.assistant.feature import AssistantFeature

        return AssistantFeature(self.ports, self.settings.assistant, self.models)

    @once
    def chat(self) -> "ChatFeature":
        from app.chat.feature import ChatFeature, ChatNeeds

        # Late: the queue is assembled over the handlers that the features contribute.
        needs = ChatNeeds(
            metering=self.metering,
            models=self.models,
            assistant=self.assistant,
            orders=lambda orders: self.orchestration.queue.rows(orders),
            timeout_s=self.settings.api.timeout_s,
        )
        return ChatFeature(self.ports, self.outbox, needs)

    @once
    def monitoring(self) -> "MonitoringFeature":
        from app.monitoring.feature import MonitoringFeature

        identity = lambda: (NAME, VERSION, self.settings.deployment.project)  # noqa: E731
        return MonitoringFeature(self.ports, identity, lambda: self.features)

    @once
    def orchestration_admin(self) -> "OrchestrationAdminFeature":
        from app.admin.orchestration.feature import OrchestrationAdminFeature

        return OrchestrationAdminFeature(lambda: self.orchestration)

    @once
    def orchestration(self) -> "Orchestration":
        """The queue, the event bus, the sagas and the sweep, over what the features contribute."""
        from app.feature import contributions
        from app.orchestration.assembly import assemble

        return assemble(self._queue, contributions(self.features), self.outbox)

    @once
    def outbox(self) -> "Outbox":
        """The documents that features commit through: operations of a commit are started right after it."""
        self.ports.start_logging()
        return self._queue.outbox()

    @once
    def edge(self) -> "Edge":
        """What the `api` function serves. The routed application is built by the first request that needs it."""
        from app.api.edge import Edge, EdgePolicy
        from app.monitoring import liveness

        return Edge(
            lambda environ, start_response: self.app(environ, start_response),
            ids=self.ports.ids,
            policy=EdgePolicy(self.settings.api.origins, self.settings.api.relay_header),
            early={liveness.PATH: liveness.application(lambda: self.monitoring.service)},
        )

    @once
    def app(self) -> "OpenAPI":
        """The routed application, with the routes of all features."""
        from app.api.app import Edges, create_app

        self.ports.start_logging()
        project = self.settings.deployment.project
        # Late: an instance that is sent no key builds nothing for them.
        keys, limits = lambda key: self.keys.verifier(key), self.rates.limiter
        edges = Edges(self.ports.verify_token, self.ports.clock, project, verify_key=keys, rates=limits)
        return create_app([blueprint for feature in self.features for blueprint in feature.routes()], edges)

    def call(self, name: str, request: "CallableRequest[object]") -> object:
        """Runs one of the callable functions."""
        from app.api import callables

        self.ports.start_logging()
        new_id = lambda: self.ports.ids.new("req")  # noqa: E731
        verify, rates = self.ports.verify_token, lambda: self.rates.limiter
        return callables.handle(request, lambda: self.callables[name], new_id, verify, rates)

    @once
    def callables(self) -> "dict[str, CallableHandler]":
        """What clients' SDKs may call by name."""
        return {name: handler for feature in self.features for name, handler in feature.callables().items()}

    @once
    def _queue(self) -> "QueueDependencies":
        from app.ports import queue_over

        return queue_over(self.ports)
