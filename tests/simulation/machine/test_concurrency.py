"""Greenlets wait for signals, tasks and time as threads do."""

import pytest

from simulation.machine.concurrency import Greenlets
from simulation.machine.kernel import Instance, Kernel


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(0)


@pytest.fixture
def greenlets(kernel: Kernel) -> Greenlets:
    return Greenlets(kernel, Instance(0))


def finish(kernel: Kernel) -> int:
    """Runs for a minute; how long that took."""
    began_us = kernel.now_us
    kernel.run(began_us + 60_000_000)
    return kernel.now_us - began_us


class TestASignal:
    def test_lets_go_whoever_waits(self, kernel: Kernel, greenlets: Greenlets) -> None:
        signal, heard = greenlets.signal(), list[bool]()
        greenlets.start("waits", lambda: heard.append(signal.wait()))
        greenlets.start("waits", lambda: heard.append(signal.wait(30)))
        kernel.after(10_000_000, signal.set)
        finish(kernel)
        assert heard == [True, True]

    def test_is_waited_for_no_longer_than_was_said(self, kernel: Kernel, greenlets: Greenlets) -> None:
        ended: list[tuple[bool, int]] = []
        began_us, signal = kernel.now_us, greenlets.signal()
        greenlets.start("waits", lambda: ended.append((signal.wait(2), kernel.now_us - began_us)))
        finish(kernel)
        ((heard, took_us),) = ended
        assert not heard
        assert 2_000_000 <= took_us < 2_100_000

    def test_that_is_cleared_at_once_was_heard_all_the_same(self, kernel: Kernel, greenlets: Greenlets) -> None:
        signal, heard = greenlets.signal(), list[bool]()
        greenlets.start("waits", lambda: heard.append(signal.wait(30)))

        def flash() -> None:
            signal.set()
            signal.clear()

        kernel.after(1_000_000, flash)
        finish(kernel)
        assert heard == [True]
        assert not signal.is_set()


class TestATask:
    def test_is_joined_at_its_end(self, kernel: Kernel, greenlets: Greenlets) -> None:
        seen: list[str] = []

        def work() -> None:
            greenlets.sleep_us(5_000_000)
            seen.append("worked")

        def wait() -> None:
            greenlets.start("works", work).join()
            seen.append("joined")

        greenlets.start("waits", wait)
        finish(kernel)
        assert seen == ["worked", "joined"]

    def test_dies_with_its_instance(self, kernel: Kernel, greenlets: Greenlets) -> None:
        seen: list[str] = []

        def work() -> None:
            greenlets.sleep_us(5_000_000)
            seen.append("outlived")

        def die() -> None:
            assert kernel.current is not None
            kernel.crash(kernel.current)

        greenlets.start("works", work)
        greenlets.start("dies", die)
        finish(kernel)
        assert seen == []
