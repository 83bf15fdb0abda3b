"""Instances that stand still at a chosen moment, and go on at another one."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from app.kit.clock import minutes, seconds
from app.kit.errors import Fault
from simulation.instance import Backend
from simulation.machine.kernel import Instance
from simulation.world import World

_STEP_US: Final = seconds(4)
"""Whoever may go on does so after this time at the latest."""
_LEASE_US: Final = minutes(2) + seconds(9)
"""By then a lease of an operation is over that is not renewed, by all clocks."""
_AGAIN_US: Final = seconds(25)


def stands_still(
    world: World,
    instance: Instance,
    until: Callable[[], bool],
    *,
    most_us: int = minutes(5),
    lease_us: int = _LEASE_US,
) -> None:
    """Lets the instance stand still until then. Once `lease_us` is over the scheduler comes to whoever is awake, so
    that somebody takes over.
    """
    kernel = world.kernel
    ends_us, swept_us = kernel.now_us + most_us, kernel.now_us + lease_us

    def again() -> None:
        nonlocal swept_us
        now_us = kernel.now_us
        if until() or now_us >= ends_us or instance.dead:
            return
        instance.frozen_us = max(instance.frozen_us, now_us + _STEP_US)
        if now_us >= swept_us:
            swept_us = now_us + _AGAIN_US
            _sweep(world)
        kernel.after(_STEP_US - seconds(1), again)

    again()


def _sweep(world: World) -> None:
    awake = [one for one in world.backends if one.instance.frozen_us <= world.kernel.now_us]
    if awake:
        backend = world.kernel.random.choice(awake)
        world.kernel.spawn("sweep", partial(_swept, backend), backend.instance)


def _swept(backend: Backend) -> None:
    with suppress(Fault):
        backend.orchestration.sweep()
