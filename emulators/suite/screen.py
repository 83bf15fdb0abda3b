"""What a person sees: progress while the suite starts, then one table, then only trouble."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emulators.suite.environment import FunctionVariables, demo_address
from emulators.suite.install import ROOT
from emulators.suite.jars import GOOGLE, Jar
from emulators.suite.places import DATABASE_NAMESPACE, Places, Ports, origin
from emulators.suite.seed import ADMIN, DEMO

_WIDTH = 110
_stdout = Console(highlight=False)
_console = _stdout if _stdout.is_terminal else Console(highlight=False, width=_WIDTH)
_began = time.monotonic()


def begin() -> None:
    """Progress lines count from here."""
    global _began
    _began = time.monotonic()


def tell(line: str) -> None:
    _console.print(f"[dim]{time.monotonic() - _began:5.1f} s[/dim]  {escape(line)}", soft_wrap=True)


def warn(line: str) -> None:
    _console.print(f"[yellow]warning[/yellow]  {escape(line)}", soft_wrap=True)


def fail(line: str) -> None:
    _console.print(f"[red]stopped[/red]  {escape(line)}", soft_wrap=True)


@dataclass(frozen=True)
class _Row:
    service: str
    url: str
    whose: str


def table(places: Places, variables: FunctionVariables, jars: Mapping[str, Jar], *, local_model: bool) -> None:
    """Each service with its address and maker, the users that can sign in, and what to try first."""
    ports = Ports.at(places.offset)
    _console.print()
    rows = _rows(ports, variables, jars)
    if local_model:
        rows.append(_Row("local model", origin(ports.local_model) + "/v1", "real, and very small"))
    _console.print(_services(rows))
    _console.print(f"  sign in as    [bold]{DEMO.email}[/bold]   password  [bold]{DEMO.password}[/bold]")
    _console.print(f"  or, as admin  {ADMIN.email}  password  {ADMIN.password}")
    _console.print(f"  logs in {places.logs.relative_to(ROOT)}/    data in {places.data.relative_to(ROOT)}/\n")
    _console.print("  three things to try next")
    shift = f" PORT_OFFSET={places.offset}" if places.offset else ""
    for number, (action, why) in enumerate(
        (
            (f"make demo{shift}", "a new user spends credits and watches the balance change"),
            (f"{origin(ports.hosting)}/api/v1/docs/swagger", "every route, to call from the browser"),
            (f"curl {demo_address(ports)}/v1/monitoring/health", "is it alive?"),
        ),
        start=1,
    ):
        _console.print(f"  {number}. [bold]{action}[/bold]  [dim]{why}[/dim]", soft_wrap=True)
    _console.print()


def _services(rows: Sequence[_Row]) -> Table:
    grid = Table(title="The suite is running", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("service", "address", "whose"):
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(row.service, row.url, row.whose)
    return grid


def _rows(ports: Ports, variables: FunctionVariables, jars: Mapping[str, Jar]) -> list[_Row]:
    rules = jars["storage"]
    storage = GOOGLE if not rules.is_stand_in else f"{GOOGLE}, rules: stand-in"
    if variables.simulates_models:
        models = _Row("models", origin(ports.models) + "/v1", "ours (simulator)")
    else:
        models = _Row(
            "models", variables.values.get("AI_PLATFORM_BASE_URL", "the vendor's default"), "your vendor, your key"
        )
    return [
        _Row("api", demo_address(ports), "ours"),
        _Row("hosting", origin(ports.hosting), GOOGLE),
        _Row("functions", origin(ports.functions), GOOGLE),
        _Row("auth", origin(ports.auth), GOOGLE),
        _Row("firestore", origin(ports.firestore), jars["firestore"].whose),
        _Row("database", f"{origin(ports.database)}/?ns={DATABASE_NAMESPACE}", jars["database"].whose),
        _Row("storage", origin(ports.storage), storage),
        _Row("tasks", origin(ports.tasks), GOOGLE),
        _Row("eventarc", origin(ports.eventarc), GOOGLE),
        models,
    ]
