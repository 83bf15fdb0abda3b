"""Grants the part of the welcome bonus that waits for a purchase.

Knows no payments. Which card paid is asked of `Cards`, and a deposit that nobody knows a card of releases nothing: one
card backs one bonus, and a purchase without one could be any number of people (T-97).
"""

from collections.abc import Callable
from typing import Final

from app.bonus.rules import Ineligibility
from app.bonus.welcome import BonusNotEligible, Welcome
from app.credits.public import EVENT_NAMES, EVENT_VERSION, Kind
from app.kit.clock import minutes
from app.kit.errors import Rejection, ensure
from app.kit.stores.documents import map_field, text_field
from app.orchestration.event_bus import Event, Subscription
from app.orchestration.queue.handler import Done, Later, Run, RunOutcome
from app.orchestration.queue.operation import SecurityLevel

Cards = Callable[[str], str | None]
"""The fingerprint of the card that made a payment, as the rail told it; None when it was no card, or nobody knows.
May raise `Unavailable`.
"""

_LOOK_AGAIN_US: Final = minutes(60)


def on_deposit(welcome: Welcome, cards: Cards) -> Subscription:
    """Grants the part of the bonus that waits for a purchase."""

    def react(event: Event, run: Run) -> RunOutcome:
        return _deposited(welcome, cards, event, run)

    deposited = EVENT_NAMES[Kind.DEPOSIT]
    return Subscription("welcome", deposited, react, frozenset({EVENT_VERSION}), level=SecurityLevel.MONEY)


def _deposited(welcome: Welcome, cards: Cards, event: Event, run: Run) -> RunOutcome:
    """Grants in a commit of its own, before the operation ends: the grant's key makes a repeat the first answer."""
    ensure(event.account is not None, "a deposit is made to an account")
    try:
        posted = welcome.purchased(str(event.account), _card(event, cards))
    except BonusNotEligible as refused:
        if refused.reason is Ineligibility.COME_BACK_LATER:
            return Later(run.now_us() + _LOOK_AGAIN_US, refused.detail)
        return Done({"refused": refused.reason.value})
    except Rejection as refusal:
        # The account may not be given anything now, or was given another amount before. That is an answer, too.
        return Done({"refused": refusal.code})
    return Done({"transaction_id": posted.entry.id})


def _card(event: Event, cards: Cards) -> str | None:
    reference = map_field(event.data, "reference")
    return cards(text_field(reference, "id")) if reference.get("type") == "payment" else None
