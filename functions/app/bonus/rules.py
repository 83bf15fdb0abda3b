"""Who gets the welcome bonus, and how much of it when. Pure; `welcome.py` asks and keeps the marks.

Evidence comes from our side only: what Auth verified, and where the request came from. What a client says of itself (a
device fingerprint) may deny and never grant, because whoever farms bonuses says the same of a thousand accounts (T-96).
Every grant leaves marks; a mark carries a limit, so the loss to any cluster of accounts is bounded by construction.
"""

import functools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.kit.ids import derived
from app.kit.money import credits
from app.ports import Identity

_HERE: Final = Path(__file__).parent
_DOTLESS: Final = frozenset({"gmail.com"})
_ALIASES: Final = {"googlemail.com": "gmail.com"}
_DAY_US: Final = 24 * 3600 * 1_000_000


class BonusStep(StrEnum):
    """When a part of the bonus is released."""

    OPENING = "opening"
    VERIFIED = "verified"
    PURCHASE = "purchase"


class Ineligibility(StrEnum):
    """Why a bonus is refused. Tells honest users what to do, and attackers little."""

    SIGN_IN_WITH_EMAIL = "sign_in_with_email"
    VERIFY_EMAIL = "verify_email"
    COME_BACK_LATER = "come_back_later"
    NOT_AVAILABLE = "not_available"


@dataclass(frozen=True, slots=True)
class BonusPolicy:
    """How much at which step, and how many accounts of one kind at most."""

    opening: int = credits(1000)
    verified: int = 0
    purchase: int = 0
    need_verified: bool = True
    """Whether even the opening step needs an e-mail that Auth verified."""
    min_age_us: int = 0
    per_network_daily: int = 5
    per_crowd_daily: int = 20
    """Of what many honest people may share: a relay such as a CDN, an IPv6 site, or that no address is known."""
    per_domain_daily: int = 20
    per_device: int = 2

    def amount(self, step: BonusStep) -> int:
        """The amount of one step, in micro-credits."""
        return {BonusStep.OPENING: self.opening, BonusStep.VERIFIED: self.verified, BonusStep.PURCHASE: self.purchase}[
            step
        ]


@dataclass(frozen=True, slots=True)
class Mark:
    """A counter that a grant increases, up to `limit`; in `bonus_marks/{id}`."""

    id: str
    limit: int


@dataclass(frozen=True, slots=True)
class BonusClaims:
    """What a claim comes with. `device` is the client's own word and can only speak against it; `card` is the
    fingerprint that the rail told; `network` is the caller's neighbourhood, and `crowds` are the wider circles that the
    caller shares with more people.
    """

    device: str | None = None
    card: str | None = None
    network: str | None = None
    crowds: tuple[str, ...] = ()


def assess(
    policy: BonusPolicy, step: BonusStep, who: Identity, claims: BonusClaims, now_us: int
) -> Ineligibility | tuple[Mark, ...]:
    """The reason against granting `step`, or the marks that granting it must leave."""
    if policy.amount(step) == 0:
        return Ineligibility.NOT_AVAILABLE
    if who.provider == "anonymous" or who.email is None:
        return Ineligibility.SIGN_IN_WITH_EMAIL
    if not who.email_verified and (policy.need_verified or step is BonusStep.VERIFIED):
        return Ineligibility.VERIFY_EMAIL
    if is_disposable(who.email):
        return Ineligibility.NOT_AVAILABLE
    # An account that Auth made a moment ago may lie ahead of this machine's clock: it is new, and no younger than that.
    if max(0, now_us - who.created_at_us) < policy.min_age_us:
        return Ineligibility.COME_BACK_LATER
    if step is BonusStep.PURCHASE and claims.card is None:
        return Ineligibility.NOT_AVAILABLE
    return tuple(_marks(policy, step, who, claims, now_us // _DAY_US))


def normalized(email: str) -> str:
    """One spelling per mailbox: case, tags behind `+`, and the dots that Gmail ignores."""
    name, _, domain = email.strip().casefold().rpartition("@")
    domain = _ALIASES.get(domain.rstrip("."), domain.rstrip("."))
    name = name.partition("+")[0]
    return f"{name.replace('.', '') if domain in _DOTLESS else name}@{domain}"


def is_disposable(email: str) -> bool:
    """Whether the mailbox is of a kind that nobody keeps."""
    parts = normalized(email).rpartition("@")[2].split(".")
    return any(".".join(parts[start:]) in _lines("disposable_domains.txt") for start in range(len(parts)))


def registrable(domain: str) -> str:
    """The part of a domain that its owner pays for; subdomains cost nothing, so they are not told apart."""
    labels = domain.split(".")
    ending = labels[-2:-1]
    known = _public_suffixes().get(labels[-1], frozenset())
    deep = bool(ending) and (ending[0] in known or "*" in known)
    return ".".join(labels[-3 if deep else -2 :])


def _marks(policy: BonusPolicy, step: BonusStep, who: Identity, claims: BonusClaims, day: int) -> list[Mark]:
    """One guard for every step and every door: the person, and every circle that the person is known to be of."""
    email = normalized(who.email or "")
    marks = [_mark(step, "email", email, 1)]
    if who.provider_uid:
        marks.append(_mark(step, "provider", f"{who.provider}:{who.provider_uid}", 1))
    domain = email.rpartition("@")[2]
    if domain not in _lines("shared_domains.txt"):
        # Below a shared domain, one mailbox may have a whole name for itself, with any number of addresses.
        marks.append(_mark(step, "domain", f"{registrable(domain)}:{day}", policy.per_domain_daily))
    if claims.network:
        marks.append(_mark(step, "network", f"{claims.network}:{day}", policy.per_network_daily))
    marks += [_mark(step, "crowd", f"{crowd}:{day}", policy.per_crowd_daily) for crowd in claims.crowds]
    if claims.card:
        # One card backs one bonus, however many accounts it pays for (T-97).
        marks.append(_mark(step, "card", claims.card, 1))
    if claims.device:
        marks.append(_mark(step, "device", claims.device, policy.per_device))
    return marks


def _mark(step: BonusStep, kind: str, value: str, limit: int) -> Mark:
    return Mark(derived("bon", step.value, kind, value), limit)


@functools.cache
def _lines(name: str) -> frozenset[str]:
    lines = (_HERE / name).read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


@functools.cache
def _public_suffixes() -> dict[str, frozenset[str]]:
    rows = (line.partition(": ") for line in _lines("public_suffixes.txt"))
    return {country: frozenset(names.split()) for country, _, names in rows}
