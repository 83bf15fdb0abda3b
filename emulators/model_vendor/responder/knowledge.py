"""The built-in knowledge: topics with a few true sentences per facet, and how one is recognised in a question.

Owns lookup. The facts are data in `knowledge/*.toml`.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emulators.model_vendor.responder.words import stem

_FOLDER = Path(__file__).parent / "knowledge"


@dataclass(frozen=True, slots=True)
class Topic:
    """One subject. Every facet but `title` and `choose` is one or more whole sentences; `choose` follows "when"."""

    title: str
    aliases: tuple[str, ...]
    what: str
    how: str
    why: str
    pitfall: str
    example: str
    choose: str
    related: tuple[str, ...]

    @property
    def facets(self) -> tuple[str, ...]:
        """All sentences in a good order to read."""
        return (self.what, self.how, self.why, self.example, self.pitfall)


@cache
def topics() -> dict[str, Topic]:
    """All topics by their lower-case title."""
    found: dict[str, Topic] = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["topic"]:
            lists = {"aliases": tuple(entry.get("aliases", ())), "related": tuple(entry.get("related", ()))}
            topic = Topic(**{**entry, **lists})
            found[topic.title.casefold()] = topic
    return found


@cache
def _names() -> dict[str, list[tuple[tuple[str, ...], Topic]]]:
    """Names by their first stem, longest first."""
    found: dict[str, list[tuple[tuple[str, ...], Topic]]] = {}
    for topic in topics().values():
        for name in (topic.title, *topic.aliases):
            stems = _stems(name)
            found.setdefault(stems[0], []).append((stems, topic))
    return {first: sorted(names, key=lambda pair: -len(pair[0])) for first, names in found.items()}


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in re.findall(r"[\w+#.]*[\w+#]", text.casefold()))


def mentioned(text: str) -> list[Topic]:
    """The topics named in `text` in order of appearance; where two names begin the longer one wins."""
    roots = _stems(text[:4000])
    names = _names()
    found: dict[str, Topic] = {}
    at = 0
    while at < len(roots):
        width = 1
        for name, topic in names.get(roots[at], ()):
            if roots[at : at + len(name)] == name:
                found.setdefault(topic.title, topic)
                width = len(name)
                break
        at += width
    return list(found.values())


def related(topic: Topic) -> list[Topic]:
    """Topics that continue this one."""
    known = topics()
    return [known[name.casefold()] for name in topic.related if name.casefold() in known]
