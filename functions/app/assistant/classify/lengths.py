"""How many tokens an answer has: P10, P50 and P90, from the likely task and what the prompt says about length."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from app.assistant.classify.artefact import Linear
from app.assistant.classify.classification import TASKS, Task

_HEAD: Final = 4000
_MOST: Final = 32_000
_ASKED: Final = re.compile(
    r"(\d{1,3}(?:[.,]\d{3})+|\d+)[\s-]*(?:words?\b|palabras|mots\b|w[oö]rter|palavras|parole|woorden|слов|字|文字|자|kelime|từ\b|kata\b)",
    re.IGNORECASE,
)
SIGN_LIMIT: Final = 3.0


def signs(text: str, form: Sequence[float], tasks: Mapping[Task, float]) -> list[float]:
    """What the length of an answer is read from."""
    asked = [int(re.sub(r"\D", "", number)) for number in _ASKED.findall(text[:_HEAD])]
    wanted = [min(number, _MOST) for number in asked if number >= 20]
    wide = sum(1 for character in text[:_HEAD] if ord(character) > 0x2E7F)
    return [
        *(math.sqrt(tasks[task]) for task in TASKS),
        form[0],  # length
        form[2],  # lines
        math.log1p(max(wanted, default=0)),
        float(bool(wanted)),
        wide / (len(text[:_HEAD]) or 1),
    ]


def output_tokens(model: Linear, text: str, form: Sequence[float], tasks: Mapping[Task, float]) -> tuple[int, int, int]:
    """Tokens of the answer: P10, P50, P90, in order and at least one."""
    scaled = [
        max(-SIGN_LIMIT, min(SIGN_LIMIT, (value - mean) / scale))
        for value, mean, scale in zip(signs(text, form, tasks), model.mean, model.scale)
    ]
    logs = [bias + sum(map(float.__mul__, weights, scaled)) for bias, weights in zip(model.bias, model.weights)]
    low, middle, high = sorted(max(1, min(_MOST, round(math.expm1(min(log, 12.0))))) for log in logs)
    return low, middle, high
