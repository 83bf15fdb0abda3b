"""Chat, plugged in: conversations, and answers that are paid while they stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.feature import Feature, late
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.api.callables import CallableHandler
    from app.chat.assembly import ChatSystem
    from app.chat.service import Orders
    from app.credits.feature import CreditsFeature
    from app.credits.routes.schemas import PricedOperation
    from app.kit.documents import Documents
    from app.models.feature import ModelsFeature
    from app.orchestration.queue.handler import Handler
    from app.orchestration.sweeper import Chore


@dataclass(frozen=True, slots=True)
class ChatNeeds:
    """The features below. `orders` gives the rows that put operations into a commit of chat."""

    credits: "CreditsFeature"
    models: "ModelsFeature"
    orders: "Orders"
    timeout_s: int


class ChatFeature(Feature):
    """`documents` is the outbox, so that operations which a commit orders are started right after it."""

    def __init__(self, ports: Ports, documents: "Documents", needs: ChatNeeds) -> None:
        super().__init__()
        self._ports, self._documents, self._needs = ports, documents, needs

    @once
    def system(self) -> "ChatSystem":
        """The service and what runs beside it in this instance."""
        from app.chat.assembly import ChatNeeds, assemble

        ports, needs = self._ports, self._needs
        return assemble(
            ChatNeeds(
                documents=self._documents,
                realtime=ports.realtime,
                clock=ports.clock,
                ids=ports.ids,
                credits=needs.credits.service,
                gateway=needs.models.gateway,
                book=needs.models.book,
                orders=needs.orders,
                timeout_s=needs.timeout_s,
                concurrency=ports.concurrency,
                draw=ports.draw,
            )
        )

    def price(self, operation: "PricedOperation") -> int:
        """Most that one answer of a model can cost, in micro-credits: what a message would reserve."""
        from app.chat.opening import MOST_OUTPUT
        from app.models.pricing import Demand
        from app.models.tokens import upper_bound

        model = self._needs.models.catalogue.get(operation.model)
        output = min(operation.max_output_tokens or MOST_OUTPUT, MOST_OUTPUT, model.max_output_tokens)
        demand = Demand(upper_bound([operation.content]), output, operation.images)
        return self._needs.models.book.ceiling(model, demand)

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.chat import routes

        return [routes.routes(late(lambda: self.system.chat))]

    def callables(self) -> "Mapping[str, CallableHandler]":
        from app.chat import callables

        return {"send_message": lambda call: callables.send_message(self.system.chat, call)}

    def handlers(self) -> "Sequence[Handler]":
        from app.chat import deletion

        # It needs documents alone: a trigger that runs the queue does not build all of chat for it.
        return [deletion.handler(self._documents)]

    def chores(self) -> "Sequence[Chore]":
        from app.orchestration.sweeper import Chore

        return [Chore("answers and old streams", lambda _: self.system.sweep())]
