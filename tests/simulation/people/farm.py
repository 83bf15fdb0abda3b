"""A farm: many accounts of one network, device, domain, IPv6 site or relay, for each of which the bonus has a bound.

Its mailboxes are verified before or after the first call, which comes by any door, with forged addresses in front of
the true one.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.api.auth import Principal
from app.credits.core.entry import Entry, Kind
from app.kit.money import to_decimal
from app.ports import Identity
from simulation.audit.records import Records
from simulation.edge import HttpRequest
from simulation.instance import PER_CROWD, WELCOME
from simulation.machine.kernel import CALM
from simulation.people.door import CALL, Door, Heard
from simulation.world import World

DEVICE: Final = "one device for all of them"
_CLAIM: Final = "/v1/credits/welcome-bonus"


@dataclass(frozen=True)
class _Bot:
    """An account of a farm. `seen` is the address that Google's front end sees, `told` the one that a relay tells."""

    uid: str
    email: str
    seen: str
    told: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class _Cluster:
    """What a farm's accounts have in common, and how many of them may be given each part of the bonus on a day."""

    name: str
    size: int
    bound: int
    bot: Callable[[int], _Bot]


def _own(number: int) -> str:
    return f"198.18.{number}.7"


def _mailbox(number: int) -> str:
    return f"farmer{number}@gmail.com"


_CLUSTERS: Final = (
    _Cluster("network", 7, 5, lambda n: _Bot(f"farm{n}", _mailbox(n), f"203.0.113.{n}")),
    _Cluster("network", 7, 5, lambda n: _Bot(f"farm{n}", _mailbox(n), f"::ffff:203.0.113.{n}")),
    _Cluster("site", 5, PER_CROWD, lambda n: _Bot(f"farm{n}", _mailbox(n), f"2001:db8:1:{n:x}::1")),
    _Cluster("relay", 5, PER_CROWD, lambda n: _Bot(f"farm{n}", _mailbox(n), f"203.0.113.{n}", _own(n))),
    _Cluster("relay", 5, PER_CROWD, lambda n: _Bot(f"farm{n}", _mailbox(n), f"203.0.113.{n}", _own(n))),
    _Cluster("customer", 7, 5, lambda n: _Bot(f"farm{n}", _mailbox(n), _own(n), f"203.0.113.{n}")),
    _Cluster("device", 4, 2, lambda n: _Bot(f"farm{n}", _mailbox(n), _own(n), device=DEVICE)),
    _Cluster("domain", 22, 20, lambda n: _Bot(f"farm{n}", f"u{n}@{'ab'[n % 2]}.farm.co.uk", _own(n))),
    _Cluster("domain", 22, 20, lambda n: _Bot(f"farm{n}", f"u{n}@m{n}.farm.example", _own(n))),
)
"""A relay, such as a CDN, and the customer of a relay: anybody can write what a relay would."""
PHONE: Final = _Cluster(
    "phone", 4, 2, lambda n: _Bot(f"phone{n}", f"phone{n}@gmail.com", _own(100 + n), device="one phone for all of them")
)


class Farm:
    """Signs its accounts up one after the other, and takes what it is given."""

    def __init__(self, world: World, cluster: _Cluster | None = None) -> None:
        self._world, self._kernel = world, world.kernel
        self._random = world.kernel.random
        self._cluster = cluster or self._random.choice(_CLUSTERS)
        self._door = Door(world, f"farm by {self._cluster.name}")
        self._late = self._random.random() < 0.4
        """Whether mailboxes are verified after the first call."""
        self.uids: list[str] = []
        self.found = self._door.found

    def live(self) -> None:
        """All of its accounts."""
        for number in range(self._cluster.size):
            bot = self._cluster.bot(number)
            identity = Identity(bot.uid, "password", bot.email, bot.email, not self._late, self._kernel.now_us)
            self._world.outside.people.known[bot.uid] = identity
            self.uids.append(bot.uid)
            self._comes(bot, self._world.outside.tokens.issue(Principal(bot.uid)))

    def verdict(self, records: Records) -> Iterator[str]:
        """Each part of the bonus was given as often as the farm may have it; in calm weather no less often."""
        for part in ("welcome", "welcome:verified"):
            given = [
                uid
                for uid in self.uids
                for entry in records.entries(uid)
                if (entry.kind, entry.key) == (Kind.GRANT, part)
            ]
            if len(given) > self._cluster.bound or len(given) != len({*given}):
                yield f"a farm with one {self._cluster.name} was given {part} {len(given)} times: {given}"
            least = min(self._cluster.bound, self._cluster.size) if part == "welcome" else 0
            if self._world.faults == CALM and len(given) < least and len(self.uids) == self._cluster.size:
                yield f"people with one {self._cluster.name} were given {part} {len(given)} times"

    def _comes(self, bot: _Bot, token: str) -> None:
        first = self._claim if self._first_is_claim(bot) else self._touch
        first(bot, token, opens=not self._late)
        if self._late:
            known = self._world.outside.people.known
            known[bot.uid] = replace(known[bot.uid], email_verified=True)
        for _ in range(2 if self._late or self._random.random() < 0.3 else 0):
            self._claim(bot, token)

    def _first_is_claim(self, bot: _Bot) -> bool:
        """A device speaks only in a claim."""
        return bot.device is not None or self._random.random() < 0.5

    def _touch(self, bot: _Bot, token: str, *, opens: bool) -> None:
        request = self._random.choice(
            (
                HttpRequest("GET", "/v1/credits/balance", token),
                HttpRequest(
                    "POST", "/v1/credits/reserve", token, b'{"amount": "0.01", "purpose": "x", "expires_in": 60}'
                ),
                HttpRequest("GET", "/api/v1/credits/history", token),
            )
        )
        if self._calls(bot):
            request = HttpRequest("POST", f"{CALL}get_balance", token, b'{"data": null}')
        self._ask(bot, request)

    def _calls(self, bot: _Bot) -> bool:
        """Whether it comes by a callable, in front of which no relay stands."""
        return bot.told is None and self._random.random() < 0.4

    def _claim(self, bot: _Bot, token: str, *, opens: bool = False) -> None:
        body = {} if bot.device is None else {"device_fingerprint": bot.device}
        if self._calls(bot):
            request = HttpRequest("POST", f"{CALL}claim_welcome_bonus", token, json.dumps({"data": body}).encode())
        else:
            request = HttpRequest("POST", _CLAIM, token, json.dumps(body).encode())
        heard = self._ask(bot, request)
        if not opens or heard is None or heard.status not in (200, 201, 409):
            return
        told = heard.fields
        if told.get("code") == "bonus_already_granted" or told.get("amount", to_decimal(WELCOME)) != to_decimal(
            WELCOME
        ):
            self.found.append(f"the first claim of {bot.uid} was told {heard.text}")

    def _ask(self, bot: _Bot, request: HttpRequest) -> Heard | None:
        headers = {"X-Forwarded-For": f"{self._random.randrange(256)}.2.3.4, {bot.seen}"}
        if request.method == "POST":
            headers["Idempotency-Key"] = f"{bot.uid}-{self._kernel.now_us}"
        if bot.told is not None:
            headers["Fastly-Client-IP"] = bot.told
        self._kernel.sleep(self._random.randrange(1_000_000))
        return self._door.ask(replace(request, headers=headers))


def _is(entry: Entry, part: str) -> bool:
    return (entry.kind, entry.key) == (Kind.GRANT, part)
