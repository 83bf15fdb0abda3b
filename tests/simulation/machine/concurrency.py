"""`app.kit.concurrency` and `app.kit.heartbeat` over the kernel: tasks are greenlets, and waiting is virtual time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.kit.concurrency import Concurrency, Signal, Task
from simulation.machine.kernel import Instance, Kernel, Process


class _Wait:
    """One process that waits for a signal, until the signal or the time comes."""

    def __init__(self, kernel: Kernel, process: Process) -> None:
        self._kernel, self._process = kernel, process
        self._signalled: bool | None = None

    def end(self, *, signalled: bool) -> None:
        """Lets the process go on; the first reason counts."""
        if self._signalled is None:
            self._signalled = signalled
            self._kernel.unpark(self._process)

    def result(self) -> bool:
        """Stands still until it has ended; whether the signal ended it."""
        while self._signalled is None:
            self._kernel.park()
        return self._signalled


class GreenletSignal:
    """`threading.Event` for greenlets."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._set = False
        self._waits: list[_Wait] = []

    def set(self) -> None:
        self._set = True
        waits, self._waits = self._waits, []
        for wait in waits:
            wait.end(signalled=True)

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if self._set:
            return True
        if self._kernel.current is None:
            # An auditor, or what a dead process left behind: nothing moves any more that could set it.
            return False
        wait = _Wait(self._kernel, self._kernel.current)
        self._waits.append(wait)
        if timeout is not None:
            self._kernel.after(round(timeout * 1_000_000), lambda: wait.end(signalled=False))
        return wait.result()


@dataclass(frozen=True)
class GreenletTask:
    """A process of an instance."""

    done: Signal

    def join(self) -> None:
        self.done.wait()


@dataclass(frozen=True)
class Greenlets:
    """`Concurrency` of one instance: what it starts dies with the instance."""

    kernel: Kernel
    instance: Instance

    def signal(self) -> GreenletSignal:
        return GreenletSignal(self.kernel)

    def start(self, name: str, body: Callable[[], None]) -> Task:
        done = self.signal()
        self.kernel.spawn(name, body, self.instance, done.set)
        return GreenletTask(done)

    def sleep_us(self, delay_us: int) -> None:
        self.kernel.sleep(delay_us)

    def monotonic_us(self) -> int:
        return self.kernel.now_us


@dataclass(frozen=True)
class TaskHeartbeat:
    """`Heartbeat` as a task beside the work, like `ThreadHeartbeat`."""

    concurrency: Concurrency

    @contextmanager
    def during(self, every_us: int, beat: Callable[[], None]) -> Iterator[None]:
        over = self.concurrency.signal()

        def keep() -> None:
            while not over.wait(every_us / 1_000_000):
                beat()

        task = self.concurrency.start("heartbeat", keep)
        try:
            yield
        finally:
            over.set()
            task.join()
