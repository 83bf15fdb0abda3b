"""The tables of docs/classifier.md."""

import numpy as np

from app.assistant.classify.classification import TASKS
from app.assistant.classify.classifier import classify
from training import answer_lengths, unseen
from training.examples import IMAGE, labels, pictures, sources
from training.fitting import shares
from training.run import Run
from training.unseen import Quality


def report(run: Run) -> None:
    """Prints the scores on unseen sources and, by the committed model, on dev; then those of the lengths."""
    print(f"settings {run.settings}")
    alone = run.left_out(run.train, None)
    for with_image in (True, False):
        print(f"\nhas_image {'given' if with_image else 'hidden'}")
        for shuffle, found in zip(unseen.SHUFFLES, run.found):
            _line(
                f"five groups, shuffle {shuffle}", unseen.quality(run.train.examples, found, with_image, run.settings)
            )
        _line("each source alone", unseen.quality(run.train.examples, alone, with_image, run.settings))
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
    found = [classify(example.text, example.has_image if with_image else None) for example in run.dev.examples]
    by = np.array(
        [[{other.task: other.probability for other in one.alternatives}[task] for task in TASKS] for one in found]
    )
    agent = np.array([one.route == "agent" for one in found])
    return unseen.measured(labels(run.dev.examples), by, agent, run.settings.sure_from)


def _sources(run: Run, alone: np.ndarray) -> None:
    """Share of right tasks of each source that was left out."""
    share = shares(alone, pictures(run.train.examples), run.settings.temperature)
    right = unseen.by_task(share).argmax(1) == unseen.tasks(labels(run.train.examples))
    source = sources(run.train.examples)
    print("  " + ", ".join(f"{name} {right[source == name].mean():.2f}" for name in sorted(set(source))))


def _edits(run: Run) -> None:
    """Edits of pictures against questions about them: the seeds in ten parts, questions of unseen sources."""
    shown = pictures(run.train.examples)
    seeds, asked = run.seeds.part(np.flatnonzero(pictures(run.seeds.examples))), run.train.part(np.flatnonzero(shown))
    label, parts = labels(seeds.examples), np.arange(len(seeds.examples)) % 10
    edits = np.zeros(len(parts))
    for part in range(10):
        left_out = seeds.part(np.flatnonzero(parts == part))
        model = unseen.fitted(seeds.part(np.flatnonzero(parts != part)) + asked, run.vectors, run.parameters)
        edits[parts == part] = model.scores(left_out.features, run.vectors)[:, -1]
    wanted = label == IMAGE
    questions = float((run.found[0][shown, -1] < 0).mean())
    print(
        f"\nattached pictures, told apart: {(edits[wanted] > 0).mean():.2f} of {wanted.sum()} edits and"
        f" {(edits[~wanted] < 0).mean():.2f} of {(~wanted).sum()} questions of the seeds,"
        f" {questions:.2f} of the questions of unseen sources"
    )


def _lengths(run: Run) -> None:
    signs, tokens, source = run.long
    everything = {example.id: example for example in (run.train + run.dev).examples}
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
