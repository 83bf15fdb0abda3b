"""A plain tree and short ways to ask the rules engine; shared by the tests of this folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rtdb_emulator.rules import Decision, Json, QuerySpec, ReadRequest, Ruleset, WriteRequest
from rtdb_emulator.rules.compiler import Compiler
from rtdb_emulator.rules.parser import parse_expression
from rtdb_emulator.rules.snapshot import Snapshot
from rtdb_emulator.rules.typed import Scope

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Tree:
    """A node made from the export form of JSON (`.value`, `.priority`)."""

    value: bool | int | float | str | None = None
    priority: int | float | str | None = None
    children: Mapping[str, "Tree"] = field(default_factory=dict)

    def child(self, key: str) -> "Tree | None":
        return self.children.get(key)

    def keys(self) -> Iterable[str]:
        return self.children

    @property
    def is_empty(self) -> bool:
        return self.value is None and not self.children


def tree(data: Json) -> Tree:
    """The tree that holds `data`; null children disappear, an array has the keys 0, 1, 2."""
    if isinstance(data, list):
        data = {str(index): item for index, item in enumerate(data)}
    if not isinstance(data, dict):
        return Tree(value=data)
    priority, value = data.get(".priority"), data.get(".value")
    assert not isinstance(priority, list | dict) and not isinstance(value, list | dict)
    children = {key: tree(item) for key, item in data.items() if not key.startswith(".")}
    return Tree(value, priority, {key: child for key, child in children.items() if not child.is_empty})


def merged(data: Json, path: tuple[str, ...], value: Json) -> Json:
    """`data` after `value` was written at `path`."""
    if not path:
        return value
    base = dict(data) if isinstance(data, dict) else {}
    base[path[0]] = merged(base.get(path[0]), path[1:], value)
    return base


def keys_of(path: str) -> tuple[str, ...]:
    return tuple(key for key in path.split("/") if key)


@dataclass(frozen=True)
class Given:
    """What an expression is evaluated on. `at` is where the rule stands, which is where `data` is."""

    auth: Json = None
    root: Json = None
    new: Json = None
    at: str = ""
    query: QuerySpec | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    now: int = NOW_MS
    kind: str = ".write"


NOTHING = Given()


def evaluate(expression: str, given: Given) -> bool:
    """The value of a rule expression. Raises ExpressionError at upload, RuleFailure at run time."""
    test = Compiler(given.kind, frozenset(given.names)).rule(parse_expression(expression))
    before, after = Snapshot(tree(given.root)), Snapshot(tree(given.new))
    return test(
        Scope(
            auth=given.auth,
            now=given.now,
            root=before,
            data=before.child(given.at),
            names=dict(given.names),
            new_data=after.child(given.at),
            query=given.query,
        )
    )


def read(rules: Ruleset, path: str, given: Given = NOTHING) -> Decision:
    """The decision on reading `path`."""
    return rules.can_read(ReadRequest(keys_of(path), tree(given.root), given.auth, given.now, given.query))


def write(rules: Ruleset, changes: Mapping[str, Json], given: Given = NOTHING) -> Decision:
    """The decision on writing every path of `changes` in one update."""
    after = given.root
    for path, value in changes.items():
        after = merged(after, keys_of(path), value)
    paths = tuple(keys_of(path) for path in changes)
    return rules.can_write(WriteRequest(paths, tree(given.root), tree(after), given.auth, given.now))
