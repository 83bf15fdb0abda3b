"""Chat over the in-memory stores, with the vendor simulator at the other end of a real connection."""

import random
from dataclasses import dataclass, field

from app.chat import deletion
from app.chat.answering import Answer, Over
from app.chat.assembly import ChatNeeds, ChatSystem, assemble
from app.chat.conversation import Conversation
from app.chat.live.stream_mirror import SteppedStreamMirror
from app.chat.opening import Ask
from app.chat.service import ConversationDraft
from app.chat.turn import Turn
from app.credits.core.account import Account
from app.credits.core.entry import Entry
from app.credits.ledger import document
from app.metering.billing import Mode
from app.models.catalogue import Catalogue, load
from app.models.gateway import Gateway
from app.models.health import ModelHealth
from app.models.pricing import PriceBook
from app.models.transport import Patience, Transport
from app.orchestration.assembly import Contributions, QueueDependencies
from app.orchestration.assembly import assemble as assemble_orchestration
from app.orchestration.queue.operation import Operation
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.orchestration.queue.outbox import NoAlarms
from support.clock import SeededIds, no_pause
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments, MemoryRealtime
from support.vendor import Vendor

QUICK = Patience(connect_s=5, first_s=2, idle_s=2, tick_s=1)


@dataclass
class ChatWorld:
    """One backend's chat. `Alice` is whoever asks unless told otherwise."""

    vendor: Vendor
    catalogue: Catalogue = field(default_factory=load)
    patience: Patience = QUICK
    money: CreditsWorld = field(default_factory=CreditsWorld)
    realtime: MemoryRealtime = field(default_factory=MemoryRealtime)
    ids: SeededIds = field(default_factory=SeededIds)

    def __post_init__(self) -> None:
        self.book = PriceBook(self.catalogue)
        self.clock = self.money.clock
        self.credits = self.money.credits
        self.pauses: list[int] = []
        self.transport = Transport(self.vendor.base_url)
        self.health = ModelHealth(self.clock.now_us)
        self.gateway = Gateway(self.catalogue, transport=self.transport, api_key="test-key", health=self.health)
        self.mirror = SteppedStreamMirror(self.realtime, self.clock)
        draw = random.Random(0).randrange
        dependencies = QueueDependencies(
            self.documents, self.realtime, self.clock, self.ids, draw, NoAlarms(), pause=no_pause
        )
        self.outbox = dependencies.outbox()
        contributions = Contributions(handlers=[deletion.handler(self.outbox)])
        self.orchestration = assemble_orchestration(dependencies, contributions, self.outbox)
        self.system = self.instance()
        self.chat = self.system.chat

    @property
    def documents(self) -> MemoryDocuments:
        assert isinstance(self.money.documents, MemoryDocuments)
        return self.money.documents

    def instance(self) -> ChatSystem:
        """Another instance of the function, on the same stores."""
        return assemble(
            ChatNeeds(
                documents=self.outbox,
                realtime=self.realtime,
                clock=self.clock,
                ids=self.ids,
                credits=self.credits,
                gateway=self.gateway,
                book=self.book,
                orders=self.orchestration.queue.rows,
                patience=self.patience,
                pause=self.pauses.append,
                mirror=self.mirror,
            )
        )

    def drain(self) -> None:
        """Runs what was ordered, as the trigger of its ticket does."""
        self.orchestration.runner.serve("default")

    def operations(self) -> list[Operation]:
        """Whatever was ordered."""
        found = self.documents.all().items()
        return [from_document(stored) for path, stored in found if path.startswith(f"{COLLECTION}/")]

    def left(self) -> list[str]:
        """Paths of all that users have: conversations and their messages."""
        return [path for path in self.documents.all() if path.startswith("users/")]

    def conversation(self, uid: str = "alice", *, model: str | None = "small", system_prompt: str = "") -> Conversation:
        """A new conversation."""
        return self.chat.create(uid, ConversationDraft(model=model, system_prompt=system_prompt))

    def ask(
        self,
        conversation: Conversation,
        content: str = "What is a ledger?",
        *,
        uid: str = "alice",
        key: str | None = None,
        max_cost: int | None = None,
        model: str | None = None,
    ) -> Answer:
        """A message in it, begun and not yet read."""
        ask = Ask(uid, conversation.id, content, model=model, max_cost=max_cost, key=key, request_id="req_test")
        return self.chat.answer(ask, Mode.STREAM)

    def answered(self, conversation: Conversation, content: str = "What is a ledger?") -> Over:
        """A message in it, answered to the end."""
        return self.ask(conversation, content).over()

    def account(self, uid: str = "alice") -> Account:
        """As it is stored, after an audit of its whole ledger."""
        return self.money.audit(uid)

    def charges(self, uid: str = "alice") -> list[Entry]:
        """The entries that took credits."""
        return [entry for entry in self.money.entries(uid) if entry.amount < 0]

    def reserved(self, uid: str = "alice") -> int:
        """What is set aside at the moment."""
        stored = self.money.documents.get(document.account_path(uid))
        return 0 if stored is None else document.read(stored.fields).reserved

    def turns(self, conversation: Conversation, uid: str = "alice") -> list[Turn]:
        """Its turns, the newest first."""
        return [*self.chat.turns(uid, conversation.id, 100)]
