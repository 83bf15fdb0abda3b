"""Chat, plugged in: conversations, and answers that are paid while they stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.feature import Feature, late
from app.kit.clock import seconds
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.api.callables import CallableHandler
    from app.assistant.feature import AssistantFeature
    from app.chat.answering import Answering
    from app.chat.branching.branches import Branches
    from app.chat.door.completion import CompletionAsk
    from app.chat.export.exporting import Exporting
    from app.chat.forecast.forecaster import Forecaster
    from app.chat.importing.importing import Importing
    from app.chat.live.due_streams import StreamSweep
    from app.chat.live.instances import Instances
    from app.chat.live.running import Running
    from app.chat.live.stream_mirror import StreamMirror
    from app.chat.opening import Opening
    from app.chat.paid_turn import AbandonedTurns
    from app.chat.search.finding import Finding
    from app.chat.service import Chat, Orders
    from app.chat.sharing.sharing import Sharing
    from app.chat.store import ChatStore
    from app.credits.routes.schemas import OperationPrice, PricedOperation
    from app.kit.stores.documents import Documents
    from app.metering.feature import MeteringFeature
    from app.models.feature import ModelsFeature
    from app.orchestration.queue.handler import Handler
    from app.orchestration.sweeper import Chore

MARGIN_S: Final = 20
"""Seconds. An answer is ended so long before the platform kills its function, and its lease lasts so much longer."""


@dataclass(frozen=True, slots=True)
class ChatNeeds:
    """The features below. `orders` gives the rows that put operations into a commit of chat; `timeout_s`: the platform
    kills a request of the `api` function after so many seconds.
    """

    metering: "MeteringFeature"
    models: "ModelsFeature"
    assistant: "AssistantFeature"
    orders: "Orders"
    timeout_s: int


class ChatFeature(Feature):
    """`documents` is the outbox, which starts what `orders` puts into a commit right after it. `mirror` shows the live
    text; a flusher unless given.
    """

    def __init__(
        self, ports: Ports, documents: "Documents", needs: ChatNeeds, mirror: "StreamMirror | None" = None
    ) -> None:
        super().__init__()
        self._ports, self._documents, self.needs, self._mirror = ports, documents, needs, mirror

    @once
    def service(self) -> "Chat":
        """The use cases. Nothing is connected or started before the first answer."""
        from app.chat.answering import Answering
        from app.chat.service import Chat
        from app.kit.optimistic import full_jitter

        ports, needs = self._ports, self.needs
        answering = Answering(
            opening=self._opening,
            settling=needs.metering.settling,
            gateway=needs.models.gateway,
            mirror=self.mirror,
            running=self.running,
            clock=ports.clock,
            longest_us=self._longest_us,
            patience=needs.models.patience,
        )
        return Chat(
            store=self._store,
            branches=self._branches,
            opening=self._opening,
            answering=answering,
            catalogue=needs.models.catalogue,
            running=self.running,
            realtime=ports.realtime,
            clock=ports.clock,
            ids=ports.ids,
            orders=needs.orders,
            pause=full_jitter(ports.concurrency, ports.draw),
        )

    @once
    def forecaster(self) -> "Forecaster":
        """What is said of messages before they are sent."""
        from app.chat.forecast.forecaster import Forecaster

        assistant = self.needs.assistant
        return Forecaster(opening=self._opening, preferences=assistant.preferences.of, rules=assistant.rules)

    @once
    def completions(self) -> "Answering[CompletionAsk]":
        """Answers of OpenAI's clients. They stop their own, and nobody follows them in the Realtime Database."""
        from app.chat.answering import Answering
        from app.chat.door.completions import CompletionOpening, NoMirror
        from app.chat.live.running import Running

        ports, needs = self._ports, self.needs
        opening = CompletionOpening(
            documents=self._documents,
            reserving=needs.metering.reserving,
            book=needs.models.book,
            clock=ports.clock,
            ids=ports.ids,
            lease_us=self._lease_us,
            usual_output=needs.assistant.usual_output,
        )
        return Answering(
            opening=opening,
            settling=needs.metering.settling,
            gateway=needs.models.gateway,
            mirror=NoMirror(),
            running=Running(),
            clock=ports.clock,
            longest_us=self._longest_us,
            patience=needs.models.patience,
        )

    @property
    def _lease_us(self) -> int:
        """How long a function can live, with a margin, in microseconds."""
        return seconds(self.needs.timeout_s + MARGIN_S)

    @property
    def _longest_us(self) -> int:
        """An answer is ended cleanly after so many microseconds."""
        timeout_s = self.needs.timeout_s
        return seconds(max(timeout_s - MARGIN_S, timeout_s // 2))

    @once
    def instance(self) -> str:
        """The name under which other instances leave word for this one."""
        return self._ports.ids.new("ins")

    @once
    def running(self) -> "Running":
        """The answers that this instance is giving."""
        from app.chat.live.running import Running

        return Running()

    @once
    def mirror(self) -> "StreamMirror":
        """Shows live text to clients that listen to the Realtime Database."""
        from app.chat.live.flusher import Flusher

        ports = self._ports
        return self._mirror or Flusher(ports.realtime, ports.clock, self.running, self.instance, ports.concurrency)

    @once
    def turns(self) -> "AbandonedTurns":
        """Turns whose function died."""
        from app.chat.paid_turn import AbandonedTurns

        return AbandonedTurns(store=self._store, mirror=self.mirror, realtime=self._ports.realtime)

    @once
    def _store(self) -> "ChatStore":
        from app.chat.store import ChatStore
        from app.kit.stores.rows import GuardedRows

        return ChatStore(self._documents, GuardedRows(self._documents, self._ports.clock))

    @once
    def _branches(self) -> "Branches":
        from app.chat.branching.branches import Branches

        return Branches(self._store, self._ports.clock)

    @once
    def _finding(self) -> "Finding":
        from app.chat.search.finding import Finding

        return Finding(self._store, self._ports.clock)

    @once
    def _exporting(self) -> "Exporting":
        from app.chat.export.exporting import Exporting

        return Exporting(self._store, self._branches, self._ports.clock)

    @once
    def _importing(self) -> "Importing":
        from app.chat.importing.importing import Importing
        from app.kit.optimistic import full_jitter

        ports = self._ports
        return Importing(
            store=self._store,
            catalogue=self.needs.models.catalogue,
            clock=ports.clock,
            ids=ports.ids,
            orders=self.needs.orders,
            pause=full_jitter(ports.concurrency, ports.draw),
        )

    @once
    def _sharing(self) -> "Sharing":
        from app.chat.sharing.sharing import Sharing
        from app.kit.optimistic import full_jitter

        ports = self._ports
        return Sharing(
            store=self._store,
            branches=self._branches,
            clock=ports.clock,
            ids=ports.ids,
            pause=full_jitter(ports.concurrency, ports.draw),
        )

    @once
    def _opening(self) -> "Opening":
        from app.chat.opening import Opening
        from app.chat.quotes.quotes import Quotes

        ports, needs = self._ports, self.needs
        return Opening(
            store=self._store,
            branches=self._branches,
            reserving=needs.metering.reserving,
            orphans=needs.metering.orphans,
            book=needs.models.book,
            choosing=needs.assistant.choosing,
            usual_output=needs.assistant.usual_output,
            quotes=Quotes(self._documents, ports.clock),
            quote_us=needs.assistant.quote_us,
            clock=ports.clock,
            ids=ports.ids,
            instance=self.instance,
            instances=self._instances,
            lease_us=self._lease_us,
        )

    @once
    def _instances(self) -> "Instances":
        from app.chat.live.instances import Instances

        return Instances(self._ports.realtime, self._ports.clock)

    @once
    def streams(self) -> "StreamSweep":
        """Removes old live texts, and ends those that were left without an end."""
        from app.chat.live.due_streams import StreamSweep
        from app.chat.paid_turn import shown

        return StreamSweep(self._ports.realtime, self._ports.clock, shown(self._store))

    def sweep(self) -> int:
        """Ends abandoned turns and does what live texts are due for; returns how many of both."""
        ended = self._end_abandoned(100)
        self._tell_abandoned(100)
        return ended + self._look_at_streams(1000)

    def _end_abandoned(self, limit: int) -> int:
        return self.needs.metering.orphans.sweep(self.turns, limit)

    def _end_completions(self, limit: int) -> int:
        from app.chat.door.completion import AbandonedCompletions

        return self.needs.metering.orphans.sweep(AbandonedCompletions(), limit)

    def _tell_abandoned(self, limit: int) -> int:
        return self.needs.metering.orphans.tell(self.turns, limit)

    def _look_at_streams(self, limit: int) -> int:
        self._instances.forget()
        return self.streams.sweep(limit)

    def price(self, uid: str, operation: "PricedOperation") -> "OperationPrice":
        """The price of a message, by the quote that answering it begins with."""
        from app.chat.opening import Ask
        from app.credits.routes.schemas import OperationPrice

        # What a picture shows does not change its price, so their number is enough.
        images = ("",) * operation.images
        ask = Ask(uid, operation.conversation_id or "", operation.content, images, operation.model)
        quote = self.service.quote(ask, operation.max_output_tokens)
        return OperationPrice(quote.needed, quote.ceiling)

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.chat import routes
        from app.chat.door import routes as door
        from app.chat.export import routes as exports
        from app.chat.forecast import routes as forecasts
        from app.chat.importing import routes as imports
        from app.chat.search import routes as search
        from app.chat.sharing import routes as shares

        return [
            routes.routes(late(lambda: self.service)),
            search.routes(late(lambda: self._finding)),
            exports.routes(late(lambda: self._exporting)),
            imports.routes(late(lambda: self._importing)),
            shares.routes(late(lambda: self._sharing)),
            forecasts.routes(late(lambda: self.forecaster)),
            door.routes(late(lambda: self.completions), late(lambda: self.needs.models.catalogue), self._ports.clock),
        ]

    def callables(self) -> "Mapping[str, CallableHandler]":
        from app.api.auth import spends
        from app.chat import callables

        return {"send_message": spends(lambda call: callables.send_message(self.service, call))}

    def handlers(self) -> "Sequence[Handler]":
        from app.chat import deletion
        from app.chat.importing import leftover

        # They need the stores alone: a trigger that runs the queue does not build all of chat for them.
        return [deletion.handler(self._documents, self._ports.realtime), leftover.handler(self._documents)]

    def chores(self) -> "Sequence[Chore]":
        from app.orchestration.sweeper import Chore

        return [
            Chore("abandoned answers", self._end_abandoned),
            Chore("abandoned completions", self._end_completions),
            Chore("abandoned answers told", self._tell_abandoned, realtime=True),
            Chore("live streams", self._look_at_streams, limit=1000, realtime=True),
        ]
