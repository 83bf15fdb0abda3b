"""The credit system's group commit over greenlets: its code makes threads wait for each other, so it is run a second
time, as a module of the simulation's own, over events and locks that the scheduler knows. The real one is left alone.
"""

import sys
from types import ModuleType
from typing import cast

from app.credits.ledger import group_commit
from simulation.kernel import SimThreading


def _again() -> ModuleType:
    module = ModuleType("simulation.stepped_lanes")
    loader = group_commit.__spec__.loader if group_commit.__spec__ else None
    code = loader.get_code(group_commit.__name__) if loader else None  # type: ignore[attr-defined]  # every source loader has it
    assert code is not None
    threading = sys.modules["threading"]
    sys.modules[module.__name__] = module
    sys.modules["threading"] = cast(ModuleType, SimThreading)
    try:
        exec(code, module.__dict__)
    finally:
        sys.modules["threading"] = threading
    return module


GroupCommit = cast(type[group_commit.GroupCommit], _again().GroupCommit)
