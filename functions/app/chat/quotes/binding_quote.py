"""A price of one message that binds: what it promises, and what the message that takes it must be. Pure.

It holds the prices of every model that may answer, so that they stay the same where the catalogue changes, and digests
of what was asked, no text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from app.assistant import choice as choices
from app.assistant.choice import Chosen
from app.kit.errors import NotFound, Rejection, ensure
from app.kit.stores.documents import Fields, Value, as_map, int_field, list_field, map_field, optional_text, text_field
from app.kit.stores.reading import time_field
from app.models.catalogue import BUCKETS, Bucket, Catalogue, Model, Tier
from app.models.gateway import Message
from app.models.pricing import PriceBook

KEPT_US: Final = 24 * 3600 * 1_000_000
"""How long a quote is kept after it expired, so that whoever sends it late learns why it is refused."""

Prices = Mapping[Bucket, int]


class NoSuchQuote(NotFound):
    """The quote does not exist, or it is another user's."""

    def __init__(self) -> None:
        super().__init__("There is no such quote.")


class QuoteMismatch(Rejection):
    """The message is not the one that was quoted; `fields` names what is different."""

    status = 422
    code = "quote_mismatch"
    title = "This is not what was quoted"


class QuoteExpired(Rejection):
    """Its time is over."""

    status = 409
    code = "quote_expired"
    title = "The quote has expired"


class QuoteUsed(Rejection):
    """Another message was reserved for by it."""

    status = 409
    code = "quote_used"
    title = "The quote was used"


class QuoteOutdated(Rejection):
    """The model would be sent another prompt than the one that was priced."""

    status = 409
    code = "quote_outdated"
    title = "The conversation has changed since the quote"


@dataclass(frozen=True, slots=True)
class QuoteAsk:
    """What a quote was asked for, with digests of the content and of the pictures.

    `model`, `max_cost` (micro-credits) and `parent` are None where they were left out; `conversation_id` is empty for a
    new conversation.
    """

    conversation_id: str
    content: str
    images: str
    model: str | None
    max_cost: int | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class BindingQuote:
    """A quote of `account`. Amounts are micro-credits, times RFC 3339.

    `prompt` is the digest of all that the model is sent. `without` are providers of which no model answers,
    `usual_output` the output tokens that are held for first. `prices` has those of each model that may answer, by id,
    with its tiers. `used_by` is the message that was reserved for by it, or empty.
    """

    id: str
    account: str
    asked: QuoteAsk
    prompt: str
    model: str
    route: str
    choice: Chosen | None
    without: tuple[str, ...]
    usual_output: int
    p50: int
    p90: int
    ceiling: int
    price_book: str
    prices: Mapping[str, tuple[Prices, tuple[Tier, ...]]]
    created_at: str
    expires_at: str
    used_by: str = ""

    @property
    def because(self) -> str:
        """Why this model: the reason of the choice, or how the model was named."""
        return self.route if self.choice is None else self.choice.because

    def check_asked(self, message: QuoteAsk) -> None:
        """Compares a message. What it leaves out is as it was quoted, but for content and pictures; for its model and
        its limit it may also name what the quote says.

        Raises:
            QuoteMismatch: it is another one.
        """
        asked = self.asked
        same = {
            "content": message.content == asked.content,
            "images": message.images == asked.images,
            "model": message.model in (None, asked.model, self.model),
            "max_cost": message.max_cost in (None, asked.max_cost, self.ceiling),
            "parent_id": message.parent in (None, asked.parent),
            "conversation_id": asked.conversation_id in ("", message.conversation_id),
        }
        if different := [name for name, holds in same.items() if not holds]:
            raise QuoteMismatch("Send what was quoted, or ask for another quote.", fields=different)

    def check_free(self, message_id: str, now: str) -> None:
        """Whether this message may take it; the one that took it before may do so again, as another attempt.

        Raises:
            QuoteUsed, QuoteExpired
        """
        if self.used_by == message_id:
            return
        check_unused(self.id, self.used_by, message_id)
        if self.expires_at <= now:
            raise QuoteExpired("Ask for another one.", quote_id=self.id, expired_at=self.expires_at)

    def check_prompt(self, messages: Sequence[Message]) -> None:
        """Raises QuoteOutdated unless these messages are what was priced."""
        if prompt_digest(messages) != self.prompt:
            raise QuoteOutdated("Its model would be sent something else now. Ask for another one.", quote_id=self.id)

    def book(self, catalogue: Catalogue) -> PriceBook:
        """The prices that bind. Models that are gone meanwhile, or were no fallbacks then, do not answer.

        Raises:
            UnknownModel, ModelNotOffered: the model itself is gone.
        """
        catalogue.get(self.model)
        models: dict[str, Model] = dict(catalogue.models)
        for id, (prices, tiers) in self.prices.items():
            if id in models:
                models[id] = replace(models[id], prices=prices, tiers=tiers)
        closed = catalogue.closed | (models.keys() - self.prices.keys())
        return PriceBook(replace(catalogue.over(models, frozenset(closed)), version=self.price_book))


