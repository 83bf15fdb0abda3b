"""Quantile regressions of the length of answers, and how often their interval holds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import QuantileRegressor
from sklearn.model_selection import KFold

from app.assistant.classify.classification import TASKS
from app.assistant.classify.lengths import SIGN_LIMIT, signs
from app.assistant.classify.reading import excerpt, shape
from training.examples import Example

QUANTILES = (0.1, 0.5, 0.9)
ALPHA = 0.002


def lengths(path: Path) -> dict[str, int]:
    """Tokens of the answers by the prompts' ids."""
    return {row["id"]: int(row["out_tokens_est"]) for row in map(json.loads, path.open())}


def matrix(examples: Sequence[Example], by_task: np.ndarray) -> np.ndarray:
    """The signs of each prompt, given the shares of its tasks."""
    return np.array(
        [
            signs(example.text, shape(excerpt(example.text)), dict(zip(TASKS, map(float, share))))
            for example, share in zip(examples, by_task)
        ]
    )


def fit(found: np.ndarray, tokens: np.ndarray) -> dict[str, object]:
    """The three regressions as the artefact has them."""
    mean, scale = found.mean(0), found.std(0) + 1e-6
    scaled = np.clip((found - mean) / scale, -SIGN_LIMIT, SIGN_LIMIT)
    models = [
        QuantileRegressor(quantile=q, alpha=ALPHA, solver="highs").fit(scaled, np.log1p(tokens)) for q in QUANTILES
    ]
    return {
        "mean": [float(f"{value:.6g}") for value in mean],
        "scale": [float(f"{value:.6g}") for value in scale],
        "weights": [[float(f"{value:.6g}") for value in model.coef_] for model in models],
        "bias": [float(f"{model.intercept_:.6g}") for model in models],
    }


def predict(fitted: dict[str, object], found: np.ndarray) -> np.ndarray:
    """Tokens at the three quantiles, in order."""
    scaled = np.clip((found - np.array(fitted["mean"])) / np.array(fitted["scale"]), -SIGN_LIMIT, SIGN_LIMIT)
    return np.sort(np.rint(np.expm1(scaled @ np.array(fitted["weights"]).T + np.array(fitted["bias"]))), axis=1)


def coverage(found: np.ndarray, tokens: np.ndarray) -> tuple[float, float, float]:
    """Shares of answers within P10 and P90, at most P50, at most P90."""
    return (
        float(((found[:, 0] <= tokens) & (tokens <= found[:, 2])).mean()),
        float((tokens <= found[:, 1]).mean()),
        float((tokens <= found[:, 2]).mean()),
    )


def crossed(found: np.ndarray, tokens: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Predictions by regressions that have not seen the prompt, or nothing of its source when `groups` are given."""
    predicted = np.zeros((len(tokens), len(QUANTILES)))
    if groups is None:
        parts = [unseen for _, unseen in KFold(10, shuffle=True, random_state=0).split(found)]
    else:
        parts = [np.flatnonzero(np.array(groups) == group) for group in sorted(set(groups))]
    for unseen in parts:
        known = np.setdiff1d(np.arange(len(tokens)), unseen)
        predicted[unseen] = predict(fit(found[known], tokens[known]), found[unseen])
    return predicted
