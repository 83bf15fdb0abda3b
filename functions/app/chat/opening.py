"""The first half of a paid answer: quote, reserve, and the turn's document in the same commit.

Owns which model answers, how much it may write, and what a repeated key means. Refuses to know how text streams.
"""

from dataclasses import dataclass, replace
from typing import Final

from app.chat import turn as turns
from app.chat.conversation import Conversation
from app.chat.prompting import prompt, texts
from app.chat.store import ChatStore, turn_path
from app.chat.turn import Turn
from app.credits.core.commands import Outcome, Reserve, Reserved
from app.credits.core.entry import Reference
from app.credits.core.rejections import ReservationClosed, ReservationUnknown
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.kit.canonical import digest
from app.kit.clock import Clock, to_rfc3339
from app.kit.documents import Create, Document, Replace, Write
from app.kit.errors import AlreadyExists, InvariantViolation, KeyReused, Rejection
from app.kit.ids import Ids, derived
from app.kit.stopwatch import Stopwatch
from app.metering.quote import LEAST_OUTPUT, Quote, granted, quote
from app.models.catalogue import Capability, Model, UnsuitableModel
from app.models.gateway import Message
from app.models.pricing import Demand, PriceBook
from app.models.tokens import upper_bound

MOST_OUTPUT: Final = 16_384
"""Tokens of one answer, whatever the model could write: what is reserved stays within reason (T-28)."""


_NEW: Final = Conversation(id="", title="", model=None, system_prompt="", memory="buffer", created_at="", updated_at="")


@dataclass(frozen=True, slots=True)
class Ask:
    """A message as a user sends it. `max_cost` is micro-credits; `key` makes a repeat give the same answer."""

    uid: str
    conversation_id: str
    content: str
    images: tuple[str, ...] = ()
    model: str | None = None
    max_cost: int | None = None
    key: str | None = None
    request_id: str = ""

    @property
    def hash(self) -> str:
        """Digest of what makes two messages the same."""
        return digest([self.content, [*self.images], self.model, self.max_cost])


@dataclass(frozen=True, slots=True)
class Opened:
    """A turn that is reserved for and recorded: the vendor may be asked."""

    ask: Ask
    turn: Turn
    model: Model
    messages: tuple[Message, ...]
    prompt_length: int


class AnswerInProgress(Rejection):
    """The first request with this key is still running."""

    status = 409
    code = "idempotency_in_progress"
    title = "The first request with this key is still running"


@dataclass(frozen=True, slots=True)
class OpeningParts:
    """What opening is made of. `lease_us`: how long a function can live, with a margin."""

    store: ChatStore
    credits: Credits
    book: PriceBook
    clock: Clock
    ids: Ids
    instance: str
    lease_us: int


@dataclass(frozen=True, slots=True)
class _Plan:
    model: Model
    route: str
    messages: tuple[Message, ...]
    quote: Quote


