"""Loads a rules document into a tree of compiled rules.

Owns the form of a document: which members a rules node may have and what they must be. Knows no requests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rtdb_emulator.rules.compiler import Compiler
from rtdb_emulator.rules.document import Array, Literal, SourceMap, Table, Text, Value
from rtdb_emulator.rules.errors import ExpressionError, RuleFailure
from rtdb_emulator.rules.parser import parse_expression
from rtdb_emulator.rules.typed import Scope

_RULES: Final = (".read", ".write", ".validate")
_NOT_IN_KEYS: Final = frozenset(".#$[]/")


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule. `label` is how it is called in reasons: `.write at /users/$uid`."""

    label: str
    test: Callable[[Scope], bool]

    def verdict(self, scope: Scope) -> str | None:
        """None if the rule is true, else why it is not: it was false, or it could not be computed."""
        try:
            return None if self.test(scope) else f"{self.label} was false"
        except RuleFailure as failure:
            return f"{self.label} failed: {failure}"
        except RecursionError:
            return f"{self.label} failed: too deep to compute"


@dataclass(slots=True)
class RuleNode:
    """What is said about one location, or about all children of one (`variable` is then the `$name`)."""

    variable: str | None = None
    read: Rule | None = None
    write: Rule | None = None
    validate: Rule | None = None
    index_on: frozenset[str] = frozenset()
    literals: "dict[str, RuleNode]" = field(default_factory=dict)
    wildcard: "RuleNode | None" = None
    # Whether a .validate stands here or below; where none does, a written subtree need not be visited.
    validates: bool = False

    def match(self, key: str) -> "RuleNode | None":
        """The rules of a child: those of its own name, else those of the wildcard."""
        return self.literals.get(key) or self.wildcard


@dataclass(frozen=True, slots=True)
class _Place:
    path: tuple[str, ...]
    variables: frozenset[str]

    def below(self, key: str) -> "_Place":
        names = (*self.variables, key) if key.startswith("$") else self.variables
        return _Place((*self.path, key), frozenset(names))


class TreeLoader:
    """Builds the tree, or raises RulesError at the first thing that is wrong."""

    def __init__(self, source: SourceMap) -> None:
        self._source = source

    def load(self, document: Value) -> RuleNode:
        """The tree of a whole document: an object with the single member `rules`."""
        if not isinstance(document, Table) or "rules" not in document.members:
            # Inside the braces, where the service points too: it says 1:2 (firebase-tools issue 9008).
            inside = isinstance(document, Table)
            raise self._source.error(_start(document) + inside, "Expected 'rules' property.")
        for name, (text, _) in document.members.items():
            if name != "rules":
                raise self._source.error(text.start - 1, f"Unexpected property '{name}', expected only 'rules'.")
        return self._node(document.members["rules"][1], _Place((), frozenset()))

    def _node(self, value: Value, place: _Place) -> RuleNode:
        if not isinstance(value, Table):
            at = "rules" if not place.path else f"'{place.path[-1]}'"
            raise self._source.error(_start(value), f"Expected {at} to be an object.")
        variable = place.path[-1] if place.path and place.path[-1].startswith("$") else None
        node = RuleNode(variable)
        for name, (text, member) in value.members.items():
            if name.startswith("."):
                self._directive(node, text, member, place)
            else:
                self._child(node, text, member, place)
        node.validates = node.validate is not None or any(child.validates for child in _children(node))
        return node

    def _directive(self, node: RuleNode, name: Text, value: Value, place: _Place) -> None:
        match name.value:
            case ".read":
                node.read = self._rule(name.value, value, place)
            case ".write":
                node.write = self._rule(name.value, value, place)
            case ".validate":
                node.validate = self._rule(name.value, value, place)
            case ".indexOn":
                node.index_on = self._index(value)
            case _:
                known = ", ".join((*_RULES, ".indexOn"))
                raise self._source.error(name.start - 1, f"Unknown property '{name.value}', expected one of {known}.")

    def _rule(self, kind: str, value: Value, place: _Place) -> Rule:
        label = f"{kind} at /{'/'.join(place.path)}"
        if isinstance(value, Literal) and isinstance(value.value, bool):
            answer = value.value
            return Rule(label, lambda _scope: answer)
        if not isinstance(value, Text):
            raise self._source.error(value.start, f"'{kind}' must be true, false or a string.")
        return Rule(label, self._compiled(kind, value, place))

    def _compiled(self, kind: str, text: Text, place: _Place) -> Callable[[Scope], bool]:
        try:
            return Compiler(kind, place.variables).rule(parse_expression(text.value))
        except ExpressionError as error:
            raise self._source.error(text.offset_of(error.offset), error.message) from error
        except RecursionError as error:
            raise self._source.error(text.start, "Expression is nested too deeply.") from error

    def _index(self, value: Value) -> frozenset[str]:
        items = value.items if isinstance(value, Array) else (value,)
        names = []
        for item in items:
            if not isinstance(item, Text):
                raise self._source.error(item.start, "'.indexOn' must be a string or an array of strings.")
            names.append("/".join(part for part in item.value.split("/") if part))
        return frozenset(names)

    def _child(self, node: RuleNode, name: Text, value: Value, place: _Place) -> None:
        key = name.value
        self._check_key(name)
        if not key.startswith("$"):
            node.literals[key] = self._node(value, place.below(key))
            return
        if node.wildcard is not None:
            message = f"'{node.wildcard.variable}' and '{key}' are both wildcards of the same node."
            raise self._source.error(name.start - 1, message)
        if key in place.variables:
            raise self._source.error(name.start - 1, f"'{key}' is already the name of a wildcard above.")
        node.wildcard = self._node(value, place.below(key))

    def _check_key(self, name: Text) -> None:
        key = name.value
        rest = key.removeprefix("$")
        if not rest or _NOT_IN_KEYS & set(rest) or any(char < " " or char == "\x7f" for char in key):
            raise self._source.error(name.start - 1, f"Invalid key '{key}'.")


def _start(value: Value) -> int:
    return value.start - 1 if isinstance(value, Text) else value.start


def _children(node: RuleNode) -> Iterator[RuleNode]:
    yield from node.literals.values()
    if node.wildcard is not None:
        yield node.wildcard
