"""What must be true of the window of a conversation at each of its moves, and of what a vendor is sent of it.

A window holds what was said on the active branch, newest first, each turn once and in order: at most 24 turns of 96 KiB
together. A turn of more than an eighth of that is shortened in its middle rather than that it pushes out others;
ordinary ones stay whole, and the oldest go first. A blank turn is never told, because vendors refuse a request in which
a message is blank.
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
Held = dict[str, Said]
"""The turns of a window by their ids, in order."""
Found = Iterator[str]


class Windows:
    """Watches every conversation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[str, list[tuple[int, Held]]] = {}
        """By path, each window that a conversation has had and since when."""
        self._begun: dict[str, tuple[str, str, int]] = {}
        """By question, the path of its conversation, the turn that it answers and when its turn was recorded."""
        self.found: list[str] = []
        world.documents.watchers.append(self._committed)
        world.outside.models.watchers.append(self._asked)

    def _committed(self, changes: list[Change]) -> None:
        answered: dict[str, Fields] = {}
        for path, before, after in changes:
            conversation, below, _ = path.partition("/messages/")
            if not below or after is None:
                continue
            if after["state"] == "running":
                began_us = from_rfc3339(text_field(after, "created_at"))
                self._begun[text_field(after, "question")] = conversation, text_field(after, "parent"), began_us
            elif after["state"] == "done" != (before or after)["state"] and _tellable(_said(after)):
                answered[conversation] = after
        for path, before, after in changes:
            if "/conversations/" in path and path.count("/") == 3 and after is not None and after["state"] == OPEN:
                self._moved(path, before, after, answered.pop(path, None))
        for path, turn in answered.items():
            stored = self._world.documents.real.get(path)
            if stored is not None and stored.fields["state"] == OPEN:
                self.found.append(f"{path} was not told that {_said(turn)} was answered")

    def _moved(self, path: str, before: Fields | None, after: Fields, answered: Fields | None) -> None:
        now = [*_window(after).values()]
        self._held.setdefault(path, []).append((self._world.kernel.now_us, _window(after)))
        if before is None:
            return  # What was said before it was seen first is not known.
        was, blank = _window(before), [one for one in now if not _tellable(one)]
        said = [[*was.values()]]
        if answered is not None:
            said = self._said_before(path, before, answered, was)
            if after["leaf"] == answered["id"]:
                said = [[*one, _said(answered)] for one in said]
            elif not self._answers(path, text_field(answered, "id")):
                self.found.append(f"{path} does not end with the answer to {_said(answered)[0][:30]}")
        elif before.get("leaf") != after.get("leaf") and not self._goes_on(path, before, after):
            # Its user has gone to another branch.
            said = [*self._branches(path, text_field(after, "leaf"), [one for _, one in self._held[path][:-1]])]
        whys = [[*_judged(now, [*filter(_tellable, one)])] for one in said]
        self.found += [f"the window of {path} {why}" for why in min(whys, key=len)]
        if blank and answered is not None:
            self.found.append(f"the window of {path} holds a blank turn: {blank}")

    def _goes_on(self, path: str, before: Fields, after: Fields) -> bool:
        """Whether the end of the active branch answers the one before it."""
        stored = self._world.documents.real.get(f"{path}/messages/{after['leaf']}")
        return stored is not None and stored.fields["parent"] == before.get("leaf")

    def _said_before(self, path: str, before: Fields, turn: Fields, was: Held) -> list[list[Said]]:
        """What may count as said before a turn: what the window held if it goes on there, and otherwise its branch."""
        parent = text_field(turn, "parent")
        if before.get("leaf", parent) == parent or self._answers(path, text_field(turn, "id")):
            return [[*was.values()]]
        return [*self._branches(path, parent, [window for _, window in self._held.get(path, [])])]

    def _branches(self, path: str, parent: str, windows: Sequence[Held]) -> Iterator[list[Said]]:
        """What was said up to `parent`, as windows tell it that hold it, and as the documents do."""
        for window in windows:
            ids = [*window]
            if parent in ids:
                yield [window[one] for one in ids[: ids.index(parent) + 1]]
        said: list[Said] = []
        while stored := self._world.documents.real.get(f"{path}/messages/{parent}") if parent else None:
            if stored.fields["state"] == "done" and _tellable(_said(stored.fields)):
                said.insert(0, _said(stored.fields))
            parent = text_field(stored.fields, "parent")
        yield said

    def _answers(self, path: str, turn: str) -> bool:
        """Whether there is an answer to this turn."""
        found = self._world.documents.real.all().items()
        return any(at.startswith(f"{path}/messages/") and one.fields.get("parent") == turn for at, one in found)

    def _asked(self, asked: VendorAnswer) -> None:
        """The vendor is sent a window that the conversation had when its turn began, and nothing that is blank."""
        if asked.question not in self._begun:
            return
        path, parent, began_us = self._begun[asked.question]
        told = [*zip(asked.prompt[0:-1:2], asked.prompt[1:-1:2])]
        if not all(map(_tellable, told)):
            self.found.append(f"{asked.model} was sent a blank message of {path}: {told}")
            return
        held = self._held.get(path, [])
        ends = [*(at_us for at_us, _ in held[1:]), self._world.kernel.now_us + 1]
        read = [window for (_, window), end_us in zip(held, ends) if end_us > began_us - _BEFORE_US]
        sent = [[*filter(_tellable, window.values())] for window in read]
        branches = self._branches(path, parent, [window for _, window in held])
        if held and told not in sent and all([*_judged(told, one)] for one in branches):
            self.found.append(f"{asked.model} was sent {_brief(told)} of {path}, which held {[*map(_brief, sent)]}")


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


def _window(conversation: Fields) -> Held:
    held = [as_map(one) for one in list_field(conversation, "window")]
    return {text_field(one, "message_id"): _said(one) for one in held}


def _said(turn: Fields) -> Said:
    return text_field(turn, "question"), text_field(turn, "answer")


def _tellable(said: Said) -> bool:
    return all(text.strip() for text in said)


def _size(said: Said) -> int:
    return sum(len(text.encode()) for text in said)


def _brief(told: Sequence[Said]) -> list[tuple[str, str]]:
    return [(question[:30], answer[:30]) for question, answer in told]
