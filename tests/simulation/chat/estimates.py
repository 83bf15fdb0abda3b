"""What is wrong with what was said of a message beforehand: its price by the book, its path, and the billing table.

Amounts are computed from the price book and from what the vendor's own tokenizer counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from app.kit.money import from_decimal
from simulation.audit.prices import BASIS
from simulation.outside import tokenizer
from simulation.outside.book import OPEN, Priced

_MOST_OUTPUT: Final = 16_384
_LEAST_OUTPUT: Final = 16
_MILLION: Final = 1_000_000
_ORDER: Final = ("low", "expected", "p90", "high")

Found = Iterator[str]
Answer = Mapping[str, object]


@dataclass(frozen=True)
class Message:
    """A message that somebody may send: the first one of its conversation, or one with more before it (`alone` not).

    `without`: providers and vendors of whom nobody may answer it; `bound`: micro-credits that it may cost.
    """

    content: str
    pictures: int = 0
    most_output: int | None = None
    alone: bool = True
    without: frozenset[str] = frozenset()
    bound: int | None = None


def compared(message: Message, told: Answer) -> Found:
    """What is wrong with the estimates of all models."""
    estimates = cast(Sequence[Answer], told["estimates"])
    able = {one.id for one in OPEN.values() if "vision" in one.capabilities or not message.pictures}
    if {str(one["model"]) for one in estimates} != able:
        yield f"the models that could answer {message} are {able}, told was {[one['model'] for one in estimates]}"
    for one in estimates:
        yield from estimated(message, one)


def estimated(message: Message, told: Answer) -> Found:
    """What is wrong with one estimate: its order, and that more can be charged than it says, or never so much."""
    model = OPEN.get(str(told["model"]))
    amounts = [from_decimal(str(told[name])) for name in _ORDER]
    if model is None:
        yield f"an estimate of {message} is for {told['model']}, which nobody can ask"
        return
    if amounts != sorted(amounts):
        yield f"the estimate of {message} with {model.id} is not in order: {amounts}"
    low, _, p90, high = amounts
    written = _written(model, message)
    worst = max(_exact(one, message, written) for one in (model, *model.chain(message.without)))
    if high < min(worst, worst if message.bound is None else message.bound):
        yield f"{message} with {model.id} may cost {worst}, and at most {high} was said"
    if message.alone and p90 > (most := _most(model, message)):
        yield f"{message} with {model.id} costs {most} at most, and {p90} was said for nine of ten"
    if low < message.pictures * model.image_input_tokens * model.prices["input"] // _MILLION:
        yield f"the estimate of {message} with {model.id} leaves out its pictures: {amounts}"


def routed(told: Answer) -> Found:
    """What is wrong with a path that nobody has a rule for: in doubt it is the quick one, which costs less."""
    if told["unsure"] and (told["route"], told["route_because"]) != ("quick", "unsure"):
        yield f"nobody is sure that this is {told['task']}, and it goes the path {told['route']}"


def tabled(told: Answer) -> Found:
    """What is wrong with the billing table as everybody reads it: each rule says in words what it charges by."""
    bases = cast(Mapping[str, str], told["bases"])
    for rule in cast(Sequence[Mapping[str, str]], told["rules"]):
        if bases[rule["basis"]] not in rule["words"]:
            yield f"the rule {rule} says something else in words"
        if BASIS.get(rule["reason"], rule["basis"]) != rule["basis"] and rule["mode"] != "image":
            yield f"the rule {rule} is not the one that charges"


def _written(model: Priced, message: Message) -> int:
    room = model.context_tokens - tokenizer.most([message.content]) - message.pictures * model.image_input_tokens
    most = max(_LEAST_OUTPUT, min(message.most_output or _MOST_OUTPUT, _MOST_OUTPUT))
    return max(_LEAST_OUTPUT, min(most, model.max_output_tokens, room))


def _exact(model: Priced, message: Message, written: int) -> int:
    """What it really costs when the model writes all that it may, where so much is wanted."""
    read = tokenizer.prompt([message.content]) + message.pictures * model.image_input_tokens
    return (read * model.prices["input"] + min(written, model.max_output_tokens) * model.write) // _MILLION


def _most(model: Priced, message: Message) -> int:
    read = tokenizer.most([message.content]) + message.pictures * model.image_input_tokens
    return -(-(read * model.read + _written(model, message) * model.write) // _MILLION)
