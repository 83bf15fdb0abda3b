"""Two instances that seal at the same time, each what was there when it looked. One of them archives the checkpoint."""

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from app.kit.errors import Failure
from simulation.instance import Backend
from simulation.world import World

_TIMES: Final = 4
_DONE_US: Final = 10_000_000


def at_once(world: World, uid: str, pays: Callable[[], None]) -> Iterator[str]:
    """What is wrong with the seals of an account that `pays` while they are made."""
    kernel = world.kernel
    for _ in range(_TIMES):
        pays()
        for name, backend in zip(("sealing", "sealing", "paying"), kernel.random.sample(world.backends, 3)):
            body = pays if name == "paying" else partial(_seal, backend)
            kernel.spawn(name, body, backend.instance)
        kernel.run(kernel.now_us + _DONE_US)
        yield from _really_sealed(world, uid)


def _really_sealed(world: World, uid: str) -> Iterator[str]:
    """What an instance takes for the last sealed entry of an account stands in the archive."""
    for backend in world.backends:
        known = backend.credits.checkpoints.evidence(uid)
        content = world.outside.archive.kept.get(f"checkpoints/{known.number:012d}.json") if known else None
        leaves = json.loads(content)["leaves"] if content is not None else []
        heads = [leaf["head_hash"] for leaf in leaves if leaf["account"] == uid]
        if known is not None and heads != [known.head_hash]:
            yield f"entry {known.sequence} of {uid} is taken for sealed by {known.number}, which seals {heads}"


def _seal(backend: Backend) -> None:
    with contextlib.suppress(Failure):
        backend.credits.checkpoints.seal()
