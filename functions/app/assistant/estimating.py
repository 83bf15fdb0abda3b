"""What a message would cost with each model, before it is sent. Pure but for the model of the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.assistant.classify.classification import Task
from app.assistant.classify.classifier import classify, lengths_of
from app.kit.errors import Rejection
from app.metering.estimate import Estimate, Lengths, Prompt, estimate
from app.metering.quote import MOST_OUTPUT, check_fits, counted_demand, demand, quote
from app.models.catalogue import Capability, Model, UnsuitableModel
from app.models.pricing import Demand, PriceBook


@dataclass(frozen=True, slots=True)
class Planned:
    """A message that somebody may send: its `content`, or how many tokens it has. `task` None: the classifier says."""

    content: str | None = None
    input_tokens: int = 0
    task: Task | None = None
    image: bool = False
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model that cannot answer, and the code of the refusal that a message to it would get."""

    model: Model
    code: str


@dataclass(frozen=True, slots=True)
class Estimated:
    """Estimates in the order of the catalogue."""

    task: Task
    estimates: Sequence[Estimate]
    left_out: Sequence[LeftOut]


def estimate_cost(book: PriceBook, planned: Planned, model_id: str | None) -> Estimated:
    """What the message would cost as the first of a new conversation: with one model, or with each of the catalogue.

    Raises:
        UnknownModel, UnsuitableModel, PromptTooLong: the model that is named cannot answer it.
    """
    task, lengths = _read(planned)
    if model_id is not None:
        return Estimated(task, [_estimate(book, book.catalogue.get(model_id), planned, lengths)], [])
    estimates: list[Estimate] = []
    left_out: list[LeftOut] = []
    for model in book.catalogue:
        try:
            estimates.append(_estimate(book, book.catalogue.get(model.id), planned, lengths))
        except Rejection as refusal:
            left_out.append(LeftOut(model, refusal.code))
    return Estimated(task, estimates, left_out)


def _read(planned: Planned) -> tuple[Task, Lengths]:
    text = planned.content or ""
    if planned.task is not None:
        return planned.task, Lengths(*lengths_of(planned.task, text))
    found = classify(text, planned.image)
    return found.task, Lengths(found.output_tokens_p10, found.output_tokens_p50, found.output_tokens_p90)


def _estimate(book: PriceBook, model: Model, planned: Planned, lengths: Lengths) -> Estimate:
    check_answers(model, image=planned.image)
    wanted, prompt = _demand(model, planned)
    return estimate(book, quote(book, model, wanted), prompt, lengths)


def _demand(model: Model, planned: Planned) -> tuple[Demand, Prompt]:
    images, most = int(planned.image), planned.max_output_tokens or MOST_OUTPUT
    if planned.content is None:
        check_fits(model, planned.input_tokens, images)
        prompt = Prompt(planned.input_tokens, planned.input_tokens)
        return counted_demand(model, planned.input_tokens, images, most_output=most), prompt
    written = [planned.content]
    prompt = Prompt.of(written)
    check_fits(model, prompt.p50, images)
    return demand(model, written, images, most_output=most), prompt


def check_answers(model: Model, *, image: bool) -> None:
    """Raises `UnsuitableModel` for a model that answers no text, or sees no picture where one is attached."""
    needed: tuple[Capability, ...] = ("text", "vision") if image else ("text",)
    if not model.can(*needed):
        raise UnsuitableModel("This model cannot answer such a message.", model=model.id, needed=[*needed])
