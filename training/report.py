"""The tables of docs/classifier.md."""

import numpy as np

from app.chat.classify.classification import TASKS
from app.chat.classify.classifier import classify
from training import answer_lengths, unseen
from training.examples import IMAGE, Example, labels, pictures, sources
from training.fitting import fit, shares
from training.run import Run
from training.unseen import Quality


def report(run: Run) -> None:
    """Prints the scores on unseen sources and, by the committed model, on dev; then those of the lengths."""
    print(f"settings {run.settings}")
    for with_image in (True, False):
        print(f"\nhas_image {'given' if with_image else 'hidden'}")
        for shuffle, found in zip(unseen.SHUFFLES, run.found):
            _line(f"five groups, shuffle {shuffle}", unseen.quality(run.train, found, with_image, run.settings))
        alone = unseen.predictions(run.train, run.matrix, run.seeded, run.parameters, None)
        _line("each source alone", unseen.quality(run.train, alone, with_image, run.settings))
        _line("dev, committed model", _dev(run, with_image))
        if with_image:
            _sources(run, alone)
    _edits(run)
    _lengths(run)


def _line(name: str, found: Quality) -> None:
    per_task = " ".join(f"{task[:5]} {value:.2f}" for task, value in zip(TASKS, found.per_task))
    print(
        f"{name:24} F1 {found.macro:.3f} | agent recall {found.agent_recall:.3f} precision {found.agent_precision:.3f}"
        f" | ECE {found.error:.3f} unsure {found.unsure:.2f} right when sure {found.right_when_sure:.3f} | {per_task}"
    )


def _dev(run: Run, with_image: bool) -> Quality:
    found = [classify(example.text, example.has_image if with_image else None) for example in run.dev]
    by = np.array(
        [[{other.task: other.probability for other in one.alternatives}[task] for task in TASKS] for one in found]
    )
    agent = np.array([one.route == "agent" for one in found])
    return unseen.measured(labels(run.dev), by, agent, run.settings.sure_from)


def _sources(run: Run, alone: np.ndarray) -> None:
    """Share of right tasks of each source that was left out."""
    share = shares(alone, pictures(run.train), run.settings.temperature)
    right = unseen.by_task(share).argmax(1) == unseen.tasks(labels(run.train))
    source = sources(run.train)
    print("  " + ", ".join(f"{name} {right[source == name].mean():.2f}" for name in sorted(set(source))))


def _edits(run: Run) -> None:
    """Edits of pictures against questions about them: the seeds in ten parts, questions of unseen sources."""
    seeds = [example for example in run.seeds if example.has_image]
    matrix = run.seeded[1][[at for at, example in enumerate(run.seeds) if example.has_image]]
    shown = pictures(run.train)
    label, parts = labels(seeds), np.arange(len(seeds)) % 10
    edits = np.zeros(len(seeds))
    for part in range(10):
        kept = parts != part
        learnt = [example for example, keep in zip(seeds, kept) if keep] + _shown(run)
        fitted = fit(np.vstack([matrix[kept], run.matrix[shown]]), learnt, run.parameters)
        edits[~kept] = fitted.scores(matrix[~kept])[:, -1]
    wanted = label == IMAGE
    questions = float((run.found[0][shown, -1] < 0).mean())
    print(
        f"\nattached pictures, told apart: {(edits[wanted] > 0).mean():.2f} of {wanted.sum()} edits and"
        f" {(edits[~wanted] < 0).mean():.2f} of {(~wanted).sum()} questions of the seeds,"
        f" {questions:.2f} of the questions of unseen sources"
    )


def _shown(run: Run) -> list[Example]:
    return [example for example in run.train if example.has_image]


def _lengths(run: Run) -> None:
    signs, tokens, source = run.long
    everything = {example.id: example for example in (*run.train, *run.dev)}
    known = answer_lengths.lengths(run.data / "lengths_dev.jsonl")
    said = [classify(everything[key].text, everything[key].has_image) for key in known]
    committed = np.array([(one.output_tokens_p10, one.output_tokens_p50, one.output_tokens_p90) for one in said])
    print("\noutput tokens           within P10-P90, at most P50, at most P90")
    for name, found, truth in (
        ("ten parts of prompts", answer_lengths.crossed(signs, tokens, None), tokens),
        ("each source alone", answer_lengths.crossed(signs, tokens, source), tokens),
        ("committed model", committed, np.array(list(known.values()))),
    ):
        within, middle, most = answer_lengths.coverage(found, truth)
        print(f"{name:24}{within:14.3f} {middle:14.3f} {most:12.3f}")
