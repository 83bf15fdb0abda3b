"""How the demo looks: panels that move in a terminal, plain lines anywhere else. Knows nothing of the backend."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_BALANCE_WIDTH = 34
_SIDE_BY_SIDE = 84
_PLAIN_WIDTH = 110


@dataclass
class Scene:
    """One question on its way. The story writes, the screen reads."""

    title: str
    question: str
    way: str
    answer: str = ""
    receipt: str = ""
    began: float = field(default_factory=time.monotonic)
    first_text_s: float = 0.0
    over: bool = False

    def grow(self, answer: str) -> None:
        """More of the answer is known."""
        if answer and not self.answer:
            self.first_text_s = time.monotonic() - self.began
        self.answer = answer


@dataclass(frozen=True)
class Balance:
    """As the listener knows it; texts, because that is what clients get."""

    available: str = "..."
    reserved: str = "0"
    posted: str = "..."
    sequence: str = "-"
    pushes: int = 0


class Screen:
    """Writes to standard output."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self.moves = console.is_terminal and not console.is_dumb_terminal
        self._console = console if self.moves else Console(highlight=False, width=_PLAIN_WIDTH)

    def say(self, markup: str = "") -> None:
        """A line of its own."""
        self._console.print(Padding(Text.from_markup(markup), (0, 2)) if markup else "")

    def show(self, what: RenderableType) -> None:
        """Anything that rich can draw."""
        self._console.print(Padding(what, (0, 2)))

    @contextmanager
    def scene(self, scene: Scene, balance: Callable[[], Balance]) -> Iterator[Callable[[], None]]:
        """Shows a scene while it is played; gives what is to be called after each push."""
        if self.moves:
            with Live(
                console=self._console, refresh_per_second=24, get_renderable=lambda: self._stage(scene, balance())
            ):
                yield lambda: None
        else:
            told = _Told(balance)
            self._console.print(f"  you        {escape(scene.question)}", soft_wrap=True)
            told.note()
            yield told.note
            told.note()
            self._console.print(f"  assistant  {escape(scene.answer)}", soft_wrap=True)
            self._console.print(f"  receipt    {Text.from_markup(scene.receipt).plain}", soft_wrap=True)
            self._console.print(f"  balance    {' -> '.join(told.seen)}", soft_wrap=True)
        self._console.print()

    def _stage(self, scene: Scene, balance: Balance) -> RenderableType:
        talk, purse = self._talk(scene), self._purse(balance)
        if self._console.width < _SIDE_BY_SIDE:
            return Group(talk, purse)
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(width=_BALANCE_WIDTH)
        grid.add_row(talk, purse)
        return Padding(grid, (0, 2))

    def _talk(self, scene: Scene) -> Panel:
        question = Text.assemble(("you  ", "bold cyan"), scene.question)
        answer = Text.assemble(("assistant  ", "bold green"), scene.answer, ("" if scene.over else " ▌", "green"))
        waiting = f"waiting {time.monotonic() - scene.began:.1f} s" if not scene.answer else "streaming"
        below = Text.from_markup(scene.receipt or f"[dim]{scene.way} · {waiting}[/dim]")
        return Panel(
            Group(question, Text(), answer, Text(), below),
            title=f"[bold]{escape(scene.title)}[/bold]",
            title_align="left",
            border_style="green" if scene.over else "cyan",
            box=box.ROUNDED,
        )

    def _purse(self, balance: Balance) -> Panel:
        rows = Table.grid(padding=(0, 2))
        rows.add_column()
        rows.add_column(justify="right")
        rows.add_row("available", f"[bold]{balance.available}[/bold]")
        held = balance.reserved != "0"
        rows.add_row("reserved", f"[yellow]{balance.reserved}[/yellow]" if held else "[dim]0[/dim]")
        rows.add_row("posted", balance.posted)
        rows.add_row("[dim]entries[/dim]", f"[dim]{balance.sequence}[/dim]")
        rows.add_row("[dim]pushed to us[/dim]", f"[dim]{balance.pushes} times[/dim]")
        return Panel(
            rows,
            title="[bold]credits, live[/bold]",
            title_align="left",
            border_style="yellow" if held else "blue",
            box=box.ROUNDED,
        )


class _Told:
    """Collects the balances that were pushed while a scene was played, for a place that cannot draw twice."""

    def __init__(self, balance: Callable[[], Balance]) -> None:
        self._balance = balance
        self.seen: list[str] = []

    def note(self) -> None:
        """Looks again."""
        balance = self._balance()
        held = f" ({balance.reserved} reserved)" if balance.reserved != "0" else ""
        line = f"{balance.available}{held}"
        if not self.seen or self.seen[-1] != line:
            self.seen.append(line)


def table(title: str, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Table:
    """A table; a column is its name and whether it is a number."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, number in columns:
        drawn.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    return drawn


def boxed(markup: str, title: str, colour: str) -> Panel:
    """A message in a frame."""
    return Panel(Text.from_markup(markup), title=f"[bold]{title}[/bold]", title_align="left", border_style=colour)
