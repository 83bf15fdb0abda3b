"""Features, the fit of the linear model, and how it is folded into one row of bytes for each piece."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.sparse import csr_array, hstack, vstack
from sklearn.linear_model import LogisticRegression

from app.assistant.classify.artefact import EVIDENCE
from app.assistant.classify.reading import excerpt, pieces, shape
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
    Pieces of at least `own_from` sources have weights of their own beside those of their vectors.
    """

    pieces: Mapping[str, int] = field(default_factory=lambda: PIECES)
    smoothing: float = 1e-3
    begin: int = 5
    doubt: float = 3.0
    regularisation: float = 0.008
    seeds_share: float = 0.6
    source_power: float = 0.5
    own_from: int = 5
    own_factor: float = 80.0
    clipped: float = 0.0002


@dataclass(frozen=True)
class Features:
    """What is seen of prompts: for each the shares of its pieces, in the whole and in the beginning, and its shape."""

    whole: csr_array
    begin: csr_array
    shape: np.ndarray

    def at(self, index: np.ndarray) -> "Features":
        return Features(self.whole[index], self.begin[index], self.shape[index])

    def and_those_of(self, other: "Features") -> "Features":
        return Features(
            vstack([self.whole, other.whole], format="csr"),
            vstack([self.begin, other.begin], format="csr"),
            np.vstack([self.shape, other.shape]),
        )


@dataclass(frozen=True)
class Fitted:
    """Weights of all labels and, last, of edits of pictures: over mean vectors and shape, and of the pieces' own."""

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    own: np.ndarray
    own_weights: np.ndarray

    def scores(self, seen: Features, vectors: Vectors) -> np.ndarray:
        inputs = hstack([_scaled(_dense(seen, vectors), self.mean, self.scale), _own(seen, self.own)])
        return inputs @ np.hstack([self.weights, self.own_weights]).T + self.bias


SHAPE_LIMIT = 4.0
LEVELS = np.array([level - 128 for level in EVIDENCE[8:]])
MIDDLES = (LEVELS[1:] + LEVELS[:-1]) / 2
QUESTIONS_TO_EDITS = 0.7
"""Logarithm of how many questions about an attached picture there are for each edit: two. No data says how many."""
DIMENSIONS = 384


def features(examples: Sequence[Example], vectors: Vectors, parameters: Parameters) -> Features:
    """Reads prompts. The shares of a prompt's pieces sum to less than one, the less the fewer pieces there are."""
    index = {piece: at for at, piece in enumerate(vectors.pieces)}
    read = [excerpt(example.text) for example in examples]
    found = [pieces(text, lambda piece: index.get(piece, -1)) for text in read]
    return Features(
        whole=_shares(found, vectors.weights, parameters.doubt),
        begin=_shares([at[: parameters.begin] for at in found], vectors.weights, parameters.doubt),
        shape=np.array([shape(text) for text in read]),
    )


def _shares(found: Sequence[Sequence[int]], weights: np.ndarray, doubt: float) -> csr_array:
    row = np.repeat(np.arange(len(found)), [len(at) for at in found])
    column = np.array([piece for at in found for piece in at], dtype=int)
    totals = np.array([weights[list(at)].sum() + doubt for at in found])
    return csr_array((weights[column] / totals[row], (row, column)), shape=(len(found), len(weights)))


def _dense(seen: Features, vectors: Vectors) -> np.ndarray:
    return np.hstack([seen.whole @ vectors.matrix, seen.begin @ vectors.matrix, seen.shape])


def _scaled(matrix: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scaled = (matrix - mean) / scale
    scaled[:, 2 * DIMENSIONS :] = np.clip(scaled[:, 2 * DIMENSIONS :], -SHAPE_LIMIT, SHAPE_LIMIT)
    return scaled


def _own(seen: Features, own: np.ndarray) -> csr_array:
    return hstack([seen.whole[:, own], seen.begin[:, own]], format="csr")


def fit(seen: Features, examples: Sequence[Example], vectors: Vectors, parameters: Parameters) -> Fitted:
    """Fits tasks and edits. Classes weigh the same; within one, seeds have their share and large sources count less."""
    label, weight, matrix = labels(examples), balance(examples, parameters), _dense(seen, vectors)
    mean = np.average(matrix, 0, weight)
    scale = np.sqrt(np.average((matrix - mean) ** 2, 0, weight)) + 1e-6
    own = _shared_pieces(seen, sources(examples), parameters.own_from)
    factor = parameters.own_factor
    inputs = hstack([csr_array(_scaled(matrix, mean, scale)), _own(seen, own) * factor], format="csr")
    weights, bias = np.zeros((LABELS + 1, inputs.shape[1])), np.full(LABELS + 1, -20.0)
    tasks = LogisticRegression(C=parameters.regularisation, max_iter=200)
    tasks.fit(inputs, label, sample_weight=weight)
    weights[tasks.classes_], bias[tasks.classes_] = tasks.coef_, tasks.intercept_
    shown = pictures(examples)
    asked = LogisticRegression(C=parameters.regularisation, max_iter=200, class_weight="balanced")
    asked.fit(inputs[shown], label[shown] == IMAGE)
    weights[LABELS], bias[LABELS] = asked.coef_[0], asked.intercept_[0] - QUESTIONS_TO_EDITS
    dense = matrix.shape[1]
    return Fitted(weights[:, :dense], bias, mean, scale, own, weights[:, dense:] * factor)


def _shared_pieces(seen: Features, source: np.ndarray, least: int) -> np.ndarray:
    """The pieces that stand in at least so many sources: what a piece says by itself is not learnt from fewer."""
    counts = np.zeros(seen.whole.shape[1], dtype=int)
    for name in set(source):
        counts += (seen.whole[source == name] != 0).sum(0) > 0
    return np.flatnonzero(counts >= least)


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
    parts = weights[:, :DIMENSIONS], weights[:, DIMENSIONS : 2 * DIMENSIONS]
    for part, own in zip(parts, np.hsplit(fitted.own_weights, 2)):
        evidence = vectors.matrix @ part.T
        evidence[fitted.own] += own.T
        evidence *= vectors.weights[:, None]
        step = np.quantile(np.abs(evidence), 1 - clipped, axis=0) / LEVELS[-1]
        level = np.searchsorted(MIDDLES, np.minimum(np.abs(evidence) / step, LEVELS[-1]))
        halves.append((np.sign(evidence) * level + 8).astype(np.uint8))
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
