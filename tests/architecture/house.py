"""The house limits of pyproject.toml's [tool.house], as functions that name each breach.

`make check` runs this module and tests/architecture tries each limit; every file is read and parsed once.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from architecture.dependencies import Dependencies

ROOT = Path(__file__).resolve().parents[2]
_BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")
_SKIPPED = {"venv", "node_modules", "__pycache__"}


@dataclass(frozen=True)
class House:
    """The limits, and the breaches that existed when a limit was made: that list only ever shrinks."""

    file_lines: int
    file_lines_elsewhere: int
    folder_files: int
    function_lines: int
    parameters: int
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
            file_lines_elsewhere=table["file_lines_elsewhere"],
            folder_files=table["folder_files"],
            function_lines=table["function_lines"],
            parameters=table["parameters"],
            banned_outside_kit=tuple(table["banned_outside_kit"]),
            heavy_sdks=tuple(table["heavy_sdks"]),
            start_up=tuple(table["start_up"]),
            adapters=tuple(table["adapters"]),
            ratchet=tuple(table["ratchet"]),
        )


@dataclass(frozen=True)
class Source:
    """One Python file, read and parsed. `nodes` are all nodes of its syntax tree."""

    path: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    @classmethod
    def of(cls, path: str, text: str) -> "Source":
        tree = ast.parse(text, filename=path)
        return cls(path, text, tree, tuple(ast.walk(tree)))

    @property
    def in_product(self) -> bool:
        return self.path.startswith("functions/")

    @property
    def in_tests(self) -> bool:
        return self.path.startswith("tests/")

    @property
    def in_kit(self) -> bool:
        return self.path.startswith("functions/app/kit/")


def sources() -> Iterator[Source]:
    """Every Python file of the project, in order of its path."""
    for folder in ("functions", "emulators", "tests", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not _SKIPPED & set(path.relative_to(ROOT).parts):
                yield Source.of(str(path.relative_to(ROOT)), path.read_text())


def report() -> list[str]:
    """Every breach in the project that the ratchet does not excuse, and what the ratchet excuses for nothing."""
    house, project = House.read(), list(sources())
    product = [source for source in project if source.in_product]
    found = [breach for source in project for breach in breaches(house, source)]
    found += crowded_folders(house, (source.path for source in product))
    found += Dependencies.read(ROOT).breaches({source.path: source.nodes for source in product})
    return [*unexcused(house, found), *idle_ratchet(house, found)]


def unexcused(house: House, found: Iterable[str]) -> list[str]:
    return [breach for breach in found if not house.ratchet or not breach.startswith(house.ratchet)]


def idle_ratchet(house: House, found: Iterable[str]) -> list[str]:
    """The ratchet's entries that no breach begins with any more."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    idle = [known for known in house.ratchet if not any(breach.startswith(known) for breach in found)]
    numbers = {known: number for number, line in enumerate(lines, start=1) for known in idle if f'"{known}"' in line}
    return [f"pyproject.toml:{numbers.get(known, 1)}: the ratchet's {known} is healed; take it out" for known in idle]


def breaches(house: House, source: Source) -> Iterator[str]:
    """The breaches of one file: a sentence each, starting with its place, `path:line`."""
    yield from too_long(house, source)
    yield from bare_ignores(source)
    yield from relative_imports(source)
    yield from patches(source)
    if not source.in_tests:
        yield from too_many_parameters(house, source)
    if source.in_product:
        yield from prints(source)
        yield from heavy_imports(house, source)
        if not source.in_kit and source.path not in house.start_up:
            yield from impure_calls(house, source)


def crowded_folders(house: House, paths: Iterable[str]) -> Iterator[str]:
    """Folders with too many Python files; `__init__.py` is not counted."""
    files = [PurePosixPath(path) for path in paths]
    folders = Counter(str(file.parent) for file in files if file.name != "__init__.py")
    for folder, count in sorted(folders.items()):
        if count > house.folder_files:
            yield f"{folder}/__init__.py:1: {count} files beside it; {house.folder_files} is the limit"


def too_long(house: House, source: Source) -> Iterator[str]:
    limit = house.file_lines if source.in_product else house.file_lines_elsewhere
    lines = source.text.count("\n")
    if lines > limit:
        yield f"{source.path}:{limit + 1}: {lines} lines; split the file, {limit} is the limit"
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length, limit = (node.end_lineno or node.lineno) - node.lineno + 1, house.function_lines
            if length > limit:
                yield f"{source.path}:{node.lineno}: {node.name} has {length} lines; {limit} is the limit"


def too_many_parameters(house: House, source: Source) -> Iterator[str]:
    """Functions and methods with too many parameters. Constructors are not counted: wiring calls them by keyword."""
    methods = {id(each) for node in source.nodes if isinstance(node, ast.ClassDef) for each in node.body}
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bound = id(node) in methods and not any(map(_is_staticmethod, node.decorator_list))
            count, limit = len(given) - bound, house.parameters
            if count > limit:
                yield f"{source.path}:{node.lineno}: {node.name} has {count} parameters; {limit} is the limit"


def _is_staticmethod(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "staticmethod"


def bare_ignores(source: Source) -> Iterator[str]:
    if not _BARE_IGNORE.search(source.text):
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and _BARE_IGNORE.search(token.string):
            yield f"{source.path}:{token.start[0]}: a bare `type: ignore`; name the error in brackets"


def relative_imports(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{source.path}:{node.lineno}: a relative import"


def patches(source: Source) -> Iterator[str]:
    """Uses of unittest.mock's patching: it pins the structure of what is tested."""
    for node in source.nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="mock"), attr="patch"):
                yield f"{source.path}:{node.lineno}: mock.patch; build the world that you need instead"
            case ast.ImportFrom(module="unittest.mock" | "mock", names=names) if any(n.name == "patch" for n in names):
                yield f"{source.path}:{node.lineno}: imports mock's patch"


def prints(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{source.path}:{node.lineno}: print; log through app.kit.telemetry"


def impure_calls(house: House, source: Source) -> Iterator[str]:
    """Clock, id, chance and environment come as arguments; only `kit` touches the real ones."""
    imported = _imported_names(source)
    for node in source.nodes:
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


def _imported_names(source: Source) -> dict[str, str]:
    """Local name -> the dotted name that it stands for."""
    names: dict[str, str] = {}
    for node in source.nodes:
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


if __name__ == "__main__":
    sys.exit("\n".join(report()) or 0)
