"""`python -m rtdb_emulator.rules check FILE...` says whether rules files can be installed.

Prints `FILE: ok` or `FILE:line:column: message`; exit code 1 if a file is refused, 2 if it cannot be read.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from rtdb_emulator.rules.errors import RulesError
from rtdb_emulator.rules.ruleset import Ruleset


def check(path: Path) -> int:
    """Checks one file; returns the exit code."""
    try:
        Ruleset.parse(path.read_text(encoding="utf-8"))
    except RulesError as error:
        print(f"{path}:{error}")
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    print(f"{path}: ok")
    return 0


def main(arguments: list[str]) -> int:
    """The command; returns the worst exit code of all files."""
    parser = ArgumentParser(prog="python -m rtdb_emulator.rules")
    commands = parser.add_subparsers(required=True)
    checking = commands.add_parser("check", help="check rules files")
    checking.add_argument("files", nargs="+", type=Path)
    return max(check(path) for path in parser.parse_args(arguments).files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
