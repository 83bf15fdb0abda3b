"""Features, the fit of the linear model, and how it is folded into one row of bytes for each piece."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from app.chat.classify.reading import excerpt, pieces, shape
from training.examples import IMAGE, LABELS, VISION, Example, labels, pictures, sources
from training.vectors import Vectors

PIECES: Final = {
    "ASCII": 70_000, "LATIN": 13_000, "CYRILLIC": 9_000, "CJK": 12_000, "ARABIC": 4_000, "DEVANAGARI": 2_500,
    "HANGUL": 4_000, "HIRAGANA": 2_000, "KATAKANA": 2_000, "THAI": 2_000, "GREEK": 1_000, "HEBREW": 1_000,
    "BENGALI": 700, "TAMIL": 700, "TELUGU": 500, "other": 3_000,
}  # fmt: skip
"""How many pieces of each script are kept. Fewer make the file shorter, and less is seen of the script's texts."""


@dataclass(frozen=True)
class Parameters:
    """What a training run depends on, besides its data. Stands in the artefact.

    `doubt` is added to the weight by which the sum of pieces is divided, so that few pieces are weak evidence.
    `seeds_share` is the share of the seeds in a class; a source of n prompts counts as n to 1 - `source_power`.
    """

    pieces: Mapping[str, int] = field(default_factory=lambda: PIECES)
    smoothing: float = 1e-3
    begin: int = 5
    doubt: float = 3.0
    regularisation: float = 0.01
    seeds_share: float = 0.6
    source_power: float = 0.5
    clipped: float = 0.02


@dataclass(frozen=True)
class Fitted:
    """Weights over `Features.matrix` in units of the features; the last column is that of edits of pictures."""

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        return _scaled(matrix, self.mean, self.scale) @ self.weights.T + self.bias


SHAPE_LIMIT = 4.0
DIMENSIONS = 384


def features(examples: Sequence[Example], vectors: Vectors, parameters: Parameters) -> np.ndarray:
    """For each prompt the mean vector of its pieces, that of its first pieces, and its shape."""
    index = {piece: at for at, piece in enumerate(vectors.pieces)}
    found = []
    for example in examples:
        read = excerpt(example.text)
        at = pieces(read, lambda piece: index.get(piece, -1))
        means = [_mean(vectors, part, parameters.doubt) for part in (at, at[: parameters.begin])]
        found.append(np.concatenate([*means, np.array(shape(read))]))
    return np.array(found)


def _mean(vectors: Vectors, at: Sequence[int], doubt: float) -> np.ndarray:
    if not at:
        return np.zeros(DIMENSIONS)
    weights = vectors.weights[at]
    return weights @ vectors.matrix[at] / (weights.sum() + doubt)


def _scaled(matrix: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scaled = (matrix - mean) / scale
    scaled[:, 2 * DIMENSIONS :] = np.clip(scaled[:, 2 * DIMENSIONS :], -SHAPE_LIMIT, SHAPE_LIMIT)
    return scaled


def fit(matrix: np.ndarray, examples: Sequence[Example], parameters: Parameters) -> Fitted:
    """Fits tasks and edits. Classes weigh the same; within one, seeds have their share and large sources count less."""
    label, weight = labels(examples), balance(examples, parameters)
    mean = np.average(matrix, 0, weight)
    scale = np.sqrt(np.average((matrix - mean) ** 2, 0, weight)) + 1e-6
    scaled = _scaled(matrix, mean, scale)
    tasks = LogisticRegression(C=parameters.regularisation, max_iter=300)
    tasks.fit(scaled, label, sample_weight=weight)
    weights, bias = np.zeros((LABELS + 1, matrix.shape[1])), np.full(LABELS + 1, -20.0)
    weights[tasks.classes_], bias[tasks.classes_] = tasks.coef_, tasks.intercept_
    shown = pictures(examples)
    asked = LogisticRegression(C=parameters.regularisation * 3, max_iter=300, class_weight="balanced")
    asked.fit(scaled[shown], label[shown] == IMAGE)
    weights[LABELS], bias[LABELS] = asked.coef_[0], asked.intercept_[0]
    return Fitted(weights, bias, mean, scale)


def balance(examples: Sequence[Example], parameters: Parameters) -> np.ndarray:
    """The weight of each example; their mean is one."""
    label, source = labels(examples), sources(examples)
    sizes = Counter(zip(source, label))
    weight = np.array([sizes[key] ** -parameters.source_power for key in zip(source, label)])
    for value in set(label):
        for seeds, share in ((True, parameters.seeds_share), (False, 1 - parameters.seeds_share)):
            chosen = (label == value) & ((source == "seeds") == seeds)
            weight[chosen] *= share / (weight[chosen].sum() or 1)
    return weight / weight.mean()


def fold(fitted: Fitted, vectors: Vectors, clipped: float) -> tuple[list[bytes], list[list[float]], dict[str, object]]:
    """The rows of the pieces, the steps of the columns, and the weights of the shape."""
    weights = fitted.weights / fitted.scale
    bias = fitted.bias - weights[:, : 2 * DIMENSIONS] @ fitted.mean[: 2 * DIMENSIONS]
    halves, steps = [], []
    for part in (weights[:, :DIMENSIONS], weights[:, DIMENSIONS : 2 * DIMENSIONS]):
        evidence = (vectors.matrix @ part.T) * vectors.weights[:, None]
        step = np.quantile(np.abs(evidence), 1 - clipped, axis=0) / 7
        halves.append((np.clip(np.rint(evidence / step), -7, 7) + 8).astype(np.uint8))
        steps.append(_rounded(step))
    heavy = np.maximum(np.rint(vectors.weights * 255), 1).astype(np.uint8)
    rows = np.hstack([halves[0] * 16 + halves[1], heavy[:, None]])
    linear = {
        "mean": _rounded(fitted.mean[2 * DIMENSIONS :]),
        "scale": _rounded(fitted.scale[2 * DIMENSIONS :]),
        "weights": [_rounded(row) for row in fitted.weights[:, 2 * DIMENSIONS :]],
        "bias": _rounded(bias),
    }
    return [row.tobytes() for row in rows], steps, linear


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def shares(scores: np.ndarray, shown: np.ndarray | None, temperature: float) -> np.ndarray:
    """Probabilities of the labels, as `classifier.probabilities` has them; `shown` is None when nobody knows."""
    hot = scores[:, :LABELS] / temperature
    if shown is not None:
        hot = np.where(np.arange(LABELS) == VISION, -np.inf, hot)
    powers = np.exp(hot - hot.max(1, keepdims=True))
    found = powers / powers.sum(1, keepdims=True)
    if shown is not None:
        edit = 1 / (1 + np.exp(-scores[shown, LABELS]))
        found[shown] = 0
        found[shown, IMAGE], found[shown, VISION] = edit, 1 - edit
    return found
