"""What whoever repeats a key after a broken connection may expect: one answer, one charge, and both in good time."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from app.kit.stores.documents import Document, int_field
from simulation.audit.records import Records
from simulation.people.returning import MARK, Key, Said
from simulation.world import World

_IN_PROGRESS: Final = "idempotency_in_progress"
_KNOWN_AFTER_S: Final = 75
"""So long after the death of an instance that told what it was doing, everybody can know of it."""

Found = Iterator[str]


def repeated(world: World, keys: Sequence[Key], records: Records) -> Found:
    """Every key of everybody who came back."""
    for key in keys:
        yield from _one_answer(key)
        turn = records.one(key.path)
        if turn is not None:
            yield from _one_price(key, turn)
            if key.marked and not turn.fields.get(MARK):
                yield f"{key.message} ({key.moment}) lost the field that an operator had added"
        yield from _in_time(world, key)


def _one_answer(key: Key) -> Found:
    """What was charged for is told again and again, and nothing else."""
    paid = {(one.text, one.cost) for one in key.said if one.state and one.cost}
    if len(paid) > 1:
        yield f"{key.message} ({key.moment}) was told {paid}"
    ends = sorted((one for one in key.said if one.state), key=lambda one: one.at_us)
    for before, after in pairwise(ends):
        if before.cost and (before.text, before.cost) != (after.text, after.cost):
            yield f"{key.message} ({key.moment}) was told {before}, and then {after}"


def _one_price(key: Key, turn: Document) -> Found:
    if turn.fields["state"] == "running":
        return  # That it is not over was found before.
    for one in key.said:
        if one.cost and one.cost != int_field(turn.fields, "cost"):
            yield f"{key.message} ({key.moment}) was told a price of {one.cost}, its turn costs {turn.fields['cost']}"


def _in_time(world: World, key: Key) -> Found:
    """Nobody waits for the dead, and once all is quiet a key is answered or says why not."""
    for one in key.said:
        if one.code == _IN_PROGRESS and one.dead_s > _KNOWN_AFTER_S:
            yield f"{key.message} ({key.moment}) was told to wait for an instance that had been dead for {one.dead_s} s"
    quiet = [one for one in key.said if one.quiet]
    if any(one.code == _IN_PROGRESS for one in quiet):
        yield f"{key.message} ({key.moment}) was still in progress when nobody answered any more"
    if quiet and all(_nothing(one) for one in quiet):
        yield f"{key.message} ({key.moment}) was never answered: {quiet}"


def _nothing(said: Said) -> bool:
    """Whether it gave neither a text nor a reason."""
    return said.state == "done" and not said.text
