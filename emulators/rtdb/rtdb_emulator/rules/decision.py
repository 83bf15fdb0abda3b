"""What is asked of a rule set, and what it answers."""

from dataclasses import dataclass, field

from rtdb_emulator.rules.values import Json, Node, QuerySpec

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """May `auth` read `path` of the tree `root` with this query?"""

    path: Path
    root: Node
    auth: Json
    now_ms: int
    query: QuerySpec | None = None


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """May `auth` turn the tree `before` into `after` by writing at `paths`? Several paths: a multi-path update."""

    paths: tuple[Path, ...]
    before: Node
    after: Node
    auth: Json
    now_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `reason` names the rule that decided, for the debug log; clients are not told.

    `reads_data` is about reads: whether the answer can change while path and auth stay the same, because a rule
    looked at `data`, `root`, `now` or `query`; a listen is then to be checked again after writes.
    """

    allowed: bool
    reason: str = field(compare=False)
    reads_data: bool = False
