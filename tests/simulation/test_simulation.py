"""The whole backend from a seed, as `app.wiring` builds it. `python -m simulation` runs thousands of them.

What the auditor holds true covers T-1, T-6, T-9, T-11, T-12, T-14, T-20, T-32, T-33, T-36, T-38, T-43, T-44, T-45,
T-46, T-51, T-59, T-67, T-84, T-85, T-86, T-87, T-96, T-102, T-105 and T-107.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.mutants import mutants, out_of_date
from simulation.simulate import STORMS, Scenario, simulate

HERE = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(2 * len(STORMS)))
def test_every_weather_leaves_everything_true(seed: int) -> None:
    verdict = simulate(Scenario.of(seed))
    assert verdict.violations == ()
    assert verdict.steps > 500


def test_a_seed_means_the_same_twice() -> None:
    """In two processes, because the order of a set of strings may differ between them."""
    code = "from simulation.simulate import *; hush(); print(simulate(Scenario.of(3), keep_trace=True))"
    environment = {**os.environ, "PYTHONPATH": f"{HERE}/functions:{HERE}/tests:{HERE}", "PYTHONHASHSEED": "0"}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_every_mutant_can_still_be_planted() -> None:
    """A mutant whose text is no longer in the code would count as killed."""
    assert [why for one in mutants() if (why := out_of_date(one))] == []
    assert len({one.name for one in mutants()}) >= 100
