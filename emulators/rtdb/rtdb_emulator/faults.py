"""Faults that tests order for trigger deliveries: duplicate, delay, drop, reorder. Pure; one seed, one sequence."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from rtdb_emulator.errors import InvalidData
from rtdb_emulator.json_text import Json


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Probabilities per event, from 0 to 1, and the longest delay in milliseconds.

    `reorder` sends an event without waiting for the one before it at the same location, after a random delay.
    `only` limits the faults to triggers whose name contains it.
    """

    seed: int = 0
    duplicate: float = 0.0
    copies: int = 2
    delay: float = 0.0
    delay_ms: int = 200
    drop: float = 0.0
    reorder: float = 0.0
    only: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one event."""

    copies: int = 1
    delay_ms: int = 0
    out_of_order: bool = False


AS_USUAL: Final = Fate()


class Faults:
    """Decides each event's fate, in the order in which events occur."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._random = random.Random(plan.seed)

    def fate(self, trigger_name: str) -> Fate:
        """The fate of the next event."""
        plan = self.plan
        # Always the same number of draws per event, so that one probability does not shift the others.
        dropped, doubled, delayed, reordered, length = (self._random.random() for _ in range(5))
        if plan.only not in trigger_name:
            return AS_USUAL
        if dropped < plan.drop:
            return Fate(copies=0)
        waits = delayed < plan.delay or reordered < plan.reorder
        return Fate(
            copies=plan.copies if doubled < plan.duplicate else 1,
            delay_ms=round(length * plan.delay_ms) if waits else 0,
            out_of_order=reordered < plan.reorder,
        )


def read_plan(data: Json) -> FaultPlan:
    """The plan that a control request describes. Raises InvalidData."""
    known = {field.name: type(field.default) for field in fields(FaultPlan)}
    if not isinstance(data, dict):
        raise InvalidData("a fault plan must be an object")
    unknown: Sequence[str] = sorted(data.keys() - known.keys())
    if unknown:
        raise InvalidData(f"unknown members {', '.join(unknown)}; known are {', '.join(known)}")
    plan: dict[str, object] = {}
    for name, value in data.items():
        kind = (int, float) if known[name] is float else known[name]
        if isinstance(value, bool) or not isinstance(value, kind) or (isinstance(value, int | float) and value < 0):
            raise InvalidData(f"{name} must be a non-negative {known[name].__name__}")
        plan[name] = value
    return FaultPlan(**plan)  # type: ignore[arg-type]  # each value was checked against its field above