class Opening:
    """Decides a message and reserves for it."""

    def __init__(self, parts: OpeningParts) -> None:
        self._parts = parts

    def open(self, ask: Ask, stopwatch: Stopwatch) -> Opened | Turn:
        """Reserves for the answer; or, for a key that was answered before, that turn.

        Costs one read for the conversation; whether the key is known shows in the reserving commit itself.

        Raises:
            NoSuchConversation, UnknownModel, UnsuitableModel, PromptTooLong, InsufficientCredits, MaxCostTooLow
            KeyReused: the key came with another message.
            AnswerInProgress: the first request with this key still runs.
        """
        conversation, _ = self._parts.store.conversation(ask.uid, ask.conversation_id)
        stopwatch.end("read")
        if ask.key is None:
            return self._reserve(ask, conversation, self._parts.ids.new("msg"), None)
        message_id = derived("msg", ask.uid, ask.conversation_id, ask.key)
        try:
            return self._reserve(ask, conversation, message_id, None)
        except (AlreadyExists, Rejection) as error:
            # A refusal may come before the commit could meet the first answer: that one goes first.
            found = self._parts.store.turn(ask.uid, ask.conversation_id, message_id)
            if found is None:
                raise
            return self._meet(ask, conversation, found, error)

    def quote(self, ask: Ask, max_output_tokens: int | None = None) -> Quote:
        """What this message would need and reserve now. Writes nothing.

        An empty `conversation_id` stands for a new conversation. `max_output_tokens` bounds the ceiling only: a message
        always needs a minimal answer.

        Raises:
            NoSuchConversation, UnknownModel, UnsuitableModel, PromptTooLong, MaxCostTooLow: as `open`.
        """
        conversation = (
            _NEW if not ask.conversation_id else self._parts.store.conversation(ask.uid, ask.conversation_id)[0]
        )
        most = MOST_OUTPUT if max_output_tokens is None else max(LEAST_OUTPUT, min(max_output_tokens, MOST_OUTPUT))
        return self._plan(ask, conversation, most).quote

    def _meet(
        self, ask: Ask, conversation: Conversation, found: tuple[Turn, Document], error: Exception
    ) -> Opened | Turn:
        turn, stored = found
        if turn.request_hash != ask.hash:
            raise KeyReused("This Idempotency-Key was used for another message.") from error
        if turn.end is None and turn.lease_until > to_rfc3339(self._parts.clock.now_us()):
            raise AnswerInProgress("The first request with this key is still running.", message_id=turn.id) from error
        if turn.end is not None and not turn.repeatable:
            return turn
        if turn.end is None:
            self._give_back(turn)
        return self._reserve(ask, conversation, turn.id, (turn, stored))

    def _give_back(self, turn: Turn) -> None:
        """The reservation of an attempt that was killed, if the sweeper did not come by yet."""
        try:
            self._parts.credits.release(turn.account, turn.reservation_id, "crashed")
        except (ReservationClosed, ReservationUnknown):
            return

    def _reserve(
        self, ask: Ask, conversation: Conversation, message_id: str, last: tuple[Turn, Document] | None
    ) -> Opened:
        plan = self._plan(ask, conversation)
        draft = self._draft(ask, plan, message_id, attempt=1 if last is None else last[0].attempt + 1)
        reserve = Reserve(
            id=draft.reservation_id,
            ceiling=plan.quote.ceiling,
            at_least=plan.quote.needed,
            purpose="chat",
            reference=Reference("message", message_id, ask.request_id),
            expires_in_us=self._parts.lease_us,
        )
        participant = self._participant(plan, draft, last)
        reservation = self._parts.credits.reserve(ask.uid, reserve, participant)
        turn = self._granted(plan, draft, reservation.amount)
        length = sum(map(len, texts(plan.messages)))
        return Opened(ask, turn, plan.model, plan.messages, length)

    def _participant(self, plan: _Plan, draft: Turn, last: tuple[Turn, Document] | None) -> Participant:
        path = turn_path(draft.account, draft.conversation_id, draft.id)

        def create(outcome: Outcome, _: tuple[Document | None, ...]) -> list[Write]:
            return [Create(path, turns.write(self._granted(plan, draft, _amount(outcome))))]

        def replace_last(outcome: Outcome, seen: tuple[Document | None, ...]) -> list[Write]:
            stored = seen[0]
            if last is None or stored is None or stored.version != last[1].version:
                raise AnswerInProgress("Another request with this key was faster.", message_id=draft.id)
            fields = turns.write(self._granted(plan, draft, _amount(outcome)))
            return [Replace(path, fields, stored.version)]

        def replayed(_: Outcome) -> None:
            # The account holds this reservation already: the turn is the other request's, and it alone may answer.
            raise AnswerInProgress("Another request with this key was faster.", message_id=draft.id)

        if last is None:
            return Participant(writes=create, replayed=replayed)
        return Participant(reads=(path,), writes=replace_last, replayed=replayed)

    def _plan(self, ask: Ask, conversation: Conversation, most_output: int = MOST_OUTPUT) -> _Plan:
        model, route = self._model(ask, conversation)
        messages = tuple(prompt(conversation, ask.content, ask.images, model))
        tokens = upper_bound(texts(messages))
        room = model.context_tokens - tokens - len(ask.images) * model.image_input_tokens
        demand = Demand(tokens, min(model.max_output_tokens, most_output, room), len(ask.images))
        return _Plan(model, route, messages, quote(self._parts.book, model, demand, max_cost=ask.max_cost))

    def _model(self, ask: Ask, conversation: Conversation) -> tuple[Model, str]:
        catalogue = self._parts.book.catalogue
        needed: tuple[Capability, ...] = ("text", "vision") if ask.images else ("text",)
        named, route = (ask.model, "requested") if ask.model else (conversation.model, "conversation")
        if named is None:
            return catalogue.default(*needed), "default"
        model = catalogue.get(named)
        if not model.can(*needed):
            raise UnsuitableModel("This model cannot answer such a message.", model=model.id, needed=[*needed])
        return model, route

    def _draft(self, ask: Ask, plan: _Plan, message_id: str, *, attempt: int) -> Turn:
        now_us = self._parts.clock.now_us()
        return Turn(
            id=message_id,
            account=ask.uid,
            conversation_id=ask.conversation_id,
            attempt=attempt,
            request_hash=ask.hash,
            question=ask.content,
            images=ask.images,
            model=plan.model.id,
            route=plan.route,
            reservation_id=turns.reservation_id(message_id, attempt),
            reserved=0,
            max_output_tokens=plan.quote.demand.output_tokens,
            clamped=False,
            instance=self._parts.instance,
            created_at=to_rfc3339(now_us),
            lease_until=to_rfc3339(now_us + self._parts.lease_us),
        )

    def _granted(self, plan: _Plan, draft: Turn, reserved: int) -> Turn:
        """The turn with what was really reserved, and the output that this pays for."""
        grant = granted(self._parts.book, plan.quote, reserved)
        return replace(draft, reserved=reserved, max_output_tokens=grant.max_output_tokens, clamped=grant.clamped)


def _amount(outcome: Outcome) -> int:
    if not isinstance(outcome, Reserved):
        raise InvariantViolation("a reserve is answered by a reservation")
    return outcome.reservation.amount
