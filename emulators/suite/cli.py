"""The command line of the suite: reads arguments, turns `Unable` into its sentence and exit code 1."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from emulators.local_model import installation as local_model
from emulators.suite import screen
from emulators.suite.chromium import ensure_chromium
from emulators.suite.doctor import examine
from emulators.suite.install import LOCAL, ROOT, Unable, install
from emulators.suite.jars import JARS, find_jars
from emulators.suite.launcher import run, stop_running
from emulators.suite.places import LARGEST_OFFSET
from emulators.suite.plan import Options

_TRIED = JARS / ".downloads-tried"


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        chosen = _parser().parse_args(arguments)
        return int(chosen.command(chosen))
    except Unable as problem:
        screen.fail(str(problem))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.suite", description="The local suite, in one command each."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    setup = commands.add_parser("setup", help="install what is missing; does nothing when all is there")
    setup.add_argument("--retry-downloads", action="store_true", help="try Google's emulator jars again")
    setup.set_defaults(command=_setup)
    running = commands.add_parser("run", help="start everything, print one table, stop on Ctrl-C")
    _add_offset(running)
    running.add_argument("--fresh", action="store_true", help="forget the data of earlier runs")
    running.add_argument("--model", choices=["local"], help="serve a small real model beside the simulator")
    running.add_argument(
        "--for-tests", action="store_true", help="no demo users, no schedules, no keys of yours, nothing kept"
    )
    running.add_argument("--no-reload", action="store_true", help="do not watch the functions' source")
    running.add_argument("--owner", type=int, metavar="PID", help="stop when this process ends")
    running.add_argument("--announce", type=Path, metavar="FILE", help="write the suite's state there, as JSON")
    running.set_defaults(command=_run)
    stop = commands.add_parser("stop", help="stop the suite of this checkout, keeping its data")
    _add_offset(stop)
    stop.set_defaults(command=_stop)
    test = commands.add_parser("test", help="set up and run all tests, starting a suite of their own")
    test.add_argument("pytest", nargs=argparse.REMAINDER, help="arguments for pytest, after --")
    test.set_defaults(command=_test)
    doctor = commands.add_parser("doctor", help="say what is found and what is missing")
    _add_offset(doctor)
    doctor.set_defaults(command=_doctor)
    return parser


def _add_offset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port-offset",
        type=_offset,
        default=os.environ.get("PORT_OFFSET") or "0",
        metavar="N",
        help="add N to every port, or `auto` for a free one (default: $PORT_OFFSET, else 0)",
    )


def _offset(text: str) -> int | None:
    """The offset that `text` names, None for a free one. Raises `Unable`."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > LARGEST_OFFSET:
        raise Unable(f"PORT_OFFSET is a number from 0 to {LARGEST_OFFSET}, or `auto` for a free one, and not {text!r}.")
    return int(text)


def _setup(chosen: argparse.Namespace) -> int:
    install()
    # A download that failed once is not tried at every start: offline, each attempt costs seconds.
    try_downloads = chosen.retry_downloads or not _TRIED.exists()
    find_jars(download=try_downloads)
    _TRIED.touch()
    return 0


def _run(chosen: argparse.Namespace) -> int:
    run(
        Options(
            offset=chosen.port_offset,
            fresh=chosen.fresh or chosen.for_tests,
            lasting=not chosen.for_tests,
            users_own=not chosen.for_tests,
            local_model=chosen.model == "local",
            schedules=not chosen.for_tests,
            reload=not chosen.no_reload,
            owner=chosen.owner,
            announce=chosen.announce,
        )
    )
    return 0


def _stop(chosen: argparse.Namespace) -> int:
    stop_running(chosen.port_offset or 0)
    return 0


def _test(chosen: argparse.Namespace) -> int:
    _setup(argparse.Namespace(retry_downloads=False))
    ensure_chromium()
    local_model.install()
    given = chosen.pytest[1:] if chosen.pytest[:1] == ["--"] else chosen.pytest
    # One worker has the tests that need the suite, the other all the rest.
    command = [sys.executable, "-m", "pytest", "-n", "2", *given]
    return subprocess.call(command, cwd=ROOT, stdin=subprocess.DEVNULL)


def _doctor(chosen: argparse.Namespace) -> int:
    LOCAL.mkdir(exist_ok=True)
    findings = examine(chosen.port_offset or 0)
    for fine, name, found in findings:
        print(f"{'ok     ' if fine else 'MISSING'}  {name:20} {found}")
    return 0 if all(fine for fine, _, _ in findings) else 1
