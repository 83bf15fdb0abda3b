"""The composition root: builds every service once, when first needed, and mounts the features' routes.

May know everything; nobody imports it but `main.py` and the tests' world. Imports of features stand inside the function
that builds them, so that a cold instance pays for what its first request needs and for nothing else.
"""

import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from app.kit.settings import Settings
from app.outside import Locked, Outside, RealOutside, firebase, once

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest
    from flask_openapi import APIBlueprint, OpenAPI

    from app.api.callables import CallableHandler
    from app.api.edge import Edge
    from app.api.idempotency import Idempotency
    from app.bonus.subscriptions import Cards
    from app.bonus.welcome import BonusRules, Welcome
    from app.chat.assembly import ChatSystem
    from app.credits.balance_mirror import BalanceMirror
    from app.credits.routes.account_routes import CreditsRoutes, OperationPrice
    from app.credits.routes.schemas import PricedOperation
    from app.credits.service import Credits
    from app.models.catalogue import Catalogue
    from app.models.gateway import Gateway
    from app.models.health import ModelHealth
    from app.models.pricing import PriceBook
    from app.monitoring.metrics import Figure
    from app.monitoring.service import Monitoring
    from app.orchestration.assembly import Orchestration, QueueDependencies
    from app.orchestration.event_bus import Subscription
    from app.orchestration.queue.outbox import Outbox

VERSION: Final = "0.1.0"
NAME: Final = "credits"
CONCURRENCY: Final = 80
"""Requests that one instance of a streaming function serves at once."""


