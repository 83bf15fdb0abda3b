"""Everything that this backend does not own, as one value: stores, time, ids, chance, waiting, tokens, vendors.

`app.outside` has the real ones. Tests and the simulator bring others and build the same system over them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from app.kit.clock import Clock
from app.kit.concurrency import Concurrency
from app.kit.environment import Environment
from app.kit.heartbeat import Heartbeat
from app.kit.ids import Ids
from app.kit.network.sockets import Network
from app.kit.stores.archive import Archive

if TYPE_CHECKING:
    from app.api.auth import TokenVerifier
    from app.kit.stores.documents import Documents
    from app.kit.stores.realtime import Realtime
    from app.orchestration.assembly import QueueDependencies
    from app.orchestration.queue.outbox import Alarms
    from app.orchestration.queue.retry import Draw


@dataclass(frozen=True, slots=True)
class Identity:
    """What the identity provider knows of a user; no `email` when it knows nobody of that id. `active`: there is such a
    user, who is not disabled.
    """

    uid: str
    provider: str | None = None
    provider_uid: str | None = None
    email: str | None = None
    email_verified: bool = False
    created_at_us: int = 0
    active: bool = True


Identities = Callable[[str], Identity]
"""Looks a user up by id. Raises `Unavailable` when the provider does not answer."""

Probe = Callable[[], None]
"""Returns when the dependency answers, and raises `Unavailable` with words for the public when it does not."""


class Dependency(NamedTuple):
    """A service that this backend calls. Without an essential one nothing works; without another one a part does."""

    name: str
    essential: bool
    probe: Probe


class Ports(Protocol):
    """The ports. Each is read when it is first needed, because the real ones are built then."""

    @property
    def environment(self) -> Environment:
        """The variables that settings are read from."""
        ...

    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def draw(self) -> "Draw":
        """A random whole number below the one given."""
        ...

    @property
    def concurrency(self) -> Concurrency: ...
    @property
    def heartbeat(self) -> Heartbeat: ...
    @property
    def network(self) -> Network: ...
    @property
    def documents(self) -> "Documents": ...
    @property
    def realtime(self) -> "Realtime": ...
    @property
    def alarms(self) -> "Alarms": ...
    @property
    def archive(self) -> Archive: ...
    @property
    def verify_token(self) -> "TokenVerifier": ...
    @property
    def identities(self) -> Identities: ...
    @property
    def dependencies(self) -> tuple[Dependency, ...]: ...

    def start_logging(self) -> None:
        """Sets the process's logging up, before the first line is written."""
        ...


def queue_over(ports: Ports) -> "QueueDependencies":
    """What the queue of operations stands on."""
    from app.kit.optimistic import full_jitter
    from app.orchestration.assembly import QueueDependencies

    return QueueDependencies(
        documents=ports.documents,
        realtime=ports.realtime,
        clock=ports.clock,
        ids=ports.ids,
        draw=ports.draw,
        alarms=ports.alarms,
        pause=full_jitter(ports.concurrency, ports.draw),
        heartbeat=ports.heartbeat,
        concurrency=ports.concurrency,
    )
