"""Function triggers as values: registrations, what a commit fires, and the events. Pure.

Triggers of every region fire; Google's emulator only fires us-central1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from rtdb_emulator.database import Commit
from rtdb_emulator.delta import delta
from rtdb_emulator.errors import InvalidData
from rtdb_emulator.json_text import Json, dumps
from rtdb_emulator.node_json import val_value
from rtdb_emulator.paths import Path, to_text
from rtdb_emulator.tree import Node, child, get, keys

_CAPTURE: Final = re.compile(r"\{(\w+)(=\*{1,2})?\}\Z")
_KINDS: Final = {
    "google.firebase.database.ref.v1.written": "written",
    "google.firebase.database.ref.v1.created": "created",
    "google.firebase.database.ref.v1.updated": "updated",
    "google.firebase.database.ref.v1.deleted": "deleted",
    "providers/google.firebase.database/eventTypes/ref.write": "written",
    "providers/google.firebase.database/eventTypes/ref.create": "created",
    "providers/google.firebase.database/eventTypes/ref.update": "updated",
    "providers/google.firebase.database/eventTypes/ref.delete": "deleted",
}


@dataclass(frozen=True)
class Trigger:
    """One registered function. `name` is `projects/P/locations/L/(triggers|functions)/KEY`."""

    name: str
    path: str
    event: str
    namespace_pattern: str

    @property
    def is_v1(self) -> bool:
        return self.event.startswith("providers/")

    @property
    def kind(self) -> str:
        """created, updated, deleted or written."""
        return _KINDS[self.event]

    @property
    def route(self) -> str:
        """Where the functions emulator takes its events."""
        parts = self.name.split("/")
        return f"/functions/projects/{parts[1]}/triggers/{parts[5]}"

    @cached_property
    def segments(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part)

    @cached_property
    def namespaces(self) -> re.Pattern[str]:
        pattern = ".*".join(map(re.escape, self.namespace_pattern.split("*")))
        return re.compile(pattern + r"\Z")


@dataclass(frozen=True)
class Firing:
    """One event: a trigger, a location and what happened there."""

    trigger: Trigger
    commit: Commit
    location: Path
    params: dict[str, str]
    before: Node
    after: Node


def read_trigger(data: Json, namespace: str | None) -> Trigger:
    """A registration as firebase-tools sends it; v1 ones name their instance in the URL. Raises InvalidData."""
    if not isinstance(data, dict):
        raise InvalidData("a trigger must be an object")
    name, path, event = (data.get(field) for field in ("name", "path", "event"))
    if not (isinstance(name, str) and isinstance(path, str) and isinstance(event, str)):
        raise InvalidData("a trigger needs name, path and event")
    if event not in _KINDS or len(name.split("/")) != 6:
        raise InvalidData(f"unknown event type {event!r} or malformed name {name!r}")
    pattern = data.get("namespacePattern")
    return Trigger(name, path, event, pattern if isinstance(pattern, str) else namespace or "*")


def firings(trigger: Trigger, commit: Commit) -> Iterator[Firing]:
    """Every event that the commit means for the trigger: one per changed location that its path matches."""
    if trigger.namespaces.match(commit.namespace):
        yield from _match(trigger, commit, ((), {}), commit.touched)


def _match(
    trigger: Trigger, commit: Commit, place: tuple[Path, dict[str, str]], touched: tuple[Path, ...]
) -> Iterator[Firing]:
    location, params = place
    before, after = get(commit.before, location), get(commit.after, location)
    if before is after:
        return
    if len(location) == len(trigger.segments):
        if _is_kind(trigger.kind, before, after):
            yield Firing(trigger, commit, location, params, before, after)
        return
    segment = trigger.segments[len(location)]
    capture = _CAPTURE.match(segment)
    if capture is not None and capture.group(2) == "=**":
        yield from _rest(trigger, commit, (location, params, capture.group(1)), touched)
        return
    for key in _heads(segment, capture is not None, (before, after), touched):
        below = ((),) if () in touched else tuple(way[1:] for way in touched if way[0] == key)
        bound = params | {capture.group(1): key} if capture is not None else params
        yield from _match(trigger, commit, ((*location, key), bound), below)


def _heads(segment: str, is_capture: bool, nodes: tuple[Node, Node], touched: tuple[Path, ...]) -> list[str]:
    """The children that the segment matches and that may have changed."""
    if not (is_capture or segment == "*"):
        return [segment] if () in touched or any(way[0] == segment for way in touched) else []
    if () not in touched:
        return list(dict.fromkeys(way[0] for way in touched))
    before, after = nodes
    every = dict.fromkeys((*keys(before), *keys(after)))
    return [key for key in every if child(before, key) is not child(after, key)]


def _rest(
    trigger: Trigger, commit: Commit, place: tuple[Path, dict[str, str], str], touched: tuple[Path, ...]
) -> Iterator[Firing]:
    """A `{name=**}` segment: the locations that were written below, or the changed children."""
    location, params, name = place
    before, after = get(commit.before, location), get(commit.after, location)
    heads = _heads("*", True, (before, after), touched)
    ways = [(key,) for key in heads] if () in touched else list(touched)
    for way in ways:
        old, new = get(before, way), get(after, way)
        if old is not new and _is_kind(trigger.kind, old, new):
            yield Firing(trigger, commit, (*location, *way), params | {name: to_text(way)}, old, new)


def _is_kind(kind: str, before: Node, after: Node) -> bool:
    if kind == "created":
        return before is None
    if kind == "deleted":
        return after is None
    return kind == "written" or (before is not None and after is not None)


def event_body(firing: Firing, event_id: str) -> dict[str, Json] | None:
    """The event, in the form that the trigger's generation expects.

    None when only priorities changed: events do not carry them, so nothing would seem to have changed.
    """
    before, after = val_value(firing.before), val_value(firing.after)
    if dumps(before) == dumps(after):
        return None
    change: dict[str, Json] = {"data": before, "delta": delta(before, after)}
    return _v1_event(firing, event_id, change) if firing.trigger.is_v1 else _cloud_event(firing, event_id, change)


def content_type(trigger: Trigger) -> str:
    return "application/json" if trigger.is_v1 else "application/cloudevents+json; charset=UTF-8"


def _cloud_event(firing: Firing, event_id: str, change: dict[str, Json]) -> dict[str, Json]:
    commit = firing.commit
    ref = to_text(firing.location)
    event: dict[str, Json] = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/{commit.namespace}",
        "type": firing.trigger.event,
        "subject": f"refs/{ref}",
        "time": _time(commit.asker.now_ms),
        "datacontenttype": "application/json",
        "location": "us-central1",
        "instance": commit.namespace,
        "ref": ref,
        "firebasedatabasehost": "firebaseio.com",
        "authtype": commit.asker.identity.auth_type,
        "data": change,
    }
    if commit.asker.identity.uid is not None:
        event["authid"] = commit.asker.identity.uid
    return event


def _v1_event(firing: Firing, event_id: str, change: dict[str, Json]) -> dict[str, Json]:
    commit, identity = firing.commit, firing.commit.asker.identity
    resource = f"projects/_/instances/{commit.namespace}/refs/{to_text(firing.location)}"
    auth: dict[str, Json] = {"admin": identity.admin}
    if identity.auth is not None:
        auth["variable"] = identity.auth
    return {
        "eventId": event_id,
        "timestamp": _time(commit.asker.now_ms),
        "eventType": firing.trigger.event,
        "resource": {"service": "firebaseio.com", "name": resource},
        "data": change,
        "params": dict(firing.params),
        "auth": auth,
    }


def _time(now_ms: int) -> str:
    # Always with a fraction: the Python functions library cannot read a time without one.
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
