"""The welcome bonus: asks for evidence, posts the grant, and counts its marks in the same commit.

The first touch of an account grants the opening step when the evidence suffices; otherwise the account opens empty and
its owner may claim later. `identities` is Auth's record of a user, never what a request says.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from app.api.context import NOBODY, Client, network_of, prefix_of
from app.bonus.rules import BonusClaims, BonusPolicy, BonusStep, Ineligibility, Mark, assess
from app.credits.public import (
    AccountOpening,
    Credits,
    Grant,
    LotSource,
    OpeningGrants,
    Outcome,
    Participant,
    Posted,
    Reference,
    Seen,
)
from app.kit.clock import Clock
from app.kit.errors import Forbidden, Rejection
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Document, Replace, Value, Write, int_field
from app.ports import Identities

WELCOME_KEY: Final = "welcome"
"""Of the entry that grants the bonus at the first touch: the same whether or not evidence was asked for (T-36)."""
_device: ContextVar[str | None] = ContextVar("device", default=None)
"""The fingerprint of the claim being served: a claim that opens its account is counted like any other."""
_KEYS: Final = {
    BonusStep.OPENING: WELCOME_KEY,
    BonusStep.VERIFIED: f"{WELCOME_KEY}:verified",
    BonusStep.PURCHASE: f"{WELCOME_KEY}:purchase",
}


class BonusAlreadyGranted(Rejection):
    """Once per person."""

    status = 409
    code = "bonus_already_granted"
    title = "Bonus already granted"


class BonusNotEligible(Forbidden):
    """Not now, or not to this person; `reason` says what can be done about it."""

    code = "bonus_not_eligible"
    title = "Not eligible for the bonus"

    def __init__(self, reason: Ineligibility) -> None:
        super().__init__(_SENTENCES[reason], reason=reason.value)
        self.reason = reason


_SENTENCES: Final = {
    Ineligibility.SIGN_IN_WITH_EMAIL: "Sign in with an e-mail address first",
    Ineligibility.VERIFY_EMAIL: "Verify your e-mail address first",
    Ineligibility.COME_BACK_LATER: "This account is too new; try again later",
    Ineligibility.NOT_AVAILABLE: "The bonus is not available for this account; support can help",
}


@dataclass(frozen=True, slots=True)
class BonusRules:
    """Dependencies of the opening bonus. Built before `Credits`, which receives it."""

    policy: BonusPolicy
    identities: Identities
    clock: Clock
    low_threshold: int
    client: Callable[[], Client] = lambda: NOBODY
    """Where the call being served came from."""

    def evidence(self) -> BonusClaims:
        """What is known of the call being served."""
        return evidence(self.client(), device=_device.get())

    def opening(self, uid: str) -> AccountOpening:
        """For the `opening` of `Credits`: the opening step, when the evidence suffices at first touch."""
        who = self.identities(uid)
        marks = assess(self.policy, BonusStep.OPENING, who, self.evidence(), self.clock.now_us())
        if isinstance(marks, Ineligibility):
            return AccountOpening(self.low_threshold)
        grant = _grant(uid, BonusStep.OPENING, self.policy.opening)

        def grants(seen: Seen) -> OpeningGrants:
            writes = counted(marks, uid, seen)
            return OpeningGrants() if writes is None else OpeningGrants((grant,), tuple(writes))

        return AccountOpening(self.low_threshold, tuple(_path(mark) for mark in marks), grants)


def opening_for_everyone(uid: str, amount: int, low_threshold: int) -> AccountOpening:
    """An account that opens with the whole bonus, whoever its owner is."""
    if not amount:
        return AccountOpening(low_threshold)
    grant = Grant(WELCOME_KEY, amount, LotSource.BONUS, "welcome", Reference("account", uid))
    return AccountOpening(low_threshold, grants=lambda _: OpeningGrants((grant,)))


class Welcome:
    """Claims of the bonus, and its later steps."""

    def __init__(self, rules: BonusRules, credits: Credits, pause: Pause) -> None:
        self._rules, self._credits, self._pause = rules, credits, pause

    def claim(self, uid: str, device: str | None = None) -> Posted:
        """Grants the next step that the evidence allows now. A claim that opens the account gets what that granted.

        Raises:
            BonusAlreadyGranted: every step that is due was granted.
            BonusNotEligible: with a reason.
        """
        token = _device.set(device)
        try:
            return self._claim(uid)
        finally:
            _device.reset(token)

    def _claim(self, uid: str) -> Posted:
        opens = self._credits.store.load(uid) is None
        account = self._credits.account(uid)
        granted = {step: self._credits.store.entry_with(uid, "key", key) for step, key in _KEYS.items()}
        if opens and (entry := granted[BonusStep.OPENING]):
            return Posted(entry, account, replayed=False)
        for step in (BonusStep.OPENING, BonusStep.VERIFIED):
            if granted[step] is None and self._rules.policy.amount(step):
                return self._release(uid, step, self._rules.evidence())
        raise BonusAlreadyGranted("The welcome bonus was granted to this account")

    def purchased(self, uid: str, card: str | None) -> Posted:
        """Grants the step that a purchase releases; a repeat, and any later purchase, is told of the first grant.

        Raises:
            BonusNotEligible: with a reason; without a `card`, or when it backed a bonus before.
        """
        return self._release(uid, BonusStep.PURCHASE, BonusClaims(card=card))

    def _release(self, uid: str, step: BonusStep, claims: BonusClaims) -> Posted:
        who, now_us = self._rules.identities(uid), self._rules.clock.now_us()
        marks = assess(self._rules.policy, step, who, claims, now_us)
        if isinstance(marks, Ineligibility):
            raise BonusNotEligible(marks)

        def writes(_: Outcome, seen: Seen) -> Sequence[Write]:
            made = counted(marks, uid, seen)
            if made is None:
                raise BonusNotEligible(Ineligibility.NOT_AVAILABLE)
            return made

        grant = _grant(uid, step, self._rules.policy.amount(step))
        participant = Participant(tuple(_path(mark) for mark in marks), writes)
        # If another account wrote one of the marks first, read them again and decide again.
        return optimistic(lambda: self._credits.post(uid, grant, participant), pause=self._pause)


def counted(marks: Sequence[Mark], uid: str, seen: Seen) -> list[Write] | None:
    """Writes that count one more account under each mark; None when one is full. Pure."""
    writes: list[Write] = []
    for mark, stored in zip(marks, seen):
        count = _count(stored)
        if count >= mark.limit:
            return None
        fields: dict[str, Value] = {"count": count + 1, "last": uid}
        over = None if stored is None else Replace(_path(mark), fields, stored.version, keep_others=True)
        writes.append(over or Create(_path(mark), fields))
    return writes


def evidence(client: Client, *, device: str | None = None) -> BonusClaims:
    """What a call says of where it came from. What a relay told counts besides the relay itself, never in its place."""
    own = network(client.address)
    crowds = [] if client.relay is None else [network(client.relay) or "relay"]
    if own is None:
        crowds.append("unknown")
    elif ":" in own:
        crowds.append(prefix_of(own.partition("/")[0], 48))
    return BonusClaims(device=device, network=own, crowds=tuple(crowds))


def _grant(uid: str, step: BonusStep, amount: int) -> Grant:
    return Grant(_KEYS[step], amount, LotSource.BONUS, f"welcome_{step.value}", Reference("account", uid))


def _count(stored: Document | None) -> int:
    return 0 if stored is None else int_field(stored.fields, "count")


def _path(mark: Mark) -> str:
    return f"bonus_marks/{mark.id}"


def network(address: str | None) -> str | None:
    """The neighbourhood of an address that shares one bound; None when it is none."""
    return network_of(address, ipv4_bits=24)
