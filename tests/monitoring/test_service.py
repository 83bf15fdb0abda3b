"""The verdict on the dependencies."""

import threading
from collections.abc import Callable

import pytest

from app.kit.errors import Unavailable
from app.monitoring.service import FRESH_US, Monitoring
from app.ports import Dependency
from support.clock import ManualClock


def fine() -> None:
    return


def down() -> None:
    raise Unavailable("no connection")


def broken() -> None:
    raise RuntimeError("secret")


class Counted:
    """A probe that counts its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1


def monitoring(*dependencies: tuple[str, bool, Callable[[], None]], clock: ManualClock | None = None) -> Monitoring:
    return Monitoring(tuple(Dependency(*each) for each in dependencies), clock or ManualClock())


class TestTheVerdict:
    @pytest.mark.parametrize(
        ("store", "vendor", "verdict"),
        [(fine, fine, "ok"), (fine, down, "degraded"), (down, fine, "down"), (down, down, "down")],
    )
    def test_is_down_only_without_what_is_essential(
        self, store: Callable[[], None], vendor: Callable[[], None], verdict: str
    ) -> None:
        health = monitoring(("store", True, store), ("vendor", False, vendor)).health()
        assert health.status == verdict

    def test_says_which_and_why(self) -> None:
        health = monitoring(("store", True, fine), ("vendor", False, down)).health().to_json()
        assert health["dependencies"] == {
            "store": {"status": "up"},
            "vendor": {"status": "down", "reason": "no connection"},
        }

    def test_tells_nothing_of_a_bug(self) -> None:
        assert monitoring(("store", True, broken)).health().failing == {"store": "the check itself failed"}

    def test_does_not_wait_for_one_that_hangs(self) -> None:
        release = threading.Event()

        def hangs() -> None:
            release.wait(10)

        dependencies = (Dependency("store", True, fine), Dependency("vendor", False, hangs))
        health = Monitoring(dependencies, ManualClock(), patience_s=0.05).health()
        release.set()
        assert health.status == "degraded"
        assert "no answer within" in health.failing["vendor"]


class TestHowOftenItAsks:
    def test_is_bounded_however_often_it_is_asked(self) -> None:
        probe, clock = Counted(), ManualClock()
        service = monitoring(("store", True, probe), clock=clock)
        for _ in range(100):
            service.health()
        assert probe.asked == 1
        clock.advance(us=FRESH_US)
        service.health()
        assert probe.asked == 2

    def test_many_at_once_share_one_look(self) -> None:
        entered, release, asked = threading.Event(), threading.Event(), Counted()

        def slow() -> None:
            asked()
            entered.set()
            release.wait(10)

        service = monitoring(("store", True, slow))
        threads = [threading.Thread(target=service.health) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert entered.wait(5)
        release.set()
        for thread in threads:
            thread.join(5)
        assert asked.asked == 1

    def test_a_clock_that_was_set_back_does_not_freeze_the_verdict(self) -> None:
        probe, clock = Counted(), ManualClock()
        service = monitoring(("store", True, probe), clock=clock)
        service.health()
        clock.set(clock.now_us() - 60_000_000)
        service.health()
        assert probe.asked == 2
