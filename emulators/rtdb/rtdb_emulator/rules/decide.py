"""Walks the rules tree for one request.

Reads and writes: from the root down to the location, the first true `.read` or `.write` grants, nothing revokes.
Writes must also pass every `.validate` on that way and in the written subtree, wherever something will be stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rtdb_emulator.rules.decision import Decision, Path, ReadRequest, WriteRequest
from rtdb_emulator.rules.snapshot import Snapshot
from rtdb_emulator.rules.tree import Rule, RuleNode
from rtdb_emulator.rules.typed import Scope


@dataclass(slots=True)
class _Step:
    """One location on the way down: its rules, and what is stored there before and after.

    Not frozen only because building one is most of what a decision costs.
    """

    rules: RuleNode
    before: Snapshot
    after: Snapshot
    names: dict[str, str]

    def down(self, key: str) -> "_Step | None":
        rules = self.rules.match(key)
        if rules is None:
            return None
        names = {**self.names, rules.variable: key} if rules.variable else self.names
        return _Step(rules, self.before.step(key), self.after.step(key), names)


def decide_read(rules: RuleNode, request: ReadRequest) -> Decision:
    """Whether a read is allowed."""
    root = Snapshot(request.root)
    scope = Scope(request.auth, request.now_ms, root, root, {}, query=request.query)
    reasons: list[str] = []
    consulted = False
    for step in _way(_Step(rules, root, root, {}), request.path):
        rule = step.rules.read
        if rule is None:
            continue
        scope.consulted = False
        reason = _verdict(rule, step, scope)
        if reason is None:
            # What the rules above looked at no longer matters: this one grants whatever they say.
            return Decision(True, f"{rule.label} was true", scope.consulted)
        consulted = consulted or scope.consulted
        reasons.append(reason)
    return Decision(False, _refusal(".read", request.path, reasons), consulted)


def decide_write(rules: RuleNode, request: WriteRequest) -> Decision:
    """Whether a write is allowed, at every one of its paths."""
    before, after = Snapshot(request.before), Snapshot(request.after)
    scope = Scope(request.auth, request.now_ms, before, before, {}, new_data=after)
    top = _Step(rules, before, after, {})
    passed: set[Path] = set()
    granted = "an update without paths writes nothing"
    for path in request.paths:
        grant = _grant(top, path, scope)
        if not grant.allowed:
            return grant
        granted = grant.reason
        refusal = _invalid(top, path, scope, passed)
        if refusal is not None:
            return Decision(False, refusal)
    return Decision(True, granted)


def _way(step: _Step | None, path: Path) -> Iterator[_Step]:
    """The locations from the root to `path`, as far as there are rules."""
    keys = iter(path)
    while step is not None:
        yield step
        key = next(keys, None)
        step = None if key is None else step.down(key)


def _verdict(rule: Rule, step: _Step, scope: Scope) -> str | None:
    scope.data, scope.new_data, scope.names = step.before, step.after, step.names
    return rule.verdict(scope)


def _grant(top: _Step, path: Path, scope: Scope) -> Decision:
    reasons: list[str] = []
    for step in _way(top, path):
        rule = step.rules.write
        if rule is None:
            continue
        reason = _verdict(rule, step, scope)
        if reason is None:
            return Decision(True, f"{rule.label} was true")
        reasons.append(reason)
    return Decision(False, _refusal(".write", path, reasons))


def _invalid(top: _Step, path: Path, scope: Scope, passed: set[Path]) -> str | None:
    """Why a `.validate` refuses the new data, None if none does. `passed` spares the paths of an update
    the repetition of what they have in common."""
    depth = 0
    for depth, step in enumerate(_way(top, path)):
        if path[:depth] not in passed:
            reason = _check(step, scope)
            if reason is not None:
                return reason
            passed.add(path[:depth])
        last = step
    return _invalid_below(last, scope) if depth == len(path) else None


def _invalid_below(written: _Step, scope: Scope) -> str | None:
    """Checks everything below a written location, without recursion."""
    waiting = [written]
    while waiting:
        place = waiting.pop()
        for step in _validated_children(place):
            reason = _check(step, scope)
            if reason is not None:
                return reason
            waiting.append(step)
    return None


def _check(step: _Step, scope: Scope) -> str | None:
    rule = step.rules.validate
    if rule is None or not step.after.exists():
        return None
    return _verdict(rule, step, scope)


def _validated_children(place: _Step) -> Iterator[_Step]:
    """The stored children below which something is validated."""
    if not place.rules.validates:
        return
    wildcard = place.rules.wildcard
    keys = place.after.keys() if wildcard is not None and wildcard.validates else place.rules.literals
    for key in keys:
        step = place.down(key)
        if step is not None and step.rules.validates and step.after.exists():
            yield step


def _refusal(kind: str, path: Path, reasons: list[str]) -> str:
    return "; ".join(reasons) or f"no {kind} rule on the way to /{'/'.join(path)}"
