"""A chat completion as the owner of a paid call: what its document holds, and what is left of it at the end. Pure.

While it runs it has a document, so that the sweep finds it when its function dies. At its end the document is deleted.
That of a completion with an `Idempotency-Key` holds the answer instead, for a day, and is the key's record.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from app.chat import turn as turns
from app.chat.conversation import Place
from app.chat.opening import FOR_EVER_US, Recording
from app.chat.paid_turn import Finish, ended
from app.chat.turn import Turn
from app.credits.public import Reference, Seen, Spender
from app.kit.canonical import digest
from app.kit.ids import derived
from app.kit.stores.documents import Document, Fields, Query, Value, Where, text_field
from app.metering.billing import Mode
from app.metering.orphans import Orphan
from app.metering.paid_call import PaidCall, Settlement
from app.metering.settling import OwnerEnd, OwnerRecord
from app.models.catalogue import Capability
from app.models.gateway import Message

KEPT: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class CompletionAsk:
    """A completion as a client asks for it. `max_cost` is micro-credits; `most_output` output tokens, None for as many
    as the model and the credits allow.

    `options` go to the vendor as they are; `beside` are texts of theirs that count as input, and `framing` are the most
    tokens that tools and calls may have beyond their texts. `spender` is the API key that asks, if one does.
    `waits_us`: so long the client waits for the whole answer.
    """

    uid: str
    model: str
    messages: tuple[Message, ...]
    most_output: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    framing: int = 0
    max_cost: int | None = None
    key: str | None = None
    request_id: str = ""
    spender: Spender | None = None
    waits_us: int = FOR_EVER_US

    @property
    def hash(self) -> str:
        """Digest of what makes two requests the same. Options can be fractions, which have no canonical bytes."""
        messages = [[one.role, one.text, [*one.images]] for one in self.messages]
        sent = [json.dumps(one.sent, sort_keys=True) for one in self.messages if one.sent is not None]
        options = json.dumps(self.options, sort_keys=True)
        return digest([self.model, messages, self.most_output, self.max_cost, options, *sent])

    @property
    def needed(self) -> tuple[Capability, ...]:
        """What its model must be able to do."""
        called = any(one.sent is not None and "tool_calls" in one.sent for one in self.messages)
        tools = called or "tools" in self.options
        return ("text", *(("vision",) if self.images else ()), *(("tools",) if tools else ()))

    @property
    def images(self) -> int:
        """How many pictures its messages have."""
        return sum(len(one.images) for one in self.messages)


def path_of(ask: CompletionAsk, id: str) -> str:
    """The document of a completion: that of its key, or of its own id."""
    return f"completions/{id if ask.key is None else derived('cmp', ask.uid, ask.key)}"


def paid_call(turn: Turn, path: str, *, request_id: str = "", spender: Spender | None = None) -> PaidCall:
    """The call that answers it."""
    return PaidCall(
        account=turn.account,
        purpose="completion",
        reference=Reference("completion", turn.id, request_id),
        path=path,
        spender=spender,
    )


def write(turn: Turn, now_us: int) -> dict[str, Value]:
    """The document of a completion that begins. It holds nothing of what was asked."""
    fields = turns.write(turn)
    del fields["words"]
    # What Firestore's TTL policy reads.
    return {**fields, "expire_at": datetime.fromtimestamp(now_us / 1_000_000, UTC) + KEPT}


def expired(fields: Fields, now_us: int) -> bool:
    """Whether a completion has ended and its key is forgotten, though the store has not deleted it yet."""
    expire_at = fields.get("expire_at")
    over = text_field(fields, "state") != "running"
    return over and isinstance(expire_at, datetime) and expire_at.timestamp() * 1_000_000 <= now_us


def recording(*, keeps_answer: bool) -> Recording:
    """How the end of a completion is written. One with an `Idempotency-Key` (`keeps_answer`) leaves its
    answer, unless it failed for nothing and may be tried again; every other one leaves nothing.
    """

    def record(turn: Turn, finish: Finish, answer: str, _: Place) -> OwnerRecord:
        def written(settlement: Settlement, _: Seen) -> OwnerEnd:
            end = ended(finish, answer, settlement)
            kept = keeps_answer and not replace(turn, end=end).repeatable
            return OwnerEnd(turns.write_end(end) if kept else None)

        return OwnerRecord(written)

    return record


class AbandonedCompletions:
    """Completions whose function was killed, for `Orphans`. Their documents go: nobody waits for them."""

    job = "completion_orphans"

    def overdue(self, before: str) -> Query:
        where = (Where("state", "==", "running"), Where("lease_until", "<", before))
        return Query("completions", where, ("lease_until", "__name__"))

    def orphan(self, stored: Document) -> Orphan:
        turn = turns.read(stored.fields)
        return Orphan(paid_call(turn, stored.path), Mode.STREAM, turn.model, turn.reserved, deleted=True)

    def ended(self, settlement: Settlement) -> Mapping[str, Value]:
        return {"state": "error", "reason": settlement.reason}

    def closed(self, stored: Document, settlement: Settlement) -> None:
        """Nobody is told."""
