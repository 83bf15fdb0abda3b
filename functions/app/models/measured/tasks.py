"""The kinds of work that prompts ask for: the classifier tells them apart, and quality is measured for each."""

from typing import Final, Literal, get_args

Task = Literal["chat", "writing", "reasoning", "code", "data_analysis", "research", "image_generation", "vision"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
