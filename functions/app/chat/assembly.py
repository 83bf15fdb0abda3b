"""Builds chat from its needs: for the composition root, and for tests and the simulation over other stores.

Nothing is connected or started here; the first answer does both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.chat.answering import Answering
from app.chat.live.flusher import Flusher
from app.chat.live.running import Running
from app.chat.live.stream_mirror import StreamMirror, remove_old_streams
from app.chat.opening import Opening
from app.chat.paid_turn import AbandonedTurns
from app.chat.service import Chat, Orders
from app.chat.store import ChatStore
from app.credits.service import Credits
from app.kit.clock import Clock, seconds
from app.kit.documents import Documents
from app.kit.ids import Ids
from app.kit.realtime import Realtime
from app.metering import billing
from app.metering.orphans import Orphans
from app.metering.reserving import Reserving
from app.metering.settling import Settling, patient
from app.models.gateway import Gateway
from app.models.pricing import PriceBook
from app.models.transport import Patience

MARGIN_S = 20
"""Seconds. An answer is ended so long before the platform kills its function, and its lease lasts so much longer."""


@dataclass(frozen=True, slots=True)
class ChatNeeds:
    """What chat is built on.

    `timeout_s`: the platform kills a request of the `api` function after so many seconds. `documents` must be an
    `Outbox`, which rings for what `orders` puts into their commits. `pause` waits after failed settlement number n.
    """

    documents: Documents
    realtime: Realtime
    clock: Clock
    ids: Ids
    credits: Credits
    gateway: Gateway
    book: PriceBook
    orders: Orders
    timeout_s: int = 300
    patience: Patience | None = None
    pause: Callable[[int], None] = patient
    mirror: StreamMirror | None = None
    """The threaded one unless given."""


@dataclass(frozen=True, slots=True)
class ChatSystem:
    """The feature."""

    chat: Chat
    running: Running
    mirror: StreamMirror
    instance: str
    orphans: Orphans
    turns: AbandonedTurns
    realtime: Realtime
    clock: Clock

    def sweep(self) -> int:
        """Ends abandoned turns and removes old live texts; returns how many of both. For the sweeper."""
        done = self.orphans.sweep(self.turns)
        return done + remove_old_streams(self.realtime, self.clock)


def assemble(needs: ChatNeeds) -> ChatSystem:
    """Builds chat over `needs`."""
    documents, clock, book = needs.documents, needs.clock, needs.book
    store, running, instance = ChatStore(documents), Running(), needs.ids.new("ins")
    mirror = needs.mirror or Flusher(needs.realtime, clock, running, instance)
    policy = billing.default_policy()
    orphans = Orphans(credits=needs.credits, documents=documents, clock=clock, policy=policy)
    opening = Opening(
        store=store,
        reserving=Reserving(credits=needs.credits, book=book),
        orphans=orphans,
        book=book,
        clock=clock,
        ids=needs.ids,
        instance=instance,
        lease_us=seconds(needs.timeout_s + MARGIN_S),
    )
    answering = Answering(
        opening=opening,
        settling=Settling(credits=needs.credits, documents=documents, clock=clock, policy=policy, pause=needs.pause),
        gateway=needs.gateway,
        book=book,
        mirror=mirror,
        running=running,
        clock=clock,
        longest_us=seconds(max(needs.timeout_s - MARGIN_S, needs.timeout_s // 2)),
        patience=needs.patience or Patience(),
    )
    chat = Chat(
        store=store,
        opening=opening,
        answering=answering,
        catalogue=book.catalogue,
        running=running,
        realtime=needs.realtime,
        clock=clock,
        ids=needs.ids,
        orders=needs.orders,
    )
    turns = AbandonedTurns(store=store, mirror=mirror, realtime=needs.realtime)
    return ChatSystem(chat, running, mirror, instance, orphans, turns, needs.realtime, clock)
