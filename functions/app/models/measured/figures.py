"""How good and how fast a model is, as somebody measured it. What nobody measured is unknown and never guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from app.kit.errors import Failure
from app.models.measured.tasks import TASKS, Task

BEST_QUALITY: Final = 1000
_FASTEST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, and where it was published."""

    value: int
    source: str


@dataclass(frozen=True, slots=True)
class Figures:
    """`quality` by task, from 0 to 1,000 on a scale that all models of the catalogue share. `speed` is output tokens
    per second, None where nobody measured it.
    """

    quality: Mapping[Task, Figure] = field(default_factory=dict)
    speed: Figure | None = None


NONE: Final = Figures()


def read(where: str, rows: Sequence[object], refuse: type[Failure]) -> Figures:
    """The figures of one model: rows `{ task, quality, source }` and `{ tokens_per_second, source }`.

    Raises:
        `refuse`: a row is none of these, lacks its source, or says again what another one says.
    """
    quality: dict[Task, Figure] = {}
    speed: list[Figure] = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("source"), str) or not row["source"]:
            raise refuse(f"{where}.figures: each is a table and names its source")
        names = set(row) - {"source"}
        if names == {"task", "quality"} and row["task"] in TASKS and row["task"] not in quality:
            value = _whole(where, "quality", row["quality"], BEST_QUALITY, refuse)
            quality[cast(Task, row["task"])] = Figure(value, row["source"])
        elif names == {"tokens_per_second"} and not speed:
            value = _whole(where, "tokens_per_second", row["tokens_per_second"], _FASTEST, refuse)
            speed.append(Figure(max(1, value), row["source"]))
        else:
            tasks = ", ".join(TASKS)
            raise refuse(
                f"{where}.figures: a row has task and quality, or tokens_per_second, each once; tasks: {tasks}"
            )
    return Figures(quality, speed[0] if speed else None)


def _whole(where: str, name: str, value: object, most: int, refuse: type[Failure]) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise refuse(f"{where}.figures.{name} should be a whole number from 0 to {most}")
    return value
