"""Leave-sources-out cross-validation, and what is set from its predictions: temperature and thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from training.examples import AGENT, CODE, LABELS, PROJECT, Example, labels, pictures, sources
from training.fitting import Features, Fitted, Parameters, balance, fit, shares
from training.vectors import Vectors

FOLDS, SHUFFLES = 5, (0, 1, 7)


@dataclass(frozen=True)
class Settings:
    """What the classifier needs beside its weights."""

    temperature: float
    agent_from: float
    sure_from: float


@dataclass(frozen=True)
class Quality:
    """Scores of one set of predictions. `error` is the expected calibration error of the task's probability."""

    macro: float
    per_task: np.ndarray
    agent_recall: float
    agent_precision: float
    error: float
    unsure: float
    right_when_sure: float


def folds(examples: Sequence[Example], shuffle: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices of known and of unseen sources: five groups of sources, or each source alone when `shuffle` is None."""
    source = sources(examples)
    if shuffle is None:
        for left_out in sorted(set(source)):
            yield np.flatnonzero(source != left_out), np.flatnonzero(source == left_out)
        return
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=shuffle)
    yield from splitter.split(np.zeros(len(examples)), labels(examples), source)


@dataclass(frozen=True)
class Seen:
    """Prompts with their features."""

    examples: Sequence[Example]
    features: Features

    def part(self, index: np.ndarray) -> "Seen":
        return Seen([self.examples[at] for at in index], self.features.at(index))

    def __add__(self, other: "Seen") -> "Seen":
        return Seen([*self.examples, *other.examples], self.features.and_those_of(other.features))


def fitted(seen: Seen, vectors: Vectors, parameters: Parameters) -> Fitted:
    return fit(seen.features, seen.examples, vectors, parameters)


def predictions(
    prompts: Seen, seeds: Seen, vectors: Vectors, parameters: Parameters, shuffle: int | None
) -> np.ndarray:
    """The scores of each prompt by a model that has seen nothing of its source."""
    found = np.zeros((len(prompts.examples), LABELS + 1))
    for known, unseen in folds(prompts.examples, shuffle):
        model = fitted(prompts.part(known) + seeds, vectors, parameters)
        found[unseen] = model.scores(prompts.features.at(unseen), vectors)
    return found


def settings(examples: Sequence[Example], found: Sequence[np.ndarray], parameters: Parameters) -> Settings:
    """Temperature: least log loss. Agent: recall of 0.82. Sure: from where on 85 % are right."""
    label, shown, weight = labels(examples), pictures(examples), balance(examples, parameters)
    plain = ~shown

    def loss(temperature: float) -> float:
        total = 0.0
        for scores in found:
            share = shares(scores[plain], shown[plain], temperature)[np.arange(plain.sum()), label[plain]]
            total -= float(np.average(np.log(share + 1e-9), weights=weight[plain]))
        return total

    temperature = min(np.arange(0.4, 2.01, 0.05), key=loss)
    all_shares = [shares(scores, shown, temperature) for scores in found]
    agent = np.concatenate([share[:, AGENT].sum(1)[np.isin(label, AGENT)] for share in all_shares])
    confidence = np.concatenate([by_task(share).max(1)[plain] for share in all_shares])
    right = np.concatenate([(by_task(share).argmax(1) == tasks(label))[plain] for share in all_shares])
    sure = next(at for at in np.arange(0.3, 0.95, 0.01) if right[confidence >= at].mean() >= 0.85)
    return Settings(round(float(temperature), 2), round(float(np.quantile(agent, 0.18)), 3), round(float(sure), 2))


def quality(examples: Sequence[Example], scores: np.ndarray, with_image: bool, chosen: Settings) -> Quality:
    """Scores of predictions when `has_image` is given, or hidden."""
    label, shown = labels(examples), pictures(examples)
    share = shares(scores, shown if with_image else None, chosen.temperature)
    return measured(label, by_task(share), share[:, AGENT].sum(1) >= chosen.agent_from, chosen.sure_from)


def measured(label: np.ndarray, by: np.ndarray, agent: np.ndarray, sure_from: float) -> Quality:
    """Scores of probabilities of tasks and of the routes chosen."""
    truth, guess, confidence = tasks(label), by.argmax(1), by.max(1)
    per_task = f1_score(truth, guess, average=None, labels=range(by.shape[1]), zero_division=0)
    agents, right, sure = np.isin(label, AGENT), guess == truth, confidence >= sure_from
    return Quality(
        macro=float(per_task.mean()),
        per_task=per_task,
        agent_recall=float(agent[agents].mean()),
        agent_precision=float(agents[agent].mean()),
        error=_calibration_error(confidence, right),
        unsure=float(1 - sure.mean()),
        right_when_sure=float(right[sure].mean()),
    )


def tasks(label: np.ndarray) -> np.ndarray:
    """The index of the task of each label."""
    return np.where(label == PROJECT, CODE, label)


def by_task(share: np.ndarray) -> np.ndarray:
    """Shares of the tasks: both kinds of code together."""
    found = share[:, :PROJECT].copy()
    found[:, CODE] += share[:, PROJECT]
    return found


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(confidence[bins == at].mean() - right[bins == at].mean()) * (bins == at).mean() for at in set(bins)]
    return float(sum(gaps))
