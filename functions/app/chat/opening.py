"""Opens a paid answer: which model answers, what a repeated key means, and the turn that credits are reserved for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from app.assistant.choice import AUTO, Chosen
from app.assistant.choosing import Asked, Choosing
from app.chat import turn as turns
from app.chat.branching.branches import Branches
from app.chat.conversation import Conversation, Place
from app.chat.live.instances import Instances
from app.chat.paid_turn import Finish, abandoned, granted, paid_call, record
from app.chat.prompting import prompt, texts
from app.chat.quotes.binding_quote import BindingQuote, QuoteAsk, prices_of, prompt_digest
from app.chat.quotes.quotes import Quotes
from app.chat.store import ChatStore
from app.chat.turn import Turn
from app.credits.public import Spender
from app.kit.canonical import digest
from app.kit.clock import Clock, from_rfc3339, seconds, to_rfc3339
from app.kit.errors import AlreadyExists, KeyReused, Rejection
from app.kit.ids import Ids, derived
from app.kit.stopwatch import Stopwatch
from app.kit.stores.documents import Document, Fields
from app.metering.estimate import Estimate, Lengths, Prompt, estimate
from app.metering.holding import Holding
from app.metering.orphans import Orphans
from app.metering.paid_call import PaidCall, reservation_id
from app.metering.quote import MOST_OUTPUT, Granted, Outputs, Quote, demand, quote
from app.metering.reserving import CallInProgress, Reserving, Start, in_progress
from app.metering.settling import OwnerRecord
from app.models.catalogue import Capability, Model, UnsuitableModel
from app.models.gateway import Message
from app.models.pricing import PriceBook

FOR_EVER_US: Final = seconds(86_400)
"""Longer than any answer."""
_NEW: Final = Conversation(id="", title="", model=None, system_prompt="", memory="buffer", created_at="", updated_at="")


@dataclass(frozen=True, slots=True)
class Ask:
    """A message as a user sends it. `max_cost` is micro-credits; `key` makes a repeat give the same answer.

    `parent` is the turn that it answers, or empty for a first message; None: the last turn of the active branch.
    `spender` is the API key that asks, if one does. `quote` names the binding quote by which it is priced.
    """

    uid: str
    conversation_id: str
    content: str
    images: tuple[str, ...] = ()
    model: str | None = None
    max_cost: int | None = None
    key: str | None = None
    request_id: str = ""
    parent: str | None = None
    spender: Spender | None = None
    quote: str | None = None

    @property
    def hash(self) -> str:
        """Digest of what makes two messages the same."""
        parent = [] if self.parent is None else [self.parent]
        quote = [] if self.quote is None else [{"quote": self.quote}]
        return digest([self.content, [*self.images], self.model, self.max_cost, *parent, *quote])

    @property
    def asked(self) -> QuoteAsk:
        """As a quote compares it."""
        content, images = digest(self.content), digest([*self.images])
        return QuoteAsk(self.conversation_id, content, images, self.model, self.max_cost, self.parent)


Recording = Callable[[Turn, Finish, str, Place], OwnerRecord]
"""How the end of a turn is written that finished so, with this answer, at its place in the conversation."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A turn that is reserved for and recorded, what its model is asked, and how much each model may write.

    `options` are further parameters of the vendor's API, and `beside` texts in them that count as input. `waits_us`:
    the answer is worth nothing later, because its client waits no longer for the whole of it.
    """

    turn: Turn
    call: PaidCall
    model: Model
    messages: tuple[Message, ...]
    grant: Granted
    book: PriceBook
    place: Place
    holding: Holding
    options: Mapping[str, object] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    record: Recording = record
    waits_us: int = FOR_EVER_US


@dataclass(frozen=True, slots=True)
class _Plan:
    model: Model
    route: str
    messages: tuple[Message, ...]
    quote: Quote
    chosen: Chosen | None = None
    place: Place = _NEW.end


class Opening:
    """Decides a message and reserves for it.

    `instance` names this instance, so that a cancel finds the answer; `instances` tells of the others. `lease_us` is
    how long a function can live, with a margin, in microseconds. `usual_output` are the output tokens that are reserved
    for first, where nobody knows how long the answer will be. A quote binds for `quote_us` microseconds.
    """

    def __init__(
        self,
        *,
        store: ChatStore,
        branches: Branches,
        reserving: Reserving,
        orphans: Orphans,
        book: PriceBook,
        choosing: Choosing,
        usual_output: int,
        quotes: Quotes,
        quote_us: int,
        clock: Clock,
        ids: Ids,
        instance: str,
        instances: Instances,
        lease_us: int,
    ) -> None:
        self._store = store
        self._branches = branches
        self._reserving = reserving
        self._orphans = orphans
        self._book = book
        self._choosing = choosing
        self._usual_output = usual_output
        self._quotes = quotes
        self._quote_us = quote_us
        self._clock = clock
        self._ids = ids
        self._instance = instance
        self._instances = instances
        self._lease_us = lease_us

    def open(self, ask: Ask, stopwatch: Stopwatch) -> Opened | Turn:
        """Reserves for the answer; or, for a key that was answered before, that turn.

        Costs one read for the conversation, and one call more for a parent whose branch the window does not hold.
        Whether the key is known shows in the reserving commit itself.

        Raises:
            NoSuchMessage, ParentNotEnded, ConversationFull: it cannot be put where it should be.
            NoSuchConversation, UnknownModel, UnsuitableModel, PromptTooLong, InsufficientCredits, MaxCostTooLow
            NoSuchQuote, QuoteMismatch, QuoteExpired, QuoteUsed, QuoteOutdated: its quote does not hold for it.
            KeyReused: the key came with another message.
            CallInProgress: the first request with this key is still running, or nobody knows yet that it is not.
        """
        conversation, _ = self._store.conversation(ask.uid, ask.conversation_id)
        stopwatch.end("read")
        if ask.key is None:
            return self._reserve(ask, conversation, self._ids.new("msg"), None)
        message_id = derived("msg", ask.uid, ask.conversation_id, ask.key)
        try:
            return self._reserve(ask, conversation, message_id, None)
        except (AlreadyExists, Rejection) as error:
            # A refusal may come before the commit could meet the first answer, which goes first.
            known = error
            found = self._store.turn(ask.uid, ask.conversation_id, message_id)
            if found is None:
                raise
        try:
            return self._repeat(ask, conversation, found, known)
        except CallInProgress:
            # Whoever was faster may have been the sweep, which ended it: then nobody answers.
            ended = self._store.turn(ask.uid, ask.conversation_id, message_id)
            if ended is None or ended[0].end is None:
                raise
            return self._repeat(ask, conversation, ended, known)

    def quote(self, ask: Ask, max_output_tokens: int | None = None) -> Quote:
        """What this message would need and reserve now. Writes nothing.

        An empty `conversation_id` stands for a new conversation. `max_output_tokens` bounds the ceiling only: a message
        always needs a minimal answer.

        Raises:
            NoSuchConversation, UnknownModel, UnsuitableModel, PromptTooLong, MaxCostTooLow: as `open`.
        """
        return self._plan_of(ask, max_output_tokens).quote

    def _plan_of(self, ask: Ask, max_output_tokens: int | None) -> _Plan:
        conversation = _NEW if not ask.conversation_id else self._store.conversation(ask.uid, ask.conversation_id)[0]
        most = MOST_OUTPUT if max_output_tokens is None else max_output_tokens
        return self._plan(ask, conversation, most)

    def estimate(
        self, ask: Ask, expected: Lengths, max_output_tokens: int | None = None
    ) -> tuple[Estimate, Chosen | None]:
        """What this message will probably cost, by the same quote, and why its model was chosen. Writes nothing.

        Raises:
            The same as `quote`.
        """
        plan = self._plan_of(ask, max_output_tokens)
        return estimate(self._book, plan.quote, Prompt.of(texts(plan.messages)), expected), plan.chosen

    def bind(self, ask: Ask, expected: Lengths) -> BindingQuote:
        """Keeps the price of this message for a while, for the one that takes it. Reserves nothing.

        Raises:
            The same as `quote`.
        """
        plan, now_us = self._plan_of(ask, None), self._clock.now_us()
        likely = estimate(self._book, plan.quote, Prompt.of(texts(plan.messages)), expected)
        made = BindingQuote(
            id=self._ids.new("quo"),
            account=ask.uid,
            asked=ask.asked,
            prompt=prompt_digest(plan.messages),
            model=plan.model.id,
            route=plan.route,
            choice=plan.chosen,
            without=plan.quote.demand.without,
            usual_output=plan.quote.usual_output,
            p50=likely.expected,
            p90=likely.p90,
            ceiling=plan.quote.ceiling,
            price_book=self._book.version,
            prices=prices_of(self._book.chain(plan.model, plan.quote.demand)),
            created_at=to_rfc3339(now_us),
            expires_at=to_rfc3339(now_us + self._quote_us),
        )
        self._quotes.keep(made)
        return made

    def _repeat(
        self, ask: Ask, conversation: Conversation, found: tuple[Turn, Document], error: Exception
    ) -> Opened | Turn:
        """What a known key gives: the answer again, a refusal, or another attempt at what failed without a charge."""
        turn, _ = found
        if turn.request_hash != ask.hash:
            raise KeyReused("This Idempotency-Key was used for another message.") from error
        if turn.end is None and not self._given_up(turn):
            raise in_progress(paid_call(turn), "The first request with this key is still running.") from error
        if turn.end is not None and not turn.repeatable:
            return turn
        if turn.end is None:
            self._orphans.give_up(abandoned(turn))
        return self._reserve(ask, conversation, turn.id, found)

    def _given_up(self, turn: Turn) -> bool:
        """Whether nobody answers a running turn. Should its function live after all, its settlement finds the
        reservation closed and charges nothing.
        """
        if turn.lease_until <= to_rfc3339(self._clock.now_us()):
            return True
        began_us = from_rfc3339(turn.created_at)
        return self._instances.gave_up(turn.instance, turn.id, turn.attempt, began_us=began_us)

    def _reserve(
        self, ask: Ask, conversation: Conversation, message_id: str, last: tuple[Turn, Document] | None
    ) -> Opened:
        """Reserves for the first attempt, or for the one that follows `last`."""
        taken = None if ask.quote is None else self._quotes.take(ask.uid, ask.quote, ask.asked, message_id)
        if last is not None and last[0].parent is not None:
            ask = replace(ask, parent=last[0].parent)  # Its first attempt may be the end of the branch by now.
        plan = self._plan(ask, conversation) if taken is None else self._quoted(ask, conversation, taken[0])
        draft = self._draft(ask, plan, message_id, attempt=1 if last is None else last[0].attempt + 1)
        if last is not None:
            draft = replace(draft, request_hash=last[0].request_hash)
        call = replace(paid_call(draft, ask.request_id), spender=ask.spender)

        others = {} if last is None else turns.others(last[1].fields)

        def begun(grant: Granted) -> Fields:
            return {**others, **turns.write(granted(draft, grant))}

        start = Start(None if last is None else last[1].version, None if taken is None else taken[1])
        grant = self._reserving.reserve(call, plan.quote, begun, lease_us=self._lease_us, start=start)
        holding, book = self._reserving.holding(call, plan.quote, grant), plan.quote.book
        return Opened(granted(draft, grant), call, plan.model, plan.messages, grant, book, plan.place, holding)

    def _plan(self, ask: Ask, conversation: Conversation, most_output: int = MOST_OUTPUT) -> _Plan:
        place = self._branches.place(ask.uid, conversation, ask.parent)
        plan = self._plan_with(ask, replace(conversation, window=place.window), most_output)
        return replace(plan, place=place)

    def _quoted(self, ask: Ask, conversation: Conversation, by: BindingQuote) -> _Plan:
        """The plan of a message by its quote: that model, at those prices, for no more than that ceiling.

        Raises:
            QuoteOutdated: its model would be sent something else now.
        """
        place = self._branches.place(ask.uid, conversation, by.asked.parent if ask.parent is None else ask.parent)
        book = by.book(self._book.catalogue)
        model = book.catalogue.get(by.model)
        messages = tuple(prompt(replace(conversation, window=place.window), ask.content, ask.images, model))
        by.check_prompt(messages)
        wanted = replace(demand(model, texts(messages), len(ask.images), most_output=MOST_OUTPUT), without=by.without)
        priced = quote(book, model, wanted, outputs=Outputs(usual=by.usual_output), max_cost=by.ceiling)
        return _Plan(model, by.route, messages, priced, by.choice, place)

    def _plan_with(self, ask: Ask, conversation: Conversation, most_output: int) -> _Plan:
        """The plan of a message to a model that sees the conversation's window."""
        if (ask.model or conversation.model) == AUTO:
            return self._chosen(ask, conversation, most_output)
        model, route = self._model(ask, conversation)
        return replace(self._planned(ask, conversation, model, most_output), route=route)

    def _planned(
        self, ask: Ask, conversation: Conversation, model: Model, most_output: int, without: tuple[str, ...] = ()
    ) -> _Plan:
        """The message as this model would be asked, and no fallback of the providers in `without`."""
        messages = tuple(prompt(conversation, ask.content, ask.images, model))
        wanted = demand(model, texts(messages), len(ask.images), most_output=most_output)
        wanted = replace(wanted, without=without) if without else wanted
        priced = quote(self._book, model, wanted, outputs=Outputs(usual=self._usual_output), max_cost=ask.max_cost)
        return _Plan(model, "auto", messages, priced)

    def _chosen(self, ask: Ask, conversation: Conversation, most_output: int) -> _Plan:
        """The message as the model is asked that is chosen for it."""
        plans: dict[str, _Plan] = {}
        unbounded = replace(ask, max_cost=None)

        def priced(model: Model, without: tuple[str, ...]) -> tuple[Quote, Prompt]:
            model, _ = self._model(replace(ask, model=model.id), conversation)
            plan = self._planned(unbounded, conversation, model, most_output, without)
            plans[model.id] = plan
            return plan.quote, Prompt.of(texts(plan.messages))

        ruling = self._choosing.choose(Asked(ask.uid, ask.content, len(ask.images), ask.max_cost), priced)
        plan = plans[ruling.chosen.model]
        bounded = quote(
            self._book,
            plan.model,
            plan.quote.demand,
            outputs=Outputs(usual=ruling.lengths.p99),
            max_cost=ruling.max_cost,
        )
        return replace(plan, quote=bounded, chosen=ruling.chosen)

    def _model(self, ask: Ask, conversation: Conversation) -> tuple[Model, str]:
        catalogue = self._book.catalogue
        needed: tuple[Capability, ...] = ("text", "vision") if ask.images else ("text",)
        named, route = (ask.model, "requested") if ask.model else (conversation.model, "conversation")
        if named is None:
            return catalogue.default(*needed), "default"
        model = catalogue.get(named)
        if not model.can(*needed):
            raise UnsuitableModel("This model cannot answer such a message.", model=model.id, needed=[*needed])
        return model, route

    def _draft(self, ask: Ask, plan: _Plan, message_id: str, *, attempt: int) -> Turn:
        """The turn before anything is reserved for it."""
        now_us = self._clock.now_us()
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
            choice=plan.chosen,
            reservation_id=reservation_id(message_id, attempt),
            reserved=0,
            ceiling=0,
            max_output_tokens=plan.quote.demand.output_tokens,
            clamped=False,
            instance=self._instance,
            created_at=to_rfc3339(now_us),
            lease_until=to_rfc3339(now_us + self._lease_us),
            parent=plan.place.parent,
            before=plan.place.spent,
            loose=True,
        )
