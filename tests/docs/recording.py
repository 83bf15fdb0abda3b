"""Stores in memory that remember what was written where and who of the backend wrote and read it."""

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.kit.stores.documents import Document, Fields, Query
from app.kit.stores.realtime import Json
from support.memory import Change, MemoryDocuments, MemoryRealtime

APP: Final = str(Path(__file__).parents[2] / "functions" / "app") + "/"


@dataclass
class Seen:
    """Of one place: names of what was written into it, and the modules that wrote and read it."""

    names: set[str] = field(default_factory=set)
    written: bool = False
    writers: set[str] = field(default_factory=set)
    readers: set[str] = field(default_factory=set)


@dataclass
class Journal:
    """Everything that was seen, by path; of a query, the path is that of its collection with `*` behind."""

    places: dict[str, Seen] = field(default_factory=lambda: defaultdict(Seen))
    documents: list[tuple[str, Fields]] = field(default_factory=list)
    """Each document as it was written, every time."""

    def wrote(self, path: str, names: Sequence[str]) -> None:
        """Somebody wrote these names at `path`."""
        seen = self.places[path]
        seen.written = True
        seen.names.update(names)
        seen.writers |= _on_the_stack()

    def read(self, *paths: str) -> None:
        """Somebody looked at these paths."""
        for path in paths:
            self.places[path].readers |= _on_the_stack()


class RecordedDocuments(MemoryDocuments):
    """Keeps a journal of its documents."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.after_commit.append(self._note)

    def get(self, path: str) -> Document | None:
        self.journal.read(path)
        return super().get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        self.journal.read(*paths)
        return super().get_all(paths)

    def query(self, query: Query) -> list[Document]:
        found = super().query(query)
        self.journal.read(*(document.path for document in found))
        return found

    def _note(self, changes: list[Change]) -> None:
        for path, _, after in changes:
            if after is not None:
                self.journal.wrote(path, [*after])
                self.journal.documents.append((path, after))


class RecordedRealtime(MemoryRealtime):
    """Keeps a journal of its leaves: `a/b/c` was written, or something above it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.before_write.append(self._note)

    def get(self, path: str) -> Json:
        self.journal.read(path)
        return super().get(path)

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        found = super().first(path, limit, start_at=start_at)
        self.journal.read(*(f"{path}/{name}" for name in found))
        return found

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        self.journal.read(path)
        return super().transact(path, decide)

    def _note(self, values: Mapping[str, Json]) -> None:
        for path, value in values.items():
            for leaf in _leaves(path, value):
                self.journal.wrote(leaf, ())


def _leaves(path: str, value: Json) -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, member in value.items() for leaf in _leaves(f"{path}/{name}", member)]
    return [] if value is None else [path]


def _on_the_stack() -> set[str]:
    """The modules of the backend that are being run, as paths below functions/app."""
    found = set()
    frame = sys._getframe(2)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if name.startswith(APP):
            found.add(name.removeprefix(APP))
        frame = frame.f_back
    return found
