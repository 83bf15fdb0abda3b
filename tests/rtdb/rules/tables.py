"""Cases as lines of text, so that a table reads like the language it is about.

An expression line is `expression -> outcome`; the outcome is `true`, `false`, `fails` (at run time) or `refused`
(at upload), the last two optionally with a part of the message: `fails: needs strings`.
A request line is `who reads /path -> allowed` or `who writes {"/path": value} -> denied`; a write of several paths
is a multi-path update, and the outcome may end in a part of the reason: `denied: .validate at /a`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from rtdb.rules.world import NOTHING, Given, evaluate, read, write
from rtdb_emulator.rules import Decision, Json, Ruleset
from rtdb_emulator.rules.errors import ExpressionError, RuleFailure

USERS: Mapping[str, Json] = {
    "nobody": None,
    "alice": {"uid": "alice", "provider": "password", "token": {"email": "alice@example.com", "admin": False}},
    "bob": {"uid": "bob", "provider": "password", "token": {"email": "bob@example.com"}},
    "root": {"uid": "root", "provider": "custom", "token": {"admin": True}},
}


@dataclass(frozen=True)
class Expressions:
    """Expression lines that follow from the rule of the language in `because`."""

    because: str
    lines: str
    given: Given = NOTHING


@dataclass(frozen=True)
class Requests:
    """Request lines that follow from the rule in `because`, on one rules file and one tree."""

    because: str
    rules: str
    lines: str
    root: Json = None
    given: Given = field(default=NOTHING)


@dataclass(frozen=True)
class Line:
    """One case: what is asked, the word expected, and a part of the message that goes with it."""

    asked: str
    outcome: str
    message: str
    because: str

    def __str__(self) -> str:
        return self.asked


def _lines(text: str, because: str) -> list[Line]:
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        asked, outcome = line.rsplit(" -> ", 1)
        word, _, message = outcome.partition(":")
        found.append(Line(asked.strip(), word.strip(), message.strip(), because))
    return found


def expression_cases(tables: Sequence[Expressions]) -> pytest.MarkDecorator:
    """Parametrizes a test with (case, given)."""
    rows = [(line, table.given) for table in tables for line in _lines(table.lines, table.because)]
    return pytest.mark.parametrize(("case", "given"), rows, ids=[str(line) for line, _ in rows])


def request_cases(tables: Sequence[Requests]) -> pytest.MarkDecorator:
    """Parametrizes a test with (case, table)."""
    rows = [(line, table) for table in tables for line in _lines(table.lines, table.because)]
    return pytest.mark.parametrize(("case", "table"), rows, ids=[str(line) for line, _ in rows])


def check_expression(case: Line, given: Given) -> None:
    """Fails the test unless the expression comes out as its line says."""
    outcome, message = _outcome(case.asked, given)
    assert outcome == case.outcome, f"{case.because}: got {outcome} {message}"
    assert case.message in message, case.because


def _outcome(expression: str, given: Given) -> tuple[str, str]:
    try:
        return str(evaluate(expression, given)).lower(), ""
    except ExpressionError as error:
        return "refused", error.message
    except RuleFailure as failure:
        return "fails", str(failure)


def check_request(case: Line, table: Requests) -> None:
    """Fails the test unless the request is decided as its line says."""
    decision = decide(case.asked, table)
    assert ("allowed" if decision.allowed else "denied") == case.outcome, f"{case.because}: {decision.reason}"
    assert case.message in decision.reason, case.because


def decide(asked: str, table: Requests) -> Decision:
    """The decision on one request line."""
    who, verb, what = asked.split(" ", 2)
    rules = Ruleset.parse('{"rules":' + table.rules + "}")
    given = replace(table.given, auth=USERS[who], root=table.root)
    if verb == "reads":
        return read(rules, what, given)
    assert verb == "writes", asked
    changes: dict[str, Json] = json.loads(what)
    return write(rules, changes, given)
