"""Searches text for a regular expression in time linear in the text, whatever the expression.

A backtracking matcher can take exponential time, and rules come from outside. This one walks a non-deterministic
automaton, remembering the sets of states it has been in (a lazily built deterministic one). Characters are UTF-16
units. Knows the shape of a pattern, not how it is written.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rtdb_emulator.rules.errors import RuleFailure

LARGEST_PATTERN: Final = 5_000
# Work (automaton states visited) that one search may cost beyond what is remembered from earlier ones.
SEARCH_BUDGET: Final = 1_000_000
_REMEMBERED: Final = 200_000


class CharSet:
    """A set of UTF-16 units, given as inclusive ranges; with `ignore_case` it holds both cases of each letter."""

    __slots__ = ("_bounds", "_ignore_case", "_negated")

    def __init__(self, ranges: Iterable[tuple[int, int]], *, negated: bool, ignore_case: bool) -> None:
        self._bounds = _merged(ranges)
        self._negated = negated
        self._ignore_case = ignore_case

    def holds(self, char: str) -> bool:
        """Whether the character is in the set."""
        found = self._within(char)
        if self._ignore_case and not found:
            found = any(map(self._within, _other_cases(char)))
        return found is not self._negated

    def _within(self, char: str) -> bool:
        return bisect_right(self._bounds, ord(char)) % 2 == 1


def _other_cases(char: str) -> list[str]:
    """Upper and lower case of a character; none but ASCII letters are cases of ASCII ones (ECMA-262, Canonicalize)."""
    return [case for case in (char.lower(), char.upper()) if len(case) == 1 and case.isascii() is char.isascii()]


def _merged(ranges: Iterable[tuple[int, int]]) -> list[int]:
    """Sorted bounds: a unit is inside if an odd number of bounds is at or below it."""
    bounds: list[int] = []
    for first, last in sorted(ranges):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], last + 1)
        else:
            bounds += (first, last + 1)
    return bounds


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any one of the parts."""

    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """At least `least` times, at most `most` times (None: any number)."""

    part: "Part"
    least: int
    most: int | None


Part = CharSet | Sequence | Alternatives | Repeat


@dataclass(frozen=True, slots=True)
class Branch:
    """A top-level alternative, and whether it holds on to the start and to the end of the text."""

    part: Part
    at_start: bool
    at_end: bool


def size(part: Part) -> int:
    """The number of automaton states that a part takes, roughly; to be checked before building."""
    if isinstance(part, CharSet):
        return 1
    if isinstance(part, Repeat):
        return 1 + size(part.part) * (part.least + 1 if part.most is None else max(1, part.most))
    return 1 + sum(size(each) for each in part.parts)


class _Builder:
    """States are numbers; `steps` consume a character, `skips` do not."""

    def __init__(self) -> None:
        self.steps: list[tuple[CharSet, int] | None] = []
        self.skips: list[list[int]] = []

    def state(self) -> int:
        self.steps.append(None)
        self.skips.append([])
        return len(self.steps) - 1

    def add(self, part: Part, end: int) -> int:
        """Builds `part` so that it leads to `end`; returns where it starts."""
        if isinstance(part, CharSet):
            start = self.state()
            self.steps[start] = (part, end)
            return start
        if isinstance(part, Sequence):
            for each in reversed(part.parts):
                end = self.add(each, end)
            return end
        if isinstance(part, Alternatives):
            start = self.state()
            self.skips[start] = [self.add(each, end) for each in part.parts]
            return start
        return self._repeat(part, end)

    def _repeat(self, repeat: Repeat, end: int) -> int:
        if repeat.most is None:
            start = self.state()
            self.skips[start] = [self.add(repeat.part, start), end]
        else:
            start = end
            for _ in range(repeat.most - repeat.least):
                again = self.state()
                self.skips[again] = [self.add(repeat.part, start), end]
                start = again
        for _ in range(repeat.least):
            start = self.add(repeat.part, start)
        return start


class _Place:
    """A set of states; `next` is filled as characters are met."""

    __slots__ = ("found", "found_at_end", "members", "next")

    def __init__(self, members: frozenset[int], found: bool, found_at_end: bool) -> None:
        self.members = members
        self.found = found
        self.found_at_end = found_at_end
        self.next: dict[str, _Place] = {}


class Automaton:
    """A compiled pattern."""

    def __init__(self, branches: tuple[Branch, ...]) -> None:
        builder = _Builder()
        self._found, self._found_at_end = builder.state(), builder.state()
        self._steps, self._skips = builder.steps, builder.skips
        starts = [builder.add(b.part, self._found_at_end if b.at_end else self._found) for b in branches]
        self._restart = [start for start, branch in zip(starts, branches) if not branch.at_start]
        self._starts = starts
        self._forget()

    def _forget(self) -> None:
        self._places: dict[frozenset[int], _Place] = {}
        self._remembered = 0
        self._first = self._place(self._closure(self._starts))

    def search(self, text: str) -> bool:
        """Whether the pattern occurs in the text. Fails if that would cost more than the budget."""
        budget = SEARCH_BUDGET
        place = self._first
        for char in _units(text):
            if place.found:
                return True
            following = place.next.get(char)
            if following is None:
                budget -= len(place.members) + 1
                if budget < 0:
                    raise RuleFailure("the regular expression takes too long on this string")
                following = self._follow(place, char)
            place = following
        return place.found or place.found_at_end

    def _follow(self, place: _Place, char: str) -> _Place:
        targets = list(self._restart)
        for member in place.members:
            step = self._steps[member]
            if step and step[0].holds(char):
                targets.append(step[1])
        members = self._closure(targets)
        if self._remembered > _REMEMBERED:
            self._forget()
        following = self._places.get(members) or self._place(members)
        place.next[char] = following
        self._remembered += 1
        return following

    def _place(self, members: frozenset[int]) -> _Place:
        place = _Place(members, self._found in members, self._found_at_end in members)
        self._places[members] = place
        self._remembered += len(members)
        return place

    def _closure(self, states: list[int]) -> frozenset[int]:
        """The states that consume or end, reachable without consuming."""
        seen = set(states)
        waiting = list(seen)
        while waiting:
            for target in self._skips[waiting.pop()]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        ends = (self._found, self._found_at_end)
        return frozenset(state for state in seen if self._steps[state] or state in ends)


def _units(text: str) -> str:
    """The text with a character for each UTF-16 unit."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    units = memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
    return "".join(map(chr, units))
