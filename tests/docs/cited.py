"""Tests that a document names, found in the tree without running anything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from docs.tables import ROOT

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Cited:
    """`path::Class::test` and what stands at each step of it: the module, the class, the test."""

    name: str
    steps: tuple[Definition, ...]

    @property
    def docstrings(self) -> str:
        """Of the test, of its class and of its module."""
        return "\n".join(filter(None, map(ast.get_docstring, self.steps)))

    @property
    def is_expected_to_fail(self) -> bool:
        """Whether it, or its class, is marked so."""
        marks = (mark for step in self.steps[1:] for mark in getattr(step, "decorator_list", ()))
        return any("xfail" in ast.unparse(mark) for mark in marks)


def names_of_tests(cell: list[str]) -> list[str]:
    """Those of the words between back-ticks that name a test or a file of tests."""
    return [word for word in cell if word.startswith("tests/")]


def find(name: str) -> Cited:
    """The test of that name; parameters are not part of it.

    Raises:
        AssertionError: there is none.
    """
    path, *names = name.split("::")
    file = ROOT / path
    assert file.is_file(), f"there is no {path}"
    step: Definition = ast.parse(file.read_text())
    steps = [step]
    for each in names:
        inner = next((one for one in _inside(step) if one.name == each), None)
        assert inner is not None, f"{name}: there is no {each}"
        step = inner
        steps.append(step)
    assert names or file.name.startswith("test_"), f"{name} is no file of tests"
    return Cited(name, tuple(steps))


def _inside(step: Definition) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for one in step.body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield one
