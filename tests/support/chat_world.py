"""Chat over the in-memory stores, with the vendor simulator at the other end of a real connection."""

from dataclasses import dataclass, field
from typing import cast

from app.chat.answering import Answer
from app.chat.attempt import Over, Text
from app.chat.conversation import Conversation
from app.chat.feature import ChatFeature
from app.chat.live.stream_mirror import SteppedStreamMirror
from app.chat.opening import Ask
from app.chat.service import ConversationDraft
from app.chat.turn import Turn
from app.credits.core.account import Account
from app.credits.core.entry import Entry
from app.credits.ledger import document
from app.kit.once import once
from app.metering.billing import Mode
from app.orchestration.queue.operation import Operation
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.wiring import System
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments
from support.vendor import Vendor
from support.world import WatchedThreads


class SteppedSystem(System):
    """The backend with a live mirror that the test steps, in place of one that flushes beside the answers."""

    @once
    def chat(self) -> ChatFeature:
        built = super().chat
        mirror = SteppedStreamMirror(self.ports.realtime, self.ports.clock)
        return ChatFeature(self.ports, self.outbox, built.needs, mirror)


@dataclass
class ChatWorld:
    """One backend's chat. `Alice` is whoever asks unless told otherwise. Vendors are waited for `silence_s` seconds."""

    vendor: Vendor
    silence_s: int = 2
    money: CreditsWorld = field(default_factory=CreditsWorld)

    def __post_init__(self) -> None:
        self.ports = self.money.ports
        silence = str(self.silence_s)
        self.ports.variables.update(
            AI_PLATFORM_BASE_URL=self.vendor.base_url, MODEL_FIRST_TOKEN_SECONDS=silence, MODEL_SILENCE_SECONDS=silence
        )
        self.realtime = self.ports.realtime
        self.clock = self.money.clock
        self.system = self.instance()
        self.orchestration = self.system.orchestration
        self.credits = self.system.credits.service
        self.book = self.system.models.book
        self.catalogue = self.system.models.catalogue
        self.feature = self.system.chat
        self.mirror = cast(SteppedStreamMirror, self.feature.mirror)
        self.chat = self.feature.service

    @property
    def documents(self) -> MemoryDocuments:
        assert isinstance(self.money.documents, MemoryDocuments)
        return self.money.documents

    @property
    def pauses(self) -> list[int]:
        """How long was waited each time, in microseconds."""
        assert isinstance(self.money.concurrency, WatchedThreads)
        return self.money.concurrency.sleeps

    def instance(self) -> SteppedSystem:
        """Another instance of the function, on the same stores."""
        return SteppedSystem(self.ports)

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

    def only_turn(self) -> Turn:
        """The one turn of Alice's one conversation."""
        [conversation] = self.chat.list("alice").first(10)
        [turn] = self.turns(conversation)
        return turn

    def turns(self, conversation: Conversation, uid: str = "alice") -> list[Turn]:
        """Its turns, the newest first."""
        return self.chat.turns(uid, conversation.id).first(100)


def read_texts(answer: Answer, count: int = 1) -> int:
    """Reads an answer until so many pieces of text came; how many events were texts."""
    found = 0
    while found < count:
        found += isinstance(next(answer.events), Text)
    return found
