"""Instances are whole systems that share nothing but what their ports lead to."""

from collections.abc import Callable, Sequence

from app.api.auth import Principal
from app.kit.errors import Unavailable
from app.kit.stores.documents import Write
from simulation.edge import HttpRequest, serve
from simulation.instance import Backend
from simulation.machine.kernel import CALM
from simulation.world import World


def run(world: World, body: Callable[[], None]) -> None:
    """As a process, for a minute of virtual time."""
    world.kernel.spawn("test", body)
    world.kernel.run(world.kernel.now_us + 60_000_000)
    assert world.bugs == []


def whole(backend: Backend) -> None:
    """Builds everything that a system has."""
    system = backend.system
    built = (system.orchestration, system.chat.service, system.models.gateway, system.bonus.welcome, system.edge)
    assert all(built)
    assert system.credits.mirror
    assert system.callables


def test_building_a_system_waits_for_nothing() -> None:
    """`once` is guarded by a lock of the one thread: whoever came in between would build a second service."""
    world = World(0, CALM)
    run(world, lambda: whole(world.backends[0]))
    assert world.kernel.steps == 0


def test_one_routed_application_serves_each_request_with_its_own_instance() -> None:
    world = World(0, CALM)
    token = world.outside.tokens.issue(Principal("alice"))
    statuses: list[int] = []

    def ask(backend: Backend) -> None:
        answer = serve(backend.system, HttpRequest("GET", "/v1/credits/balance", token))
        statuses.append(answer.status)
        answer.whole()

    first, second, third = world.backends
    run(world, lambda: ask(first))
    run(world, lambda: ask(second))
    assert statuses == [200, 200]
    assert first.system.app is second.system.app
    assert first.credits is not second.credits
    assert third.credits is not first.credits


def test_a_payment_that_no_instance_could_store_is_told_again() -> None:
    world = World(0, CALM)
    world.documents.tries.append(_refuse)
    run(world, lambda: world.rail.pay(world.rail.open("key", "saga_of_nobody", 5)))
    [invoice] = world.rail.invoices.values()
    assert not invoice.told


def _refuse(_: Sequence[Write]) -> None:
    raise Unavailable("the store is away")
