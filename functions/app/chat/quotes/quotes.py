"""Keeps the quotes that bind, and gives them to the messages that take them."""

from datetime import UTC, datetime

from app.chat.quotes import binding_quote
from app.chat.quotes.binding_quote import KEPT_US, BindingQuote, NoSuchQuote, QuoteAsk, check_unused, quote_path
from app.kit import telemetry
from app.kit.clock import Clock, from_rfc3339, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Create, Document, Documents, Replace
from app.metering.reserving import Claim

_log = telemetry.log("chat")


class Quotes:
    """The quotes of all users."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    def keep(self, quote: BindingQuote) -> None:
        """Stores a new one."""
        until_us = from_rfc3339(quote.expires_at) + KEPT_US
        # What Firestore's TTL policy reads.
        expire_at = datetime.fromtimestamp(until_us / 1_000_000, UTC)
        fields = {**binding_quote.write(quote), "expire_at": expire_at}
        self._documents.commit([Create(quote_path(quote.account, quote.id), fields)])

    def take(self, uid: str, quote_id: str, message: QuoteAsk, message_id: str) -> tuple[BindingQuote, Claim]:
        """The quote for a message, and what marks it as used in the commit that reserves.

        Raises:
            NoSuchQuote, QuoteMismatch
            QuoteExpired
            QuoteUsed: also from the claim, when another message was faster.
        """
        path = quote_path(uid, quote_id)
        stored = self._documents.get(path)
        if stored is None:
            raise NoSuchQuote
        quote = _read(uid, quote_id, stored)
        quote.check_asked(message)
        quote.check_free(message_id, to_rfc3339(self._clock.now_us()))

        def used(seen: Document | None) -> Replace:
            if seen is None:
                raise NoSuchQuote
            check_unused(quote_id, seen.fields.get("used_by"), message_id)
            return Replace(path, {**seen.fields, "used_by": message_id}, seen.version)

        return quote, Claim(path, used)


def _read(uid: str, quote_id: str, stored: Document) -> BindingQuote:
    """A quote; one that is spoilt promises nothing that can be kept."""
    try:
        return binding_quote.read(uid, quote_id, stored.fields)
    except (InvariantViolation, ValueError) as broken:
        _log.error("quote_not_read", path=stored.path, reason=str(broken))
        raise NoSuchQuote from broken