def check_unused(quote_id: str, used_by: Value, message_id: str) -> None:
    """Raises QuoteUsed where another message took it."""
    if used_by not in ("", message_id):
        raise QuoteUsed("A quote is for one message. Ask for another one.", quote_id=quote_id)


def prompt_digest(messages: Sequence[Message]) -> str:
    """Digest of what a model is sent."""
    sent = [[one.role, one.text, [*one.images]] for one in messages]
    return hashlib.sha256(json.dumps(sent).encode()).hexdigest()


def prices_of(models: Sequence[Model]) -> dict[str, tuple[Prices, tuple[Tier, ...]]]:
    """The prices of these models, as a quote keeps them."""
    return {one.id: (one.prices, one.tiers) for one in models}


def quote_path(uid: str, id: str) -> str:
    """A quote's document."""
    return f"users/{uid}/quotes/{id}"


def write(quote: BindingQuote) -> dict[str, Value]:
    """Its document, without the time at which it may be deleted."""
    asked = quote.asked
    prices: list[Value] = [
        {
            "model": id,
            "prices": _stored(prices),
            "tiers": [{"above": tier.above_input_tokens, "prices": _stored(tier.prices)} for tier in tiers],
        }
        for id, (prices, tiers) in quote.prices.items()
    ]
    return {
        "asked": {
            "conversation_id": asked.conversation_id,
            "content": asked.content,
            "images": asked.images,
            "model": asked.model,
            "max_cost": asked.max_cost,
            "parent": asked.parent,
        },
        "prompt": quote.prompt,
        "model": quote.model,
        "route": quote.route,
        "choice": None if quote.choice is None else choices.write(quote.choice),
        "without": [*quote.without],
        "usual_output": quote.usual_output,
        "p50": quote.p50,
        "p90": quote.p90,
        "ceiling": quote.ceiling,
        "price_book": quote.price_book,
        "prices": prices,
        "created_at": quote.created_at,
        "expires_at": quote.expires_at,
        "used_by": quote.used_by,
    }


def read(uid: str, id: str, fields: Fields) -> BindingQuote:
    """The quote in a document.

    Raises:
        InvariantViolation: a field cannot be read. A quote that is spoilt promises nothing that could be kept.
    """
    asked = map_field(fields, "asked")
    choice = fields.get("choice")
    ensure(int_field(fields, "ceiling") > 0, "a quote has a ceiling")
    return BindingQuote(
        id=id,
        account=uid,
        asked=QuoteAsk(
            conversation_id=text_field(asked, "conversation_id"),
            content=text_field(asked, "content"),
            images=text_field(asked, "images"),
            model=optional_text(asked, "model"),
            max_cost=None if asked.get("max_cost") is None else int_field(asked, "max_cost"),
            parent=optional_text(asked, "parent"),
        ),
        prompt=text_field(fields, "prompt"),
        model=text_field(fields, "model"),
        route=text_field(fields, "route"),
        choice=None if choice is None else choices.read(as_map(choice)),
        without=tuple(str(one) for one in list_field(fields, "without")),
        usual_output=int_field(fields, "usual_output"),
        p50=int_field(fields, "p50"),
        p90=int_field(fields, "p90"),
        ceiling=int_field(fields, "ceiling"),
        price_book=text_field(fields, "price_book"),
        prices=dict(_priced(as_map(one)) for one in list_field(fields, "prices")),
        created_at=text_field(fields, "created_at"),
        expires_at=time_field(fields, "expires_at"),
        used_by=text_field(fields, "used_by"),
    )


def _stored(prices: Prices) -> dict[str, Value]:
    return dict(prices.items())


def _priced(fields: Fields) -> tuple[str, tuple[Prices, tuple[Tier, ...]]]:
    tiers = [as_map(one) for one in list_field(fields, "tiers")]
    found = tuple(Tier(int_field(tier, "above"), _prices(map_field(tier, "prices"))) for tier in tiers)
    return text_field(fields, "model"), (_prices(map_field(fields, "prices")), found)


def _prices(fields: Fields) -> Prices:
    ensure("input" in fields and fields.keys() <= {*BUCKETS}, "stored prices have known buckets, and input")
    return {cast(Bucket, name): int_field(fields, name) for name in fields}
