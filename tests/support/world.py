"""The whole backend in memory: the same wiring as in production over stores, time and tokens that a test owns.

world = World()
world.client("alice").post("/v1/chat/conversations", json={}).json
world.clock.advance(minutes=31)
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flask_openapi import APIBlueprint, OpenAPI
from werkzeug.test import Client, TestResponse

from app.api.app import Edges, create_app
from app.api.auth import Freshness, Principal, Role, TokenExpired, TokenInvalid
from app.api.edge import Edge
from app.kit.concurrency import Concurrency, Threads
from app.kit.environment import Environment
from app.kit.heartbeat import Heartbeat, ThreadHeartbeat
from app.kit.network.sockets import Network, Sockets
from app.orchestration.queue.outbox import Alarms, NoAlarms
from app.orchestration.queue.retry import Draw
from app.ports import Dependency, Identities, Identity
from app.wiring import Plugin, System
from support.clock import ManualClock, SeededIds
from support.memory import MemoryDocuments, MemoryRealtime

ENVIRONMENT = {
    "GCLOUD_PROJECT": "demo-credits",
    "FUNCTIONS_EMULATOR": "true",
    "AI_PLATFORM_API_KEY": "test",
    "AI_PLATFORM_BASE_URL": "http://127.0.0.1:9/v1",
    "WELCOME_BONUS_CHECKS": "off",
    "LEDGER_SIGNING_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    "RATE_LIMITS": "anonymous=100000 refused=100000 reads=100000 writes=100000 messages=100000",
}
"""Deterministic; the vendor's address answers nobody. A test makes more requests than a person, in no time."""


class WatchedThreads(Threads):
    """Threads whose sleeps take no time; `sleeps` holds them, in microseconds. `on_sleep` lets a test act meanwhile."""

    def __init__(self) -> None:
        self.sleeps: list[int] = []
        self.on_sleep: Callable[[int], None] = lambda _: None

    def sleep_us(self, delay_us: int) -> None:
        self.sleeps.append(delay_us)
        self.on_sleep(delay_us)


class TestTokens:
    """Tokens that verify to whatever principal they were made for."""

    __test__ = False

    def __init__(self) -> None:
        self._principals: dict[str, Principal] = {}
        self._expired: set[str] = set()
        self._demoted: set[str] = set()
        self._disabled: set[str] = set()

    def issue(self, principal: Principal) -> str:
        """A token for `principal`; the same principal, the same token."""
        token = f"token-{principal.uid}-{principal.role}"
        self._principals[token] = principal
        return token

    def expire(self, token: str) -> None:
        """As an hour later."""
        self._expired.add(token)

    def demote(self, uid: str) -> None:
        """Takes the role away; tokens that claim it live on."""
        self._demoted.add(uid)

    def disable(self, uid: str) -> None:
        """Refuses the user wherever they are looked up; tokens live on."""
        self._disabled.add(uid)

    def __call__(self, token: str, /, *, freshness: Freshness = Freshness.TOKEN) -> Principal:
        if token in self._expired:
            raise TokenExpired("The ID token has expired; refresh it.")
        if token not in self._principals:
            raise TokenInvalid("The ID token could not be verified.")
        principal = self._principals[token]
        if principal.uid in self._disabled and freshness is not Freshness.TOKEN:
            raise TokenInvalid("The ID token could not be verified.")
        present = freshness is Freshness.NOW and principal.uid not in self._demoted
        return principal if present else replace(principal, role="user")


class Kept(dict[str, bytes]):
    """An archive in memory: a name that is taken stays as it is."""

    def keep(self, name: str, content: bytes) -> bool:
        new = name not in self
        self.setdefault(name, content)
        return new

    def read(self, name: str) -> bytes | None:
        return self.get(name)


@dataclass
class MemoryPorts:
    """`app.ports.Ports` in memory. `variables` are the environment; threads are real, and nothing sleeps."""

    variables: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    clock: ManualClock = field(default_factory=ManualClock)
    ids: SeededIds = field(default_factory=SeededIds)
    draw: Draw = field(default_factory=lambda: random.Random(0).randrange)
    alarms: Alarms = field(default_factory=NoAlarms)
    concurrency: Concurrency = field(default_factory=WatchedThreads)
    heartbeat: Heartbeat = field(default_factory=ThreadHeartbeat)
    network: Network = field(default_factory=Sockets)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    realtime: MemoryRealtime = field(default_factory=MemoryRealtime)
    verify_token: TestTokens = field(default_factory=TestTokens)
    identities: Identities = Identity
    archive: Kept = field(default_factory=Kept)
    dependencies: tuple[Dependency, ...] = ()

    @property
    def environment(self) -> Environment:
        return Environment(self.variables)

    def start_logging(self) -> None:
        """Leaves logging to pytest."""


class Caller(Client):
    """A test client that signs its requests. `open` and its verbs return responses with `.json` and `.data`."""

    def __init__(self, application: Edge, token: str | None) -> None:
        super().__init__(application, TestResponse)
        self.token = token

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if self.token is not None:
            kwargs["environ_base"] = {
                "HTTP_AUTHORIZATION": f"Bearer {self.token}",
                **(kwargs.get("environ_base") or {}),
            }
        return super().open(*args, **kwargs)


class World:
    """One backend and the things around it. `variables` change its environment, `plugins` add features to it."""

    def __init__(
        self,
        *,
        seed: int = 0,
        variables: Mapping[str, str] | None = None,
        dependencies: Sequence[Dependency] = (),
        ports: MemoryPorts | None = None,
        plugins: Sequence[Plugin] = (),
    ) -> None:
        self.ports = ports or MemoryPorts(ids=SeededIds(seed), dependencies=tuple(dependencies))
        self.ports.variables.update(variables or {})
        self.clock = self.ports.clock
        self.ids = self.ports.ids
        self.documents = self.ports.documents
        self.realtime = self.ports.realtime
        self.tokens = self.ports.verify_token
        self.system = System(self.ports, plugins)

    def instance(self) -> System:
        """Another instance of the backend, over the same ports."""
        return System(self.ports)

    @property
    def app(self) -> OpenAPI:
        """The routed application, without the edge around it."""
        return self.system.app

    def user(self, uid: str = "alice", *, role: Role = "user", **claims: Any) -> Principal:
        """A principal that has a token."""
        principal = replace(Principal(uid=uid, role=role), **claims)
        self.tokens.issue(principal)
        return principal

    def client(self, user: str | Principal | None = "alice") -> Caller:
        """A client that calls as `user`; None calls without a token."""
        if user is None:
            return Caller(self.system.edge, None)
        principal = self.user(user) if isinstance(user, str) else user
        return Caller(self.system.edge, self.tokens.issue(principal))

    def mounted(self, *blueprints: APIBlueprint, user: str | Principal | None = "alice") -> Caller:
        """A client of an application that serves these blueprints alone: for tests of one feature's routes."""
        app = create_app(blueprints, Edges(verify_token=self.tokens))
        token = None
        if user is not None:
            token = self.tokens.issue(self.user(user) if isinstance(user, str) else user)
        return Caller(Edge(app, ids=self.ids), token)


def frames(chunks: Iterable[bytes]) -> list[tuple[str, str]]:
    """Server-Sent Events as (event, data); comments are left out."""
    found = []
    for block in b"".join(chunks).decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        named = dict(line.split(": ", 1) for line in lines)
        if named:
            found.append((named["event"], named["data"]))
    return found
