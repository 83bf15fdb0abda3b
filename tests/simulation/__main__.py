"""`python -m simulation --seeds 1000`: runs seeds, prints how fast, and for a failure the seed and its shortest
trace.
"""

import argparse
import multiprocessing
import os
import sys
import time


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of strings depends on the hash seed; a seed must run the same in every process.
        os.execve(
            sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one alone, with its trace when it fails")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    chosen = parser.parse_args()
    seeds = [chosen.seed] if chosen.seed is not None else range(chosen.first, chosen.first + chosen.seeds)
    started = time.monotonic()
    failed: list[tuple[int, list[str]]] = []
    steps = done = 0
    with multiprocessing.get_context("fork").Pool(chosen.processes) as pool:
        for seed, violations, count in pool.imap_unordered(one, seeds, chunksize=4):
            done += 1
            steps += count
            if violations:
                failed.append((seed, violations))
                say(f"seed {seed} FAILED: {violations[0]}")
                if len(failed) >= 20:
                    break
    took = time.monotonic() - started
    say(f"{done} seeds, {steps} steps in {took:.1f} s: {60 * done / took:.0f} seeds a minute; {len(failed)} failed")
    if failed:
        explain(min(failed)[0])
    return 1 if failed else 0


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def one(seed: int) -> tuple[int, list[str], int]:
    """Runs one seed in a worker process. Returns the seed, its violations and its steps."""
    from simulation.simulate import Scenario, hush, simulate

    hush()
    verdict = simulate(Scenario.of(seed))
    return seed, list(verdict.violations), verdict.steps


def explain(seed: int) -> None:
    """Prints the shortest failing trace of a seed."""
    from simulation.simulate import Scenario, hush, shrink

    hush()

    verdict = shrink(Scenario.of(seed))
    say(f"\nseed {seed}, shrunk to {verdict.scenario}")
    for line in verdict.trace[-400:]:
        say(line)
    for violation in verdict.violations:
        say(f"VIOLATION {violation}")
    say(f"again: python -m simulation --seed {seed}")


if __name__ == "__main__":
    sys.exit(main())