class Services(Locked):
    """Every service of this backend over one outside."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self.outside = outside

    @once
    def logging(self) -> None:
        """Whatever may log asks for this first. A cold instance that only says that it lives does not."""
        from app.kit import telemetry

        telemetry.start_logging()

    @once
    def monitoring(self) -> "Monitoring":
        from app.monitoring.service import Monitoring

        return Monitoring(self.outside.dependencies, self.outside.clock)

    @once
    def idempotency(self) -> "Idempotency":
        from app.api.idempotency import Idempotency

        return Idempotency(self.outside.documents, self.outside.clock)

    @once
    def credits(self) -> "Credits":
        from app.credits.proofs.signing import Signer
        from app.credits.service import Credits, CreditsParts, CreditsSettings
        from app.kit.clock import minutes

        _ = self.logging
        settings = self.outside.settings
        checked = settings.welcome_bonus_checks
        return Credits(
            CreditsParts(
                documents=self.outbox,
                clock=self.outside.clock,
                signer=Signer(settings.ledger_signing_key),
                settings=CreditsSettings(
                    welcome_bonus=settings.welcome_bonus,
                    max_reservation=settings.max_reservation,
                    reservation_expiry_us=minutes(settings.reservation_expiry_minutes),
                ),
                retired=tuple(settings.ledger_retired_keys.replace(",", " ").split()),
                # Late, because the bus delivers to handlers that are built on credits.
                publish=lambda events: self.orchestration.bus.rows(events),
                opening=self.bonus.opening if checked else None,
                archive=self.outside.archive,
            )
        )

    @once
    def bonus(self) -> "BonusRules":
        from app.bonus.rules import BonusPolicy
        from app.bonus.welcome import BonusRules
        from app.credits.service import CreditsSettings

        settings = self.outside.settings
        verified, purchase = settings.welcome_bonus_on_verified, settings.welcome_bonus_on_purchase
        policy = BonusPolicy(settings.welcome_bonus - verified - purchase, verified, purchase)
        return BonusRules(policy, self.outside.identities, self.outside.clock, CreditsSettings().low_threshold)

    @once
    def welcome(self) -> "Welcome | None":
        """Claims of the bonus; None when every account is given all of it at first touch."""
        from app.bonus.welcome import Welcome

        return Welcome(self.bonus, self.credits) if self.outside.settings.welcome_bonus_checks else None

    @once
    def mirror(self) -> "BalanceMirror":
        from app.credits.balance_mirror import BalanceMirror

        _ = self.logging
        return BalanceMirror(self.outside.documents, self.outside.realtime)

    @once
    def catalogue(self) -> "Catalogue":
        from pathlib import Path

        from app.models import catalogue

        own = self.outside.settings.model_catalogue
        return catalogue.load(Path(own)) if own else catalogue.load()

    @once
    def book(self) -> "PriceBook":
        from app.models.pricing import PriceBook

        return PriceBook(self.catalogue)

    @once
    def model_health(self) -> "ModelHealth":
        from app.models.health import ModelHealth

        return ModelHealth(self.outside.clock.now_us)

    @once
    def gateway(self) -> "Gateway":
        from app.models.gateway import Gateway
        from app.models.transport import Transport

        settings = self.outside.settings
        return Gateway(
            self.catalogue,
            transport=Transport(settings.ai_platform_base_url),
            api_key=settings.ai_platform_api_key,
            health=self.model_health,
        )

    @once
    def chat(self) -> "ChatSystem":
        from app.chat.assembly import ChatNeeds, assemble

        outside = self.outside
        return assemble(
            ChatNeeds(
                documents=self.outbox,
                realtime=outside.realtime,
                clock=outside.clock,
                ids=outside.ids,
                credits=self.credits,
                gateway=self.gateway,
                book=self.book,
                # Late, as above: the queue is assembled over what the features bring.
                orders=lambda orders: self.orchestration.queue.rows(orders),
                timeout_s=outside.settings.api_timeout_s,
            )
        )

    @once
    def app(self) -> "OpenAPI":
        """The routed application. Costs a tenth of a second, so it is built by the first request that needs it."""
        from app.api.app import Edges, create_app

        _ = self.logging
        outside = self.outside
        return create_app(self.mounts(), Edges(outside.verify_token, outside.clock, outside.settings.project))

    @once
    def edge(self) -> "Edge":
        """What the `api` function serves."""
        from app.api.edge import Edge, EdgePolicy
        from app.monitoring import liveness

        origins = frozenset(self.outside.settings.cors_origins) - {"*"}
        return Edge(
            lambda environ, start_response: self.app(environ, start_response),
            ids=self.outside.ids,
            policy=EdgePolicy(origins=origins),
            early={liveness.PATH: liveness.application(lambda: self.monitoring)},
        )

    def call(self, name: str, request: "CallableRequest[object]") -> object:
        """Runs one of the callable functions."""
        from app.api import callables

        _ = self.logging
        return callables.handle(request, lambda: self.callables[name], lambda: self.outside.ids.new("req"))

    @once
    def callables(self) -> "Mapping[str, CallableHandler]":
        """What clients' SDKs may call by name, over the same use cases as the routes."""
        from app.chat import callables as chat
        from app.chat.schemas import CallableMessage
        from app.credits.routes import account_routes
        from app.credits.routes.schemas import WelcomeBody

        return {
            "get_balance": lambda call: self.credits.balance(call.who.uid),
            "claim_welcome_bonus": lambda call: account_routes.claimed(
                self._credits_routes, call.who.uid, call.fit(WelcomeBody)
            ),
            "send_message": lambda call: chat.send_message(
                self.chat.chat, call.who.uid, call.fit(CallableMessage), call.request_id
            ),
        }

    @once
    def dependencies(self) -> "QueueDependencies":
        """What orchestration stands on, before the features that it runs are built."""
        from app.orchestration.assembly import QueueDependencies

        outside = self.outside
        return QueueDependencies(
            outside.documents, outside.realtime, outside.clock, outside.ids, outside.draw, outside.alarms
        )

    @once
    def outbox(self) -> "Outbox":
        """The documents that features commit through: what a commit queues is rung for right after it."""
        return self.dependencies.outbox()

    @once
    def orchestration(self) -> "Orchestration":
        """The queue, the event bus and the sweeper. What is run, who listens to what, and every chore, stand here."""
        from app.chat import deletion
        from app.orchestration.assembly import Contributions, assemble
        from app.orchestration.sweeper import Chore

        _ = self.logging
        chores = (
            Chore("overdue reservations and lots", lambda limit: self.credits.expire_due(limit).accounts),
            Chore("answers and old streams", lambda _: self.chat.sweep()),
            Chore("signing key", lambda _: self._publish_key()),
            Chore("checkpoint", lambda limit: int(self.credits.checkpoints.seal(limit) is not None), limit=5_000),
            Chore("mirrors", lambda limit: self.mirror.compare_next(self.outside.clock.now_us(), limit).repaired),
        )
        # A handler stands on documents alone: a trigger that runs the queue does not build all of chat for it.
        handlers = (deletion.handler(self.outbox),)
        contributions = Contributions(handlers=handlers, subscriptions=self._subscriptions(), chores=chores)
        return assemble(self.dependencies, contributions, self.outbox)

    def _subscriptions(self) -> "Sequence[Subscription]":
        """Who listens to what, of all features."""
        from app.bonus import subscriptions as credits

        return credits.subscriptions(self.welcome, self.cards)

    @once
    def cards(self) -> "Cards":
        """Which card made a payment. Nobody knows before payments are built."""
        from app.bonus.subscriptions import no_cards

        return no_cards

    def _publish_key(self) -> int:
        self.credits.publish_key()
        return 1

    def sweep(self) -> dict[str, object]:
        """Ends what was left open: what the scheduled function does, and what tests do after a crash."""
        from app.orchestration import triggers

        return triggers.sweep(self.orchestration)

    def open_account(self, uid: str) -> None:
        """First touch by coming online. An id that no token of ours could carry opens nothing, however often it is
        repeated.
        """
        from app.api.auth import is_user_id

        if is_user_id(uid):
            self.credits.account(uid)

    def run_lane(self, lane: str) -> None:
        """Serves the lane in which a ticket was put up."""
        from app.orchestration import triggers

        triggers.run_operation(self.orchestration, lane)

    def ring_due(self, data: object) -> None:
        """Rings for the operation that an alarm names."""
        from app.orchestration import triggers

        triggers.due(self.orchestration, data)

    def show_saga(self, saga_id: str) -> None:
        """Brings the owner's view of a saga up to date."""
        from app.orchestration import triggers

        triggers.show_saga(self.orchestration, saga_id)

    def _figures(self) -> Iterator["Figure"]:
        """What the features keep count of, for the scrape of an admin's Prometheus."""
        from app.admin.orchestration.figures import figures
        from app.monitoring.metrics import Figure

        yield from figures(self.orchestration)
        if (compared := self.mirror.last_comparison()) is not None:
            help = "Longest that a mirror was found behind its account, in the last comparison"
            yield Figure("mirror_lag_microseconds", help, compared.worst_lag_us)
            yield Figure("mirrors_repaired", "Mirrors that the last comparison repaired", compared.repaired)

    @once
    def _credits_routes(self) -> "CreditsRoutes":
        from app.credits.routes.account_routes import CreditsRoutes

        return CreditsRoutes(
            self.credits, self.mirror, self.outside.ids, self.idempotency, welcome=self.welcome, price=self._price
        )

    def _price(self, uid: str, operation: "PricedOperation") -> "OperationPrice":
        """The price of a message, by the quote that answering it begins with."""
        from app.chat.opening import Ask
        from app.credits.routes.account_routes import OperationPrice

        # What a picture shows does not change its price, so their number is enough.
        images = ("",) * operation.images
        ask = Ask(uid, operation.conversation_id or "", operation.content, images, operation.model)
        quote = self.chat.chat.quote(ask, operation.max_output_tokens)
        return OperationPrice(quote.needed, quote.ceiling)

    def mounts(self) -> "list[APIBlueprint]":
        """The features' routes: the whole HTTP surface on one page."""
        from app.admin.orchestration import routes as orchestration
        from app.chat import routes as chat
        from app.credits.corrections.corrections import Corrections
        from app.credits.corrections.repair import Repairs
        from app.credits.routes import account_routes
        from app.credits.routes.admin_routes import admin_routes
        from app.models import routes as models
        from app.monitoring import routes as monitoring

        clock, ids = self.outside.clock, self.outside.ids
        identity = monitoring.Identity(NAME, VERSION, self.outside.settings.project)
        corrections = Corrections(self.outbox, clock, ids, self.credits)
        return [
            chat.routes(self.chat.chat),
            models.routes(self.catalogue, self.model_health),
            account_routes.routes(self._credits_routes),
            admin_routes(corrections, Repairs(self.outbox, self.credits.ledger, clock)),
            monitoring.routes(self.monitoring, identity, self._figures),
            orchestration.routes(self.orchestration),
        ]


@functools.cache
def _services() -> Services:
    return Services(RealOutside())


_first = threading.Lock()


def services() -> Services:
    """The services of this process."""
    with _first:  # functools.cache alone would let two first requests build two
        return _services()


def start() -> None:
    """What a process does before it serves: refuses a wrong environment, asks for threads, names the Firebase app.

    Only a deployed instance is refused at once. Discovery has no secrets, and a worker of the emulator says what is
    wrong in its answer. The app must exist before a callable's token is looked at; making it costs nothing.
    """
    on_emulator = os.environ.get("FUNCTIONS_EMULATOR") == "true"
    # functions-framework reads it after this module: unless told, it starts four threads per CPU, whatever the
    # function's concurrency is, and every open stream holds one.
    os.environ.setdefault("THREADS", str(CONCURRENCY))
    if os.environ.get("K_SERVICE") and not on_emulator:
        Settings.from_env()
    if os.environ.get("FIREBASE_CONFIG"):
        firebase(on_emulator=on_emulator)
