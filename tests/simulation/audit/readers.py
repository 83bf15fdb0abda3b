"""What a reader of live text sees, update by update: text that only grows, the vendor's words, no gap, none too long.

A reader listens to `users/{uid}/streams/{message}` as docs/integrate.md says and joins the chunks in the order of their
keys. Where an instance may stand still and write late, text is compared at its end only, see `answers.Streams`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from app.kit.clock import from_rfc3339, minutes, seconds
from app.kit.money import to_decimal
from app.kit.stores.documents import Fields, int_field, text_field
from app.kit.stores.realtime import Json
from simulation.machine.kernel import CALM
from simulation.outside.model_vendor import answer_of
from simulation.workload import Known
from simulation.world import World
from support.memory import Change

_KEPT_US: Final = minutes(15) - seconds(70)
"""An ended text stays for so long at least: a quarter of an hour, less a minute of the sweep's lists and two clocks."""
_WRITTEN_US: Final = seconds(10)
"""How long after its end an answer's live text may still be written in calm weather."""
_DUE: Final = "orchestration/streams_due"

Found = Iterator[str]
Stream = Mapping[str, Json]


class Readers:
    """Reads every live text."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._listed: dict[str, set[str]] = {}
        """By message, where it stands on lists of the sweep."""
        self._ended_us: dict[str, int] = {}
        self._told: dict[str, str] = {}
        """What was found, by what it is about: one line for each message and kind."""
        world.realtime.real.before_write.append(self._written)
        world.documents.watchers.append(self._committed)

    def verdict(self) -> list[str]:
        """Every violation."""
        return [*self._told.values()]

    def _written(self, values: Mapping[str, Json]) -> None:
        touched: dict[str, str] = {}
        for path, value in values.items():
            parts = path.split("/")
            if parts[0] == "users" and len(parts) >= 4 and parts[2] == "streams":
                touched[parts[3]] = "/".join(parts[:4])
            elif path.startswith(f"{_DUE}/"):
                self._list(path, value)
        for message, path in touched.items():
            was = self._world.realtime.real.peek(path)
            before = was if isinstance(was, dict) else None
            after = _after(before, path, values)
            for what, found in self._seen(message, before, after):
                self._told.setdefault(f"{what} {message}", found)

    def _list(self, path: str, value: Json) -> None:
        name = path[len(_DUE) + 1 :].partition("/")[2]
        if not name:
            return  # An empty list goes.
        places = self._listed.setdefault(name.partition(":")[0], set())
        if value is None:
            places.discard(path)
        else:
            places.add(path)

    def _seen(self, message: str, before: Stream | None, after: Stream | None) -> Iterator[tuple[str, str]]:
        if after is None:
            if before is not None:
                yield from (("gone", one) for one in self._taken_away(message))
            return
        if not self._listed.get(message):
            yield "list", f"the live text of {message} is on no list: nobody would ever remove it"
        yield from (("end", one) for one in self._overwritten(message, before or {}, after))
        if self._world.faults.stall or self._known.conversations.get(message) in self._known.deletions:
            return
        text, shown = _text(after), _text(before or {})
        if before is not None and before.get("attempt") == after.get("attempt") and not text.startswith(shown):
            yield "back", f"the live text of {message} was {shown!r} and became {text!r}"
        if before is not None and _number(after) < _number(before):
            yield "attempt", f"the live text of {message} went back from attempt {before['attempt']}"
        if [*_chunks(after)] != [f"{key:04d}" for key in range(len(_chunks(after)))]:
            yield "gap", f"the live text of {message} has a gap: {sorted(_chunks(after))}"
        if text.strip():
            yield from (("words", one) for one in self._words(message, text))

    def _overwritten(self, message: str, before: Stream, after: Stream) -> Found:
        """The end that a turn has is not told over by whoever was taken for dead. The sweep may tell it late."""
        process, path = self._world.kernel.current, self._known.conversations.get(message, "")
        turn = self._world.documents.real.get(f"{path}/messages/{message}") if path else None
        if turn is None or turn.fields["state"] == "running" or (process and process.name.startswith("chore")):
            return
        cost = to_decimal(int_field(turn.fields, "cost"))
        if before.get("cost") == cost != after.get("cost") and after.get("status") in ("done", "error"):
            yield f"the live text of {message} showed that it cost {cost}, and shows {after.get('cost')}"

    def _words(self, message: str, text: str) -> Found:
        """It is how an answer to this message begins."""
        answers = self._world.outside.models.answers
        number = answer_of(text)
        if number >= len(answers) or answers[number].question != self._known.questions.get(message):
            yield f"the live text of {message} is {text!r}, which was written for another"
            return
        written = "".join(answers[number].texts)
        # The piece whose last bytes are still under way may be shown already.
        ahead = text.removeprefix(written) if text.startswith(written) else ""
        under_way = bool(ahead) and answer_of(ahead) == number and " " not in ahead.rstrip()
        if not written.startswith(text) and not under_way:
            yield f"the live text of {message} is {text!r}, the vendor wrote {answers[number].texts}"

    def _taken_away(self, message: str) -> Found:
        """A text goes with its conversation, and otherwise stays a while after its end."""
        conversation = self._known.conversations.get(message, "")
        if not conversation or conversation in self._known.deletions:
            return
        turn = self._world.documents.real.get(f"{conversation}/messages/{message}")
        if turn is None:
            return
        if turn.fields["state"] == "running":
            yield f"the live text of {message} was removed while it was written"
            return
        age_us = self._world.kernel.now_us - from_rfc3339(text_field(turn.fields, "ended_at"))
        # One that stood still may end a turn anew, which had been ended for it.
        if age_us < _KEPT_US and not self._world.faults.stall:
            yield f"the live text of {message} was removed {age_us / 1e6:.0f} s after its end"

    def _committed(self, changes: list[Change]) -> None:
        for path, before, after in changes:
            if path.startswith("users/") and "/messages/" in path:
                self._turn_moved(path.rpartition("/")[2], before, after)
        for path, before, after in changes:
            if "/conversations/" in path and path.count("/") == 3 and before is not None and after is None:
                self._conversation_gone(path)

    def _turn_moved(self, message: str, before: Fields | None, after: Fields | None) -> None:
        if after is not None and after["state"] == "running":
            self._ended_us.pop(message, None)
        elif before is None or before["state"] == "running":
            self._ended_us[message] = self._world.kernel.now_us

    def _conversation_gone(self, path: str) -> None:
        """Its text is gone as well, unless an answer ended just now and its last words are still on their way."""
        if self._world.faults != CALM:
            return
        uid, now_us = path.split("/")[1], self._world.kernel.now_us
        for message, conversation in self._known.conversations.items():
            ended_us = self._ended_us.get(message, now_us)
            stream = self._world.realtime.real.peek(f"users/{uid}/streams/{message}")
            if conversation == path and stream is not None and ended_us < now_us - _WRITTEN_US:
                self._told[f"deleted {message}"] = f"{path} is deleted, and the live text of {message} is left"


def _after(before: Stream | None, path: str, values: Mapping[str, Json]) -> Stream | None:
    """A stream once this update is written."""
    stream: dict[str, Json] | None = dict(before) if before is not None else None
    for place, value in values.items():
        if place == path:
            stream = dict(value) if isinstance(value, dict) else None
        elif place.startswith(f"{path}/"):
            name, _, key = place[len(path) + 1 :].partition("/")
            stream = stream or {}
            stream[name] = {**_chunks(stream), key: value} if key else value
    return stream or None


def _chunks(stream: Stream) -> dict[str, Json]:
    chunks = stream.get("chunks")
    return dict(sorted(chunks.items())) if isinstance(chunks, dict) else {}


def _text(stream: Stream) -> str:
    return "".join(map(str, _chunks(stream).values()))


def _number(stream: Stream) -> int:
    attempt = stream.get("attempt")
    return attempt if isinstance(attempt, int) else 0
