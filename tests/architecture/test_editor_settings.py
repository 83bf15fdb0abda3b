"""Editors resolve imports from the same roots as pytest and mypy."""

import json
import tomllib

from architecture.house import ROOT


def test_import_roots_are_the_same_everywhere() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    roots = [*settings["python.analysis.extraPaths"], "."]
    assert roots == tool["pytest"]["ini_options"]["pythonpath"] == tool["mypy"]["mypy_path"]
