"""A small flood of operations; the large one is `bench/orchestration.py`."""

from simulation.flood import flood
from simulation.simulate import hush


def test_a_deep_queue_loses_none_and_doubles_none() -> None:
    hush()
    found = flood(1, 500)
    assert (found.accepted, found.lost, found.twice) == (500, 0, 0)
    assert found.deepest > 250
    assert len(found.waited_us) == 500
