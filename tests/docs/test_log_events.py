"""Log events are one language: literal words in snake_case, each of them in the table of docs/operate.md."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from architecture.house import sources
from docs.tables import code, table

LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
SNAKE_CASE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def logged() -> Iterator[tuple[str, ast.expr | None]]:
    """Every call of a logger in functions/: where it stands, and its first argument."""
    for source in sources():
        if source.in_product:
            for call in ast.walk(source.tree):
                if isinstance(call, ast.Call) and _is_of_a_logger(call.func):
                    yield f"{source.path}:{call.lineno}", call.args[0] if call.args else None


def _is_of_a_logger(called: ast.expr) -> bool:
    """`_log.info`, `log.info` or `telemetry.log("area").info`."""
    if not isinstance(called, ast.Attribute) or called.attr not in LEVELS:
        return False
    return re.fullmatch(r"_?log|telemetry\.log\(.*\)|log\(.*\)", ast.unparse(called.value)) is not None


def events() -> dict[str, str]:
    """Where each literal event is logged."""
    found = {}
    for place, event in logged():
        if isinstance(event, ast.Constant) and isinstance(event.value, str):
            found[event.value] = place
    return found


def test_every_event_is_a_literal() -> None:
    places = [place for place, event in logged() if not isinstance(event, ast.Constant)]
    assert places == []
    assert len(events()) > 20, "the loggers are not found any more"


def test_every_event_is_snake_case() -> None:
    assert {event: place for event, place in events().items() if not SNAKE_CASE.fullmatch(event)} == {}


def test_every_event_is_listed_and_every_listed_one_is_logged() -> None:
    listed = [code(row["Event"])[0] for row in table("docs/operate.md", "Logs")]
    assert sorted(listed) == sorted(events())
