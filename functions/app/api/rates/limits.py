"""Rate limits as the edge applies them. It names who asks and for what; `app.rates` counts.

Answers tell them in the fields of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "reads";q=600;w=60` and
`RateLimit: "reads";r=597;t=42`.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, Protocol, get_args

from app.api.context import Client, network_of
from app.kit.errors import Rejection

RateName = Literal["anonymous", "refused", "reads", "writes", "messages"]
"""Requests of an address to public routes; those of an address that were refused for their credentials; what a user
reads, writes, and pays for."""
NAMES: Final[tuple[RateName, ...]] = get_args(RateName)
WINDOW_S: Final = 60
CROWD: Final = 50
"""A relay serves so many times what one address may ask for: nobody knows whether the addresses that it tells are
true."""


class Standing(NamedTuple):
    """How a caller stands: of `limit` requests in a minute `left` may still come before it ends, in `resets_s`."""

    name: RateName
    limit: int
    left: int
    resets_s: int

    @property
    def headers(self) -> list[tuple[str, str]]:
        """As the answer tells it."""
        policy = ("RateLimit-Policy", f'"{self.name}";q={self.limit};w={WINDOW_S}')
        return [policy, ("RateLimit", f'"{self.name}";r={self.left};t={self.resets_s}')]


class TooManyRequests(Rejection):
    """The caller has made as many requests as one minute allows. Nothing was done."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, standing: Standing) -> None:
        super().__init__(
            f"At most {standing.limit} such requests may be made in a minute.",
            limit=standing.name,
            requests_per_minute=standing.limit,
            retry_after_s=standing.resets_s,
        )
        self.standing = standing


class RateLimiter(Protocol):
    """Counts requests by name and subject. A limit of 0 is none."""

    def hit(self, name: RateName, subject: str, times: int = 1) -> Standing | None:
        """Counts one request, against so many times the limit. None where there is none.

        Raises:
            TooManyRequests: it is one too many, and does not count.
        """
        ...

    def check(self, name: RateName, subject: str, times: int = 1) -> None:
        """Raises TooManyRequests where the next request is known to be one too many. Counts nothing."""
        ...


class Unlimited:
    """The limiter of an application that has no limits."""

    def hit(self, name: RateName, subject: str, times: int = 1) -> Standing | None:
        del name, subject, times
        return None

    def check(self, name: RateName, subject: str, times: int = 1) -> None:
        del name, subject, times


def subjects_of(client: Client) -> Iterator[tuple[str, int]]:
    """Whom a request without a user counts for, and how many times the limit each has: the address, and the relay that
    told it. Addresses are stored as digests.
    """
    if client.address is not None:
        # Who calls without the relay can write any address, but not that relay's: nobody uses up what another has.
        via = "" if client.relay is None else f" via {_host(client.relay)}"
        yield _digest(_host(client.address) + via), 1
    if client.relay is not None:
        yield _digest(f"relay {_host(client.relay)}"), CROWD


def _host(address: str) -> str:
    return network_of(address, ipv4_bits=32) or "no address"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
