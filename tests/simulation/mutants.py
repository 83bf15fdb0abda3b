"""`python -m simulation.mutants`: plants the faults of `planted/*.toml` one at a time and sees whether the simulator
finds them.

A fault of something that the simulated world never does names a unit test that must find it instead. With
`--simulator-only` these tests do not run: the simulator tries every fault, which shows what it finds alone.

A fault is a change of one piece of source text, applied while the module is imported; nothing is written and
production code knows nothing of it. Each runs in a process of its own, over at most 200 seeds, until one of them
fails.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import sys
import time
import tomllib
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

HERE = Path(__file__).parent
SEEDS = 200
DEADLINE_S = 240
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Mutant:
    """One fault: in `module`, `find` becomes `replace`. `trap` says which row of docs/traps.md it stands for."""

    name: str
    trap: str
    module: str
    find: str
    replace: str
    test: str = ""
    """The unit test that must find it, for a fault that the simulator cannot see."""
    survives: str = ""
    """Why the simulator cannot see it, when that is known."""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: the seed that killed it, or None."""

    mutant: Mutant
    seed: int | None
    why: str
    took_s: float


class Planter:
    """Imports the package `app` with one piece of text replaced."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._mutant.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            name, spec.origin, loader=Mutated(name, spec.origin, self._mutant)
        )


class Mutated(SourceFileLoader):
    """A module's source with the fault in it."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str):  # type: ignore[no-untyped-def]  # as the base class, past the cache of compiled code
        return compile(planted(Path(self.path).read_text(), self._mutant), self.path, "exec")


def planted(source: str, mutant: Mutant) -> str:
    """The source with the fault in it.

    Raises:
        LookupError: the mutant's text does not occur exactly once, so the mutant is out of date.
    """
    found = source.count(mutant.find)
    if found != 1:
        raise LookupError(f"mutant {mutant.name}: its text stands {found} times in {mutant.module}")
    return source.replace(mutant.find, mutant.replace)


def mutants(file: str = "*") -> list[Mutant]:
    """All mutants of `planted/*.toml`, file by file, or of one file."""
    texts = (path.read_text() for path in sorted((HERE / "planted").glob(f"{file}.toml")))
    return [Mutant(**fields) for text in texts for fields in tomllib.loads(text)["mutant"]]


def source_of(module: str) -> str:
    """The text of a module of the backend."""
    root = HERE.parents[1] / ("functions" if module.startswith("app.") else "tests")
    return (root / f"{module.replace('.', '/')}.py").read_text()


def out_of_date(mutant: Mutant) -> str:
    """Why a mutant cannot be planted any more; empty when it can."""
    try:
        planted(source_of(mutant.module), mutant)
    except LookupError as error:
        return str(error)
    return ""


def hunt(mutant: Mutant, seeds: int) -> Fate:
    """Runs a mutant's seeds in a process of its own."""
    started = time.monotonic()
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=child, args=(mutant, seeds, sender))
    process.start()
    sender.close()
    seed: int | None = None
    why = "ran out of time"
    try:
        if receiver.poll(DEADLINE_S):
            seed, why = receiver.recv()
    except EOFError:
        seed, why = 0, "broke"
    finally:
        process.kill()
        process.join()
    return Fate(mutant, seed, why, time.monotonic() - started)


def alone(mutant: Mutant) -> Mutant:
    """The same fault, for the simulator to find."""
    return replace(mutant, test="")


def child(mutant: Mutant, seeds: int, sender: "Connection[tuple[int | None, str], object]") -> None:
    """In the process of one mutant: sends the seed (0 for a unit test) that killed it and how, or None."""
    sys.meta_path.insert(0, Planter(mutant))
    if mutant.test:
        # A test runner writes what nobody reads here.
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            found = fails(mutant.test)
        sender.send((0, f"found by {mutant.test}") if found else (None, ""))
        return
    try:
        from simulation.simulate import Scenario, hush, simulate

        hush()
        for seed in range(seeds):
            if violations := simulate(Scenario.of(seed)).violations:
                sender.send((seed, violations[0]))
                return
    except Exception as error:  # noqa: BLE001 - a mutant may break anything
        sender.send((0, f"broke: {type(error).__name__}: {error}"))
    else:
        sender.send((None, ""))


def load_libraries() -> None:
    """Imports what the backend stands on, once for all mutants, and nothing of the backend itself."""
    import firebase_functions.https_fn
    import flask_openapi
    import google.cloud.firestore_v1.services.firestore
    import greenlet  # type: ignore[import-untyped]  # its stubs are no dependency of ours
    import h11
    import structlog

    assert all((firebase_functions.https_fn, flask_openapi, google.cloud, greenlet, h11, structlog))
    assert not any(name == "app" or name.startswith("app.") for name in sys.modules)


def fails(test: str) -> bool:
    """Whether a unit test fails in this process, in which a fault is planted."""
    import pytest

    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", test]) is pytest.ExitCode.TESTS_FAILED


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # As for the simulation itself: a seed must mean the same in every process.
        command = [sys.executable, "-m", "simulation.mutants", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    parser = argparse.ArgumentParser(prog="simulation.mutants", description=__doc__)
    parser.add_argument("--only", help="the mutants whose names contain this")
    parser.add_argument("--file", help="the mutants of this file of planted/, without .toml")
    parser.add_argument("--simulator-only", action="store_true", help="no unit tests: the simulator tries all mutants")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    chosen = parser.parse_args()
    wanted = [one for one in mutants(chosen.file or "*") if not chosen.only or chosen.only in one.name]
    named = {one.name for one in wanted if one.test}
    wanted = [alone(one) for one in wanted] if chosen.simulator_only else wanted
    load_libraries()
    stale = [why for one in wanted if (why := out_of_date(one))]
    fates: list[Fate] = []
    with ThreadPoolExecutor(chosen.processes) as pool:
        for fate in pool.map(partial(hunt, seeds=chosen.seeds), [one for one in wanted if not out_of_date(one)]):
            fates.append(fate)
            say(_line(fate))
    for why in stale:
        say(f"OUT OF DATE {why}")
    return 0 if summed_up(fates, named) and not stale else 1


def summed_up(fates: Sequence[Fate], named: Set[str]) -> bool:
    """Prints the kill rates of the simulator alone and with unit tests; whether the second is enough.

    `named`: mutants that name a unit test. Where the simulator was to find them alone, that test counts unseen.
    """
    alone = sum(fate.seed is not None and not fate.mutant.test for fate in fates)
    together = [fate for fate in fates if fate.seed is not None or (fate.mutant.name in named and not fate.mutant.test)]
    left = [fate for fate in fates if fate not in together]
    for fate in left:
        say(f"survivor {fate.mutant.name}: {fate.mutant.survives or 'NOT EXPLAINED'}")
    tried = sum(not fate.mutant.test for fate in fates)
    say(f"by the simulator alone: {_rate(alone, len(fates))}, of {tried} that it tried")
    say(f"with the unit tests that mutants name: {_rate(len(together), len(fates))}")
    return len(together) >= 0.95 * len(fates) and all(fate.mutant.survives for fate in left)


def _rate(killed: int, of: int) -> str:
    return f"{killed} of {of} killed: {100 * killed / max(1, of):.1f} %"


def _line(fate: Fate) -> str:
    verdict = "SURVIVED" if fate.seed is None else f"killed by seed {fate.seed}"
    return f"{verdict:22} {fate.took_s:5.1f} s  {fate.mutant.name:36} {fate.mutant.trap:12} {fate.why[:110]}"


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
