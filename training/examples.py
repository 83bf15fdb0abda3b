"""The prompts that are learnt from: the sources of the data folder, and the seeds written by hand beside this file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.assistant.classify.classification import TASKS

CODE, IMAGE, VISION = TASKS.index("code"), TASKS.index("image_generation"), TASKS.index("vision")
PROJECT = len(TASKS)
"""The label of code for the agent route, beside those of the tasks."""
LABELS = PROJECT + 1
AGENT = (TASKS.index("data_analysis"), TASKS.index("research"), PROJECT)
SEEDS = Path(__file__).with_name("seeds.txt")


@dataclass(frozen=True)
class Example:
    """A labelled prompt."""

    id: str
    text: str
    label: int
    has_image: bool
    source: str


def rows(path: Path) -> list[Example]:
    """The prompts of train.jsonl or dev.jsonl."""
    read = [json.loads(line) for line in path.open()]
    return [Example(r["id"], r["text"], _label(r["task"], r["route"]), r["has_image"], r["source"]) for r in read]


def seeds() -> list[Example]:
    """The prompts of seeds.txt, all of the source "seeds"."""
    return list(_seeds(SEEDS.read_text().splitlines()))


def _seeds(lines: Sequence[str]) -> Iterator[Example]:
    section: list[str] = []
    for number, line in enumerate(lines):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].split()
        elif line and section:
            text = line.replace("\\n", "\n")
            yield Example(f"seed{number}", text, _label(section[0], section[1]), "image" in section[2:], "seeds")


def _label(task: str, route: str) -> int:
    return PROJECT if (task, route) == ("code", "agent") else [*TASKS].index(task)


def labels(examples: Sequence[Example]) -> np.ndarray:
    return np.array([example.label for example in examples])


def pictures(examples: Sequence[Example]) -> np.ndarray:
    return np.array([example.has_image for example in examples])


def sources(examples: Sequence[Example]) -> np.ndarray:
    return np.array([example.source for example in examples])
