"""What is wrong with the choice of a model: by the figures and prices of the book, and by what its user wants."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from app.kit.stores.documents import Document, Fields
from simulation.outside.book import BOOK, OPEN, Priced

_NEARLY: Final = 50
"""So much of a thousand may the quality of a cheaper model be below the best, where both count."""

Found = Iterator[str]


@dataclass(frozen=True)
class Wishes:
    """What somebody wants of models that are chosen for them."""

    optimize: str = "cost"
    bound: int | None = None
    without: frozenset[str] = frozenset()


def chosen(turn: Document, wishes: Wishes) -> Found:
    """What is wrong with the choice that a turn tells."""
    choice = cast(Fields, turn.fields.get("choice") or {})
    others = cast("list[Mapping[str, object]]", choice.get("alternatives") or [])
    model = OPEN.get(str(turn.fields["model"]))
    if model is None or choice.get("model") != model.id:
        yield f"{turn.id} asks {turn.fields['model']}, chosen was {choice.get('model')}"
        return
    if model.of(wishes.without):
        yield f"{turn.id} is for {model.id}, which was left out: {wishes}"
    named = {str(one["model"]) for one in others}
    if named != OPEN.keys() - {model.id}:
        yield f"{turn.id} names {sorted(named)} beside {model.id}"
    free = [BOOK[str(one["model"])] for one in others if _is_free(one, wishes)]
    for one in free:
        if one.of(wishes.without):
            yield f"{turn.id} was free to be answered by {one.id}, which was left out: {wishes}"
    yield from _worse(turn.id, model, free, wishes, str(choice.get("task")))


def _is_free(other: Mapping[str, object], wishes: Wishes) -> bool:
    """Whether it could have been chosen, also by its price."""
    fits = wishes.bound is None or int(str(other["p90"])) < wishes.bound
    return other["why_not"] is None and fits and str(other["model"]) in BOOK


def _worse(turn: str, model: Priced, free: list[Priced], wishes: Wishes, task: str) -> Found:
    match wishes.optimize:
        case "cost":
            worse = [one for one in free if _cheaper(one, model)]
        case "quality":
            worse = _below(model, free, lambda one: _figure(one, "quality", task), 0)
        case "balanced":
            worse = _below(model, free, lambda one: _figure(one, "quality", task), _NEARLY)
        case _:
            worse = _below(model, free, lambda one: _figure(one, "tokens_per_second", None), 0)
    if worse:
        yield f"{turn} is for {model.id}, and by {wishes.optimize} {[one.id for one in worse]} should answer {task}"


def _below(model: Priced, free: list[Priced], figure: Callable[[Priced], int | None], nearly: int) -> list[Priced]:
    """The free models that are better than this one; where nothing is known of it, all of which something is."""
    known = [(value, one) for one in free if (value := figure(one)) is not None]
    mine = figure(model)
    return [one for value, one in known if mine is None or value > mine + nearly]


def _cheaper(one: Priced, model: Priced) -> bool:
    return all(one.prices[bucket] < model.prices[bucket] for bucket in ("input", "output"))


def _figure(model: Priced, name: str, task: str | None) -> int | None:
    """What somebody measured, None where nobody did."""
    return next((int(str(row[name])) for row in model.figures if name in row and row.get("task") == task), None)
