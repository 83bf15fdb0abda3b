"""Installs the local model into an environment of its own, and writes the book of models that has it."""

import re
from pathlib import Path

from emulators.suite.install import LOCAL, ROOT, UV, Step, Unable, alone, run_command

HERE = Path(__file__).parent
ENVIRONMENT = LOCAL / "model"
PYTHON = ENVIRONMENT / "bin" / "python"
_REQUIREMENTS = HERE / "requirements.txt"
_BOOK = ROOT / "functions" / "app" / "models" / "catalogue.toml"
_VERSION = re.compile(r'^version = "([^"]*)"$', re.MULTILINE)


def install() -> None:
    """Bring `.local/model` up to date; does nothing when it is. Safe from several processes at once.

    Raises:
        Unable: the packages cannot be had, or there is none for this machine.
    """
    with alone():
        if not STEP.is_done():
            STEP.perform()


def write_book(target: Path) -> None:
    """The project's book of models with the local one behind the others, for MODEL_CATALOGUE."""
    book, count = _VERSION.subn(r'version = "\1-with-smollm2"', _BOOK.read_text(encoding="utf-8"))
    if count != 1:
        raise Unable(f"{_BOOK.relative_to(ROOT)} names no version, or several.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(book + (HERE / "catalogue.toml").read_text(encoding="utf-8"), encoding="utf-8")


def command(port: int) -> list[str]:
    """What starts the server. PYTHONPATH has to name the root of the project."""
    return [str(PYTHON), "-m", "emulators.local_model", "--port", str(port)]


def _install(log: Path) -> None:
    run_command([str(UV), "venv", "--quiet", "--clear", "--python", "3.11", str(ENVIRONMENT)], log)
    wanted = ["--require-hashes", "--no-deps", "-r", str(_REQUIREMENTS)]
    run_command([str(UV), "pip", "install", "--quiet", "--python", str(PYTHON), *wanted], log)


STEP = Step("local-model", "the local model into .local/model (200 MB)", PYTHON, (_REQUIREMENTS,), _install)
