"""Chat, put together: what the composition root and the simulation build from the same parts.

Nothing is connected or started here; the first answer does both.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.chat.answering import Answering, AnsweringParts
from app.chat.live.flusher import Flusher
from app.chat.live.running import Running
from app.chat.live.stream_mirror import StreamMirror, remove_old_streams
from app.chat.opening import Opening, OpeningParts
from app.chat.orphans import OrphanParts, close_orphans
from app.chat.service import Chat, ChatParts, Orders
from app.chat.settling import Settling, SettlingParts
from app.chat.store import ChatStore
from app.credits.service import Credits
from app.kit.clock import Clock, seconds
from app.kit.documents import Documents
from app.kit.ids import Ids
from app.kit.realtime import Realtime
from app.metering import billing
from app.models.gateway import Gateway
from app.models.pricing import PriceBook
from app.models.transport import Patience

MARGIN_S = 20
"""An answer is ended this long before the platform would kill its function, and its lease lasts as much longer."""


def between_tries_us(attempt: int) -> tuple[int, int]:
    """Least and most to wait after failed settlement number `attempt`: 3.75 to 7.5 s in all, well within the margin.

    What fails here is a store that does not answer, and an answer that cannot be settled is given away: that is worth
    the wait that a lost race for an account is not.
    """
    most = 500_000 << (attempt - 1)
    return most // 2, most


def patient(attempt: int) -> None:
    """Waits after failed settlement number `attempt`."""
    least, most = between_tries_us(attempt)
    time.sleep((least + secrets.randbelow(most - least)) / 1_000_000)


@dataclass(frozen=True, slots=True)
class ChatNeeds:
    """What chat is built on. `timeout_s`: when the platform kills a request of the `api` function. `documents` must
    ring for what `orders` puts into their commits: an `Outbox`.
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
    orphans: OrphanParts
    realtime: Realtime
    clock: Clock

    def sweep(self) -> int:
        """For the sweeper: orphaned turns, old mirrors; how many things it did."""
        done = close_orphans(self.orphans)
        return done + remove_old_streams(self.realtime, self.clock)


def assemble(needs: ChatNeeds) -> ChatSystem:
    """Chat over `needs`."""
    store, running, instance = ChatStore(needs.documents), Running(), needs.ids.new("ins")
    mirror = needs.mirror or Flusher(needs.realtime, needs.clock, running, instance)
    policy = billing.default_policy()
    lease_us = seconds(needs.timeout_s + MARGIN_S)
    opening = Opening(OpeningParts(store, needs.credits, needs.book, needs.clock, needs.ids, instance, lease_us))
    settling = SettlingParts(store, needs.credits, needs.book, needs.clock, policy)
    answering = AnsweringParts(
        opening=opening,
        settling=Settling(settling),
        gateway=needs.gateway,
        book=needs.book,
        mirror=mirror,
        running=running,
        clock=needs.clock,
        pause=needs.pause,
        longest_us=seconds(max(needs.timeout_s - MARGIN_S, needs.timeout_s // 2)),
        patience=needs.patience or Patience(),
    )
    chat = Chat(
        ChatParts(
            store=store,
            opening=opening,
            answering=Answering(answering),
            catalogue=needs.book.catalogue,
            running=running,
            realtime=needs.realtime,
            clock=needs.clock,
            ids=needs.ids,
            orders=needs.orders,
        )
    )
    orphans = OrphanParts(store, needs.credits, mirror, needs.realtime, needs.clock, policy)
    return ChatSystem(chat, running, mirror, instance, orphans, needs.realtime, needs.clock)
