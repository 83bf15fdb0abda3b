"""What the classifier says of one prompt: values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.models.measured.tasks import TASKS as TASKS
from app.models.measured.tasks import Task as Task

Route = Literal["quick", "agent"]
Complexity = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Alternative:
    """A task with its calibrated probability."""

    task: Task
    probability: float


@dataclass(frozen=True)
class Classification:
    """Task, route and size of the answer that a prompt asks for.

    `confidence` is the calibrated probability of `task`; `agent_probability` that of the agent route. `unsure` is true
    when the confidence is so low that the task should be asked for. Nine of ten answers are at most
    `output_tokens_p90` long, one of ten at most `output_tokens_p10`. Tokens are those of the text, not of a picture.
    """

    task: Task
    route: Route
    confidence: float
    agent_probability: float
    unsure: bool
    complexity: Complexity
    output_tokens_p10: int
    output_tokens_p50: int
    output_tokens_p90: int
    alternatives: Sequence[Alternative]

    def duration_ms(self, *, tokens_per_second: float, first_token_ms: int = 0) -> tuple[int, int]:
        """Milliseconds (P50, P90) that an answer of this length takes with a model of this speed.

        The length is a property of the prompt, the speed one of the model: the caller brings what it has measured.
        """
        each = 1000 / tokens_per_second
        return (
            first_token_ms + round(self.output_tokens_p50 * each),
            first_token_ms + round(self.output_tokens_p90 * each),
        )
