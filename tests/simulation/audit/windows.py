"""What must be true of the window of a conversation at each of its moves, and of what a vendor is sent of it.

A window holds what was said, newest first, each turn once and in order: at most 24 turns of 96 KiB together. A turn of
more than an eighth of that is shortened in its middle rather than that it pushes out others; ordinary ones stay whole,
and the oldest go first. A blank turn is never told, because vendors refuse a request in which a message is blank.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from app.chat.conversation import OPEN, SHORTENED
from app.kit.clock import from_rfc3339
from app.kit.stores.documents import Fields, as_map, list_field, text_field
from simulation.outside.model_vendor import VendorAnswer
from simulation.world import World
from support.memory import Change

_MOST_TURNS: Final = 24
_MOST_BYTES: Final = 96 * 1024
_LONG: Final = _MOST_BYTES // 8
"""Bytes above which a turn may be shortened."""
_ROOM: Final = _MOST_BYTES // 4
"""While so much room is left, a long turn is shortened and not left out."""
_BEFORE_US: Final = 30_000_000
"""A window is read so long before its turn is recorded at most, with slow stores and wrong clocks."""

Said = tuple[str, str]
"""A question and its answer."""
Found = Iterator[str]


class Windows:
    """Watches every conversation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[str, list[tuple[int, list[Said]]]] = {}
        """By path, each window that a conversation has had and since when."""
        self._begun: dict[str, tuple[str, int]] = {}
        """By question, the path of its conversation and when its turn was recorded."""
        self.found: list[str] = []
        world.documents.watchers.append(self._committed)
        world.outside.models.watchers.append(self._asked)

    def _committed(self, changes: list[Change]) -> None:
        answered: dict[str, list[Said]] = {}
        for path, before, after in changes:
            conversation, below, _ = path.partition("/messages/")
            if not below or after is None:
                continue
            if after["state"] == "running":
                began_us = from_rfc3339(text_field(after, "created_at"))
                self._begun[text_field(after, "question")] = conversation, began_us
            elif after["state"] == "done" and before is not None and before["state"] != "done":
                exchange = text_field(after, "question"), text_field(after, "answer")
                if _tellable(exchange):
                    answered.setdefault(conversation, []).append(exchange)
        for path, before, after in changes:
            if "/conversations/" in path and path.count("/") == 3 and after is not None and after["state"] == OPEN:
                self._moved(path, before, after, answered.pop(path, []))
        for path, said in answered.items():
            stored = self._world.documents.real.get(path)
            if stored is not None and stored.fields["state"] == OPEN:
                self.found.append(f"{path} was not told that {said} was answered")

    def _moved(self, path: str, before: Fields | None, after: Fields, answered: list[Said]) -> None:
        was, now = [] if before is None else _window(before), _window(after)
        self._held.setdefault(path, []).append((self._world.kernel.now_us, now))
        blank = [one for one in now if not _tellable(one)]
        for why in _judged(now, [*filter(_tellable, was), *answered]):
            self.found.append(f"the window of {path} {why}")
        if blank and answered:
            self.found.append(f"the window of {path} holds a blank turn: {blank}")

    def _asked(self, asked: VendorAnswer) -> None:
        """The vendor is sent a window that the conversation had when its turn began, and nothing that is blank."""
        if asked.question not in self._begun:
            return
        path, began_us = self._begun[asked.question]
        told = [*zip(asked.prompt[0:-1:2], asked.prompt[1:-1:2])]
        if not all(map(_tellable, told)):
            self.found.append(f"{asked.model} was sent a blank message of {path}: {told}")
            return
        held = self._held.get(path, [])
        ends = [*(at_us for at_us, _ in held[1:]), self._world.kernel.now_us + 1]
        read = [window for (_, window), end_us in zip(held, ends) if end_us > began_us - _BEFORE_US]
        if held and told not in [[*filter(_tellable, window)] for window in read]:
            self.found.append(f"{asked.model} was sent {_brief(told)} of {path}, which held {[*map(_brief, read)]}")


def _judged(now: list[Said], said: list[Said]) -> Found:
    """Why a window does not tell what was said, if it does not."""
    size = sum(map(_size, now))
    if len(now) > _MOST_TURNS or size > _MOST_BYTES:
        yield f"holds {len(now)} turns of {size} bytes"
    places, start = list[int](), 0
    for one in now:
        place = next((at for at in range(start, len(said)) if _tells(one, said[at])), None)
        if place is None:
            yield f"tells {_brief([one])}, which was not said there"
            return
        places.append(place)
        start = place + 1
    yield from _left_out(now, said, places)


def _left_out(now: list[Said], said: list[Said], places: list[int]) -> Found:
    """`places`: where each turn of the window stands in what was said."""
    recent = len(said) - _MOST_TURNS
    for place in range(max(0, recent), len(said)):
        if place in places:
            continue
        after = sum(_size(one) for one, at in zip(now, places) if at > place)
        older = [at for at in places if at < place]
        if _size(said[place]) <= _LONG and (older or after + _size(said[place]) <= _MOST_BYTES):
            yield f"has left out {_brief([said[place]])} beside {after} bytes that came later"
        elif _size(said[place]) > _LONG and after <= _MOST_BYTES - _ROOM:
            yield f"has left out {_brief([said[place]])}, for which there was room: {after} bytes came later"


def _tells(told: Said, said: Said) -> bool:
    """Whether this is what was said, whole or, of a long turn, its beginnings and ends."""
    if told == said:
        return True
    return _size(said) > _LONG and all(map(_is_part, told, said))


def _is_part(told: str, said: str) -> bool:
    head, cut, tail = told.partition(SHORTENED)
    if not cut:
        return told == said
    before, again, after = said.partition(SHORTENED)
    # One that was shortened before is shortened anew: the mark moves, and stands once.
    begins, ends = (before, after) if again else (said, said)
    return begins.startswith(head) and ends.endswith(tail) and SHORTENED not in tail


def _window(conversation: Fields) -> list[Said]:
    held = [as_map(one) for one in list_field(conversation, "window")]
    return [(text_field(one, "question"), text_field(one, "answer")) for one in held]


def _tellable(said: Said) -> bool:
    return all(text.strip() for text in said)


def _size(said: Said) -> int:
    return sum(len(text.encode()) for text in said)


def _brief(told: Sequence[Said]) -> list[tuple[str, str]]:
    return [(question[:30], answer[:30]) for question, answer in told]
