"""The heartbeat beats while the work runs, in its context, and never after its end."""

import contextvars
import threading

from app.kit.heartbeat import ThreadHeartbeat

SOON_US = 500
PATIENCE_S = 30


def test_it_beats_until_the_work_is_over() -> None:
    beaten = threading.Semaphore(0)
    threads: list[threading.Thread] = []

    def beat() -> None:
        threads.append(threading.current_thread())
        beaten.release()

    with ThreadHeartbeat().during(SOON_US, beat):
        assert all(beaten.acquire(timeout=PATIENCE_S) for _ in range(3))
    assert set(threads) != {threading.current_thread()}
    assert not any(thread.is_alive() for thread in threads)


def test_the_end_of_the_work_waits_for_a_beat_that_is_under_way() -> None:
    began, go_on = threading.Event(), threading.Event()
    done: list[bool] = []

    def beat() -> None:
        began.set()
        assert go_on.wait(PATIENCE_S)
        done.append(True)

    with ThreadHeartbeat().during(SOON_US, beat):
        assert began.wait(PATIENCE_S)
        go_on.set()
    assert done


def test_a_beat_sees_what_the_work_sees() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []
    heard = threading.Event()

    def beat() -> None:
        seen.append(name.get())
        heard.set()

    name.set("the work")
    with ThreadHeartbeat().during(SOON_US, beat):
        assert heard.wait(PATIENCE_S)
    assert set(seen) == {"the work"}


def test_short_work_is_over_before_the_first_beat() -> None:
    beats: list[bool] = []
    with ThreadHeartbeat().during(PATIENCE_S * 1_000_000, lambda: beats.append(True)):
        pass
    assert beats == []
