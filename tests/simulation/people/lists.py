"""Somebody who reads lists to their end, while an operator leaves rows in front of them that nobody can read.

What a list must hold is what stands in the store before and after and did not change meanwhile.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from app.api.auth import Principal
from app.kit.stores.documents import Create, Document, Fields, Opaque, Value, Version
from simulation.audit.records import JUNK
from simulation.edge import HttpRequest
from simulation.people.door import Door
from simulation.world import World
from support.memory import Change

_FUTURE: Final = "2031-01-01T00:00:00.000000Z"
_BREAKS: Final[tuple[Value, ...]] = (Opaque("geo_point_value", b"\x12\x00"), 0.5, None, [None])


def _any(_: Fields) -> bool:
    return True


@dataclass(frozen=True)
class _List:
    """A list of `by`: its address, the collection of its rows, what its answer calls them, and which rows it shows.

    Rows that nobody can read have `spoilt` broken and stand in front by `front`; `job` has to report them. Without
    `job` an operator leaves this list alone.
    """

    path: str
    by: str
    collection: str
    name: str = "id"
    shows: Callable[[Fields], bool] = _any
    query: str = ""
    job: str = ""
    spoilt: str = ""
    front: Mapping[str, Value] = field(default_factory=dict)


def _operations(state: str) -> _List:
    front: Mapping[str, Value] = {"created_at": _FUTURE, "state": state, "key": None, "line": None, "wake_at": None}
    return _List(
        "/v1/orchestration/operations",
        "clerk2",
        "operations",
        shows=lambda fields: fields["state"] == state,
        query=f"&state={state}",
        job="operations_list",
        spoilt="level",
        front=front,
    )


def _messages(conversation: str) -> _List:
    # Rows that no tree has are met by a list of the turns that are loose.
    front: Mapping[str, Value] = {"created_at": _FUTURE, "state": "done", "loose": True}
    path = f"/v1/chat/conversations/{conversation}/messages"
    collection = f"users/user0/conversations/{conversation}/messages"
    return _List(path, "user0", collection, "message_id", job="turns_list", spoilt="reserved", front=front)


_LISTS: Final = (
    _List(
        "/v1/chat/conversations",
        "user0",
        "users/user0/conversations",
        shows=lambda fields: fields["state"] == "open",
        job="conversations_list",
        spoilt="created_at",
        front={"updated_at": _FUTURE, "state": "open"},
    ),
    _operations("queued"),
    _operations("succeeded"),
    _List(
        "/v1/orchestration/sagas",
        "clerk2",
        "sagas",
        job="sagas_list",
        spoilt="status",
        front={"created_at": _FUTURE, "check_at": None},
    ),
    _List(
        "/v1/orchestration/audit-log", "clerk2", "audit_log", job="audit_list", spoilt="action", front={"at": _FUTURE}
    ),
    _List("/v1/credits/history", "user0", "accounts/user0/entries"),
    _List("/v1/orchestration/dead-letters", "clerk2", "operations", shows=lambda fields: fields["state"] == "dead"),
)


class Reader:
    """Reads lists in small pages; before most of them, somebody has left rows in front of them."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._door = Door(world, "reader")
        tokens = world.outside.tokens
        self._tokens = {"user0": tokens.issue(Principal("user0")), "clerk2": tokens.issue(Principal("clerk2", "admin"))}
        self._left = 0
        self._reported: set[str] = set()
        self.found = self._door.found
        world.documents.watchers.append(self._committed)

    def live(self) -> None:
        """Some lists, over ten minutes."""
        random = self._kernel.random
        self._kernel.sleep(60_000_000)
        for _ in range(random.randrange(4, 9)):
            self._kernel.sleep(random.randrange(5_000_000, 90_000_000))
            one = random.choice(_LISTS)
            if random.random() < 0.3 and (conversation := self._conversation()):
                one = _messages(conversation)
            if one.job and random.random() < 0.6:
                self._spoil(one)
            self._walk(one)

    def _walk(self, one: _List) -> None:
        before, junk = self._rows(one), self._junk(one)
        seen, cursor = list[str](), ""
        limit = self._kernel.random.choice((1, 2, 3, 100)) if len(before) < 12 else self._kernel.random.choice((5, 100))
        while True:
            query = f"limit={limit}{one.query}{cursor}"
            heard = self._door.ask(HttpRequest("GET", one.path, self._tokens[one.by], query=query))
            if heard is None or heard.status in (404, 503):
                return  # A store was away, or the conversation is being deleted.
            if heard.status != 200:
                self.found.append(f"{one.path}?{query} was answered {heard.status}: {heard.text[:200]}")
                return
            seen += [str(item[one.name]) for item in cast(list[Mapping[str, object]], heard.fields["items"])]
            if heard.fields["next_cursor"] is None:
                break
            if self._kernel.random.random() < 0.3:
                self._twists(one, f"limit={limit}{one.query}", str(heard.fields["next_cursor"]))
            cursor = f"&cursor={heard.fields['next_cursor']}"
        after = self._rows(one)
        still = [id for id, version in before.items() if after.get(id) == version]
        if missing := [id for id in still if seen.count(id) != 1]:
            self.found.append(f"{one.path}{one.query} by {limit} shows {seen}, not once each of {missing}")
        if hidden := [path for path in junk if path not in self._reported]:
            self.found.append(f"{one.path} passed over {hidden}, and {one.job} does not list them")

    def _twists(self, one: _List, query: str, cursor: str) -> None:
        """A cursor in another spelling, or with another question in it, is none that this list has given out."""
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        other = self._kernel.random.choice(
            (json.dumps(parts), json.dumps([*parts[:2], "0" * 16, *parts[3:]], separators=(",", ":")))
        )
        twisted = base64.urlsafe_b64encode(other.encode()).decode().rstrip("=")
        asked = HttpRequest("GET", one.path, self._tokens[one.by], query=f"{query}&cursor={twisted}")
        heard = self._door.ask(asked)
        if heard is not None and heard.status not in (404, 422, 503):
            self.found.append(f"{one.path} takes {other!r} for a cursor of its own: {heard.status}")

    def _rows(self, one: _List) -> dict[str, Version]:
        """What the list shows, by id."""
        found = [row for row in self._stored(one) if JUNK not in row.path and one.shows(row.fields)]
        if one.job == "turns_list":
            branch = self._branch(one.collection)
            found = [row for row in found if branch is None or row.id in branch]
        return {row.id if one.name != "id" else str(row.fields.get("id", row.id)): row.version for row in found}

    def _branch(self, collection: str) -> set[str] | None:
        """The turns of the active branch of a conversation; None where all turns are a chain by time."""
        conversation = self._world.documents.real.get(collection.removesuffix("/messages"))
        if conversation is None or conversation.fields.get("tree") is None:
            return None
        branch, turn = set[str](), str(conversation.fields["leaf"])
        while turn and (stored := self._world.documents.real.get(f"{collection}/{turn}")):
            branch.add(turn)
            turn = str(stored.fields.get("parent", ""))
        return branch

    def _junk(self, one: _List) -> list[str]:
        found = [row.path for row in self._stored(one) if JUNK + "front" in row.path]
        return [path for path in found if one.job and self._fits(one, path)]

    def _fits(self, one: _List, path: str) -> bool:
        stored = self._world.documents.real.get(path)
        return stored is not None and one.spoilt in stored.fields and one.shows(stored.fields)

    def _stored(self, one: _List) -> list[Document]:
        depth = one.collection.count("/") + 1
        stored = self._world.documents.real.all()
        return [
            row for path, row in stored.items() if path.startswith(f"{one.collection}/") and path.count("/") == depth
        ]

    def _spoil(self, one: _List) -> None:
        whole = [row for row in self._stored(one) if JUNK not in row.path]
        if not whole:
            return
        random = self._kernel.random
        row = random.choice(whole)
        self._kernel.note(f"an operator leaves rows in front of {one.path}")
        for _ in range(random.choice((1, 3, 6, 6))):
            fields = {**row.fields, **one.front, one.spoilt: random.choice(_BREAKS)}
            path = f"{one.collection}/{JUNK}front-{self._left}"
            self._world.documents.real.commit([Create(path, fields)])
            self._left += 1

    def _conversation(self) -> str | None:
        rows = [row for row in self._stored(_LISTS[0]) if JUNK not in row.path and row.fields["state"] == "open"]
        return self._kernel.random.choice(rows).id if rows else None

    def _committed(self, changes: list[Change]) -> None:
        for path, _, after in changes:
            broken = after.get("broken") if path.startswith("jobs/") and after is not None else None
            if isinstance(broken, list):
                self._reported |= {str(row.get("path")) for row in broken if isinstance(row, Mapping)}
