"""What functions/ imports against what pyproject.toml deploys: nothing is missing, nothing is deployed for nothing."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

_OURS = {"app", "main"}
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Dependencies:
    """The packages that are deployed.

    declared: package -> its line in pyproject.toml.
    not_imported: those that are needed without an import, as [tool.house.not_imported] explains.
    providers: importable module -> the installed package that it comes from.
    """

    declared: Mapping[str, int]
    not_imported: frozenset[str]
    providers: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> "Dependencies":
        text = (root / "pyproject.toml").read_text()
        table = tomllib.loads(text)
        declared = {_normal(_name(each)): _line_of(each, text) for each in table["project"]["dependencies"]}
        return cls(declared, frozenset(table["tool"]["house"]["not_imported"]), _providers())

    def breaches(self, files: Mapping[str, Iterable[ast.AST]]) -> Iterator[str]:
        """A sentence per breach, starting with its place. `files`: path -> the nodes of its syntax tree."""
        imported: set[str | None] = set()
        for path, nodes in files.items():
            for line, module in runtime_imports(nodes):
                package = self._provider(module)
                imported.add(package)
                if package is None:
                    yield f"{path}:{line}: imports {module}, which no installed package provides"
                elif package not in self.declared:
                    yield f"{path}:{line}: imports {module} of {package}, which pyproject.toml does not deploy"
        for package, line in self.declared.items():
            if package not in imported | self.not_imported:
                yield f"pyproject.toml:{line}: {package} is deployed, and nothing in functions/ imports it; take it out"
        for package in sorted(self.not_imported):
            if package in imported or package not in self.declared:
                yield f"pyproject.toml:{self.declared.get(package, 1)}: not_imported need not explain {package}"

    def _provider(self, module: str) -> str | None:
        """The package that owns the longest known beginning of a dotted name; `google` alone belongs to many."""
        parts = module.split(".")
        names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.providers[name] for name in names if name in self.providers), None)


def runtime_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import of somebody else's code, late ones too, except those for type checkers."""
    nodes = tuple(nodes)
    for_types = {id(inner) for node in nodes if _is_for_types(node) for inner in ast.walk(node)}
    for node in nodes:
        if id(node) not in for_types:
            for name in _imported(node):
                if name.partition(".")[0] not in _OURS | sys.stdlib_module_names:
                    yield getattr(node, "lineno", 1), name


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _providers() -> dict[str, str]:
    found = {}
    for distribution in distributions():
        package = _normal(distribution.metadata["Name"])
        for line in (distribution.read_text("RECORD") or "").splitlines():
            path = line.partition(",")[0]
            if path.endswith(".py"):
                found[path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = package
    return found


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    assert match is not None, f"{requirement!r} names no package"
    return match[0]


def _normal(name: str) -> str:
    """As packages are compared: https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def _line_of(requirement: str, text: str) -> int:
    return text[: text.index(f'"{requirement}"')].count("\n") + 1
