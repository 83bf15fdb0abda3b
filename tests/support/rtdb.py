"""The adapter of the Realtime Database, connected to a stand-in that a test started. As a program it runs `count`:

python -m support.rtdb URL PATH THREADS TIMES
"""

import sys
import threading

from app.kit.stores.realtime import FirebaseRealtime, Json
from app.kit.stores.realtime_http import Rest, place_of


def realtime(url: str, timeout_s: float = 10) -> FirebaseRealtime:
    """`url` is that of an emulated database, with its `ns`."""
    return FirebaseRealtime(Rest(place_of(url, None), None, timeout_s))


def count(connected: FirebaseRealtime, path: str, *, threads: int, times: int) -> None:
    """Increments the number at `path`, `times` times in each thread."""

    def add() -> None:
        for _ in range(times):
            connected.transact(path, more)

    running = [threading.Thread(target=add) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def more(current: Json) -> Json:
    """The number after `current`; 1 after what is no number."""
    return (current if isinstance(current, int) else 0) + 1


if __name__ == "__main__":
    _, url, path, threads, times = sys.argv
    count(realtime(url), path, threads=int(threads), times=int(times))
