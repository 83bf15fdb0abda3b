"""Classifies a prompt: from its text, and whether a picture is attached.

The model is linear. Each piece of the text adds its evidence for each class; so does the shape of the text. A picture
that is known to be attached leaves two tasks, to look at it or to change it; one that is known to be missing leaves all
but looking at it.
"""

import math
from collections.abc import Sequence

from app.assistant.classify.artefact import EVIDENCE, Artefact, Linear, load
from app.assistant.classify.classification import TASKS, Alternative, Classification, Complexity, Task
from app.assistant.classify.lengths import output_tokens
from app.assistant.classify.reading import excerpt, pieces, shape

_CODE, _DATA, _RESEARCH, _IMAGE, _VISION = (TASKS.index(task) for task in TASKS[3:])
_PROJECT, _EDIT = len(TASKS), len(TASKS) + 1
"""Columns beside the tasks: code for the agent route, and the wish to change the attached picture."""
_NOTHING = [1.0] + [0.0] * len(TASKS) + [-1.0]
"""The evidence of an empty text: chat rather than anything else, a question about the picture rather than an edit."""
_LIMIT = 4.0
_HIGH = bytes(EVIDENCE[byte >> 4] for byte in range(256))
_LOW = bytes(EVIDENCE[byte & 15] for byte in range(256))


def classify(text: str, has_image: bool | None = None) -> Classification:
    """What `text` asks for. `has_image` is None when nobody knows whether a picture is attached."""
    model = load()
    read = excerpt(text)
    form = shape(read)
    evidence = scores(model, pieces(read, model.find), form) if read else _NOTHING
    shares = probabilities(model, evidence, has_image)
    tasks = dict(zip(TASKS, shares[: len(TASKS)]))
    tasks["code"] += shares[_PROJECT]
    ranked = sorted(tasks, key=tasks.__getitem__, reverse=True)
    agent = shares[_PROJECT] + shares[_DATA] + shares[_RESEARCH]
    low, middle, high = output_tokens(model.lengths, text, form, tasks)
    best = ranked[0]
    return Classification(
        task=best,
        route="agent" if agent >= model.agent_from else "quick",
        confidence=round(tasks[best], 4),
        agent_probability=round(agent, 4),
        unsure=not read or tasks[best] < model.sure_from,
        complexity=_complexity(agent >= model.agent_from, best, middle),
        output_tokens_p10=low,
        output_tokens_p50=middle,
        output_tokens_p90=high,
        alternatives=tuple(Alternative(task, round(tasks[task], 4)) for task in ranked),
    )


def lengths_of(task: Task, text: str) -> tuple[int, int, int]:
    """Tokens of an answer to `text` (P10, P50, P90) by somebody who knows the task."""
    model = load()
    return output_tokens(model.lengths, text, shape(excerpt(text)), {one: float(one == task) for one in TASKS})


def scores(model: Artefact, found: Sequence[int], form: Sequence[float]) -> list[float]:
    """The evidence for each column: of the shape, and the weighted means over all pieces and over the first ones."""
    columns, width = model.columns, model.columns + 1
    rows = [model.rows[piece * width : (piece + 1) * width] for piece in found]
    total = from_shape(model.shape, form)
    for part, halves, steps in zip((rows, rows[: model.begin]), (_HIGH, _LOW), model.steps):
        joined = b"".join(part)
        weight = sum(joined[columns::width]) / 255 + model.doubt
        for index in range(columns if part else 0):
            column = sum(joined[index::width].translate(halves)) - 128 * len(part)
            total[index] += column * steps[index] / weight
    return total


def from_shape(linear: Linear, form: Sequence[float]) -> list[float]:
    """What the shape of a text says for each column."""
    scaled = [
        max(-_LIMIT, min(_LIMIT, (value - mean) / scale)) for value, mean, scale in zip(form, linear.mean, linear.scale)
    ]
    return [bias + sum(map(float.__mul__, weights, scaled)) for bias, weights in zip(linear.bias, linear.weights)]


def probabilities(model: Artefact, evidence: Sequence[float], has_image: bool | None) -> list[float]:
    """The calibrated share of each task and, last, of code for the agent route. They sum to one."""
    if has_image:
        edit = 1 / (1 + math.exp(max(-50.0, min(50.0, -evidence[_EDIT]))))
        shares = [0.0] * _EDIT
        shares[_IMAGE], shares[_VISION] = edit, 1 - edit
        return shares
    hot = [score / model.temperature for score in evidence[:_EDIT]]
    if has_image is False:
        hot[_VISION] = -math.inf
    most = max(hot)
    powers = [math.exp(score - most) for score in hot]
    return [power / sum(powers) for power in powers]


def _complexity(agent: bool, task: Task, tokens: int) -> Complexity:
    """Agent work is high; long answers, reasoning and code are medium; the rest is low."""
    if agent:
        return "high"
    return "medium" if tokens > 400 or task in {"reasoning", "code"} else "low"
