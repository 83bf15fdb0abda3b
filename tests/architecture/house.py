"""The house limits of docs and of pyproject.toml's [tool.house], as functions that name each breach."""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ROOT / "functions"
_BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")
_SKIPPED = {"venv", "node_modules", "__pycache__"}


@dataclass(frozen=True)
class House:
    """The limits, and the breaches that existed when a limit was made: that list only ever shrinks."""

    file_lines: int
    function_lines: int
    banned_outside_kit: tuple[str, ...]
    heavy_sdks: tuple[str, ...]
    start_up: tuple[str, ...]
    adapters: tuple[str, ...]
    ratchet: tuple[str, ...]

    @classmethod
    def read(cls) -> "House":
        table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["house"]
        return cls(
            file_lines=table["file_lines"],
            function_lines=table["function_lines"],
            banned_outside_kit=tuple(table["banned_outside_kit"]),
            heavy_sdks=tuple(table["heavy_sdks"]),
            start_up=tuple(table["start_up"]),
            adapters=tuple(table["adapters"]),
            ratchet=tuple(table["ratchet"]),
        )


@dataclass(frozen=True)
class Source:
    """One Python file, read and parsed."""

    path: str
    text: str
    tree: ast.Module

    @property
    def in_product(self) -> bool:
        return self.path.startswith("functions/")

    @property
    def in_kit(self) -> bool:
        return self.path.startswith("functions/app/kit/")


def sources() -> Iterator[Source]:
    """Every Python file of the project, in order of its path."""
    for folder in ("functions", "emulators", "tests", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not _SKIPPED & set(path.relative_to(ROOT).parts):
                text = path.read_text()
                yield Source(str(path.relative_to(ROOT)), text, ast.parse(text, filename=str(path)))


def breaches(house: House, source: Source) -> Iterator[str]:
    """A sentence per breach, starting with its place, `path:line` or `path:function`."""
    yield from too_long(house, source)
    yield from bare_ignores(source)
    yield from relative_imports(source)
    yield from patches(source)
    if source.in_product:
        yield from prints(source)
        yield from heavy_imports(house, source)
        if not source.in_kit and source.path not in house.start_up:
            yield from impure_calls(house, source)


def too_long(house: House, source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > house.file_lines:
        yield f"{source.path}: {lines} lines; split it, {house.file_lines} is the limit"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > house.function_lines:
                yield f"{source.path}:{node.name}: {length} lines; {house.function_lines} is the limit"


def bare_ignores(source: Source) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and _BARE_IGNORE.search(token.string):
            yield f"{source.path}:{token.start[0]}: a bare `type: ignore`; name the error in brackets"


def relative_imports(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{source.path}:{node.lineno}: a relative import"


def patches(source: Source) -> Iterator[str]:
    """Uses of unittest.mock's patching: it pins the structure of what is tested."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="mock"), attr="patch"):
                yield f"{source.path}:{node.lineno}: mock.patch; build the world that you need instead"
            case ast.ImportFrom(module="unittest.mock" | "mock", names=names) if any(n.name == "patch" for n in names):
                yield f"{source.path}:{node.lineno}: imports mock's patch"


def prints(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{source.path}:{node.lineno}: print; log through app.kit.telemetry"


def impure_calls(house: House, source: Source) -> Iterator[str]:
    """Clock, id, chance and environment come as arguments; only `kit` touches the real ones."""
    imported = _imported_names(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = _dotted(node, imported)
            if name in house.banned_outside_kit or name.split(".")[0] in house.banned_outside_kit:
                yield f"{source.path}:{node.lineno}: {name}; take it as an argument, kit has the real one"


def heavy_imports(house: House, source: Source) -> Iterator[str]:
    """Heavy SDKs are imported inside the function that builds the client: a cold start must not pay for them."""
    if source.path in house.adapters:
        return
    for node in source.tree.body:
        for name in _modules(node):
            if any(name == sdk or name.startswith(sdk + ".") for sdk in house.heavy_sdks):
                yield f"{source.path}:{node.lineno}: imports {name} at the top"


def _modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> the dotted name that it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(node: ast.expr, imported: dict[str, str]) -> str:
    """`now` after `from time import time as now` is `time.time`; a name that is not imported is nothing."""
    if isinstance(node, ast.Attribute):
        left = _dotted(node.value, imported)
        return f"{left}.{node.attr}" if left else ""
    return imported.get(node.id, "") if isinstance(node, ast.Name) else ""
