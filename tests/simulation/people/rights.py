"""People whose rights change while their old tokens go on: administrators who are demoted, users who must leave.

What each may do is known from what was done to them, and how fresh that must be from docs/decisions.md.
"""

from collections.abc import Callable
from typing import Final

from app.api.auth import Principal, Role
from app.kit.clock import minutes, seconds
from app.ports import Identity
from simulation.edge import HttpRequest
from simulation.people.door import CALL, Door
from simulation.world import World

_MINUTE: Final = minutes(1) + seconds(4)
"""For so long a user who was looked up spends, by the clock of an instance, which may be wrong by 1.5 s."""
_SILENCE: Final = seconds(30) + _MINUTE
"""For so long after Auth did not answer somebody may spend by a token alone."""
_STAFF: Final = ("admin", "support")
_DOORS: Final = (
    ("/v1/credits/audit", "uid=user0", ("admin",)),
    ("/v1/credits/audit", "uid=leaver", ("admin",)),
    ("/v1/credits/breaches", "", ("admin",)),
    ("/v1/monitoring/metrics", "", ("admin",)),
    ("/v1/orchestration/audit-log", "limit=1", ("admin",)),
    ("/v1/credits/corrections/corr-1", "", ("admin",)),
    ("/v1/orchestration/operations", "state=queued&limit=1", _STAFF),
    ("/v1/orchestration/lanes", "", _STAFF),
    ("/v1/orchestration/sagas/none", "", _STAFF),
)
"""Where administrators read, and who may. None of these changes anything."""


class Administrator:
    """Is promoted and demoted, and tries every door with the tokens of before. A new role counts at once."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._door = Door(world, "administrator")
        self._auth = world.outside.tokens
        self._tokens = [self._auth.issue(Principal("steward", self._kernel.random.choice(_STAFF)))]
        self.found = self._door.found

    def live(self) -> None:
        """Some minutes of it."""
        random = self._kernel.random
        for _ in range(random.randrange(8, 16)):
            self._kernel.sleep(random.randrange(20_000_000))
            if random.random() < 0.3:
                roles: tuple[Role, ...] = ("user", "support", "admin")
                self._auth.users["steward"].role = random.choice(roles)
            if random.random() < 0.2:
                self._tokens.append(self._auth.issue(Principal("steward")))
            self._try()
            if random.random() < 0.6:
                self._door.ask(HttpRequest("GET", "/v1/credits/reservations", random.choice(self._tokens)))

    def _try(self) -> None:
        path, query, roles = self._kernel.random.choice(_DOORS)
        before = self._auth.users["steward"].role
        heard = self._door.ask(HttpRequest("GET", path, self._kernel.random.choice(self._tokens), query=query))
        if heard is None or heard.status == 503 or self._auth.users["steward"].role != before:
            return
        if (heard.status == 403) == (before in roles) or heard.status == 401:
            self.found.append(f"{before} asked for {path}?{query} and was answered {heard.status}")


class Leaver:
    """Spends a little, until it is disabled or deleted, or its sessions are revoked or end. It goes on trying."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._door = Door(world, "leaver")
        self._auth = world.outside.tokens
        who = Identity("leaver", "google.com", "google-leaver", "leaver@gmail.com", True, self._kernel.now_us)
        world.outside.people.known["leaver"] = who
        self._lives_s = self._kernel.random.choice((100, 100, 86_400, 86_400, 86_400))
        self._token = self._auth.issue(Principal("leaver"), lives_s=self._lives_s)
        self._until_us = self._kernel.now_us + seconds(self._lives_s)
        self._out_us = 0
        """Since when it may not spend; 0 while it may."""
        self.found = self._door.found

    def live(self) -> None:
        """Eight minutes."""
        random, ends_us = self._kernel.random, self._kernel.now_us + minutes(8)
        leaves_us = self._kernel.now_us + random.randrange(minutes(2), minutes(4))
        while self._kernel.now_us < ends_us:
            self._spend()
            if random.random() < 0.3:
                self._look()
            self._kernel.sleep(random.randrange(10_000_000, 40_000_000))
            if not self._out_us and self._kernel.now_us > leaves_us and self._lives_s > 100:
                self._out_us = self._kernel.now_us
                random.choice(self._ways())()

    def _ways(self) -> list[Callable[[], None]]:
        user = self._auth.users["leaver"]
        return [
            lambda: setattr(user, "disabled", True),
            lambda: setattr(user, "deleted", True),
            lambda: self._auth.revoke("leaver"),
        ]

    def _spend(self) -> None:
        random, key = self._kernel.random, {"Idempotency-Key": f"leaver-{self._kernel.now_us}"}
        amount = b'{"amount": "0.001", "purpose": "api", "expires_in": 60}'
        request = random.choice(
            (
                HttpRequest("POST", "/v1/credits/reserve", self._token, amount, headers=key),
                HttpRequest("POST", "/v1/credits/reserve", self._token, amount, headers=key),
                HttpRequest("POST", "/v1/credits/welcome-bonus", self._token, b"{}", headers=key),
                HttpRequest("POST", f"{CALL}claim_welcome_bonus", self._token, b'{"data": {}}'),
            )
        )
        began_us = self._kernel.now_us
        heard = self._door.ask(request)
        if heard is None or heard.status == 503:
            return
        now_us, refused = self._kernel.now_us, heard.status == 401
        late = self._out_us and began_us > self._out_us + _MINUTE and began_us > self._auth.silent_us + _SILENCE
        if not refused and (late or began_us > self._until_us + seconds(8)):
            self.found.append(f"who left at {self._out_us} spends at {began_us}: {request.path} {heard.status}")
        if refused and not self._out_us and now_us < self._until_us - seconds(3):
            self.found.append(f"who may spend was answered 401 at {request.path}")

    def _look(self) -> None:
        """Their own data is theirs to read until the token ends."""
        began_us = self._kernel.now_us
        heard = self._door.ask(HttpRequest("GET", "/v1/credits/balance", self._token))
        if heard is None:
            return
        if heard.status == 200 and began_us > self._until_us + seconds(8):
            self.found.append("a balance was read with a token that is over")
        if heard.status not in (200, 503) and self._kernel.now_us < self._until_us - seconds(3):
            self.found.append(f"leaver may not read its own balance: {heard.status}")
