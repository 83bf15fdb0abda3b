"""Connections to the simulated model vendors: they cut its bytes anywhere, join them, break and are closed unseen.

They note what a reader does that no reader may: to read on for ever, and to leave before a count that has come.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from simulation.machine.concurrency import GreenletSignal
from simulation.machine.kernel import Kernel
from simulation.outside.model_vendor import ModelVendor, VendorAnswer
from simulation.outside.truth import CUT, FOR_EVER, SECOND, UNREACHED, Arrival, Failing

_SPARE_US: Final = SECOND // 2
_SILENT_US: Final = 29 * SECOND
"""No silence that the vendor means is so long."""


class VendorConnection:
    """`app.kit.network.Connection`. A `receive` gets what arrived together, or a part of it, or more than that."""

    def __init__(self, kernel: Kernel, vendor: ModelVendor, host: str) -> None:
        self._kernel, self._vendor, self._host = kernel, vendor, host
        self._shut = GreenletSignal(kernel)
        self._arrivals: deque[Arrival] = deque()
        self._answer: VendorAnswer | None = None
        self._at_us = 0
        """When the last of what was received arrived."""
        self._style = kernel.random.choice(("whole", "whole", "cut", "joined"))
        self._kept = self._begun = self._halved = self._ended = self._closed = False
        self._tail_s = self._tail_us = self._asked_us = 0

    def send(self, data: bytes, timeout_s: float) -> None:
        self._kernel.pause("model asked")
        self._kept, self._begun, self._halved = self._answer is not None, False, False
        self._tail_s = self._tail_us = 0
        self._asked_us = self._kernel.now_us
        if self._shut.is_set() or self._kernel.chance(self._kernel.faults.vendor / 8):
            if not self._kept and not self._shut.is_set():
                self._vendor.meets(CUT)
            raise ConnectionResetError
        self._at_us = self._kernel.now_us
        self._arrivals.clear()
        if self._kept and self._kernel.chance(0.15):
            # The vendor closed this connection while it was kept, and that shows only now.
            self._answer = self._vendor.missed(data, self._host)
            self._arrivals.append(Arrival(self._kernel.random.randrange(200_000), None))
            return
        self._answer, arrivals = self._vendor.answer(data, self._host)
        self._arrivals.extend(arrivals)

    def receive(self, timeout_s: float) -> bytes:
        if self._kernel.current is None:
            # What a dead process left behind is put away when no time passes any more.
            raise ConnectionResetError
        self._watch()
        self._kernel.pause("model writes")
        until_us = self._kernel.now_us + round(timeout_s * SECOND)
        arrives_us = self._at_us + self._arrivals[0].after_us if self._arrivals else FOR_EVER * 10
        left_us = min(until_us, arrives_us) - self._kernel.now_us
        if self._shut.is_set() or (left_us > 0 and self._shut.wait(left_us / SECOND)):
            return b""
        if arrives_us > self._kernel.now_us:
            self._silent()
            raise TimeoutError
        return self._arrived(arrives_us)

    def quiet(self) -> bool:
        """A kept connection may have been closed by the vendor in the meantime."""
        return not (self._ended or self._shut.is_set() or self._kernel.chance(0.1))

    def shut(self) -> None:
        self._shut.set()

    def close(self) -> None:
        if self._answer is not None and not self._closed:
            self._leave(self._answer)
        self._closed = True
        self._shut.set()

    def _watch(self) -> None:
        """Notes when a reader reads on behind an end for longer than anybody may."""
        now_us = self._kernel.now_us
        if self._tail_s and not self._tail_us:
            self._tail_us = now_us + self._tail_s * SECOND + _SPARE_US
        if self._tail_us and now_us > self._tail_us and self._answer is not None:
            self._answer.sins.append(f"its reader read on for more than {self._tail_s} s behind its end")
            self._tail_us = FOR_EVER * 10

    def _silent(self) -> None:
        waits = self._arrivals[0].fails if self._arrivals else None
        if waits is not None and self._answer is not None and self._kernel.now_us - self._at_us > _SILENT_US:
            self._answer.arrive(Arrival(0, None, fails=waits), self._kernel.now_us)

    def _arrived(self, at_us: int) -> bytes:
        one = self._arrivals.popleft()
        self._at_us = at_us
        if self._style == "cut" and one.data is not None and len(one.data) > 1 and self._kernel.chance(0.4):
            at = self._kernel.random.randrange(1, _first_end(one.data))
            self._arrivals.appendleft(replace(one, after_us=0, data=one.data[at:]))
            self._begun = self._halved = True
            return one.data[:at]
        self._halved = False
        found = self._arrive(one)
        while self._style == "joined" and one.fails is None and one.data is not None and self._due():
            one = self._arrivals.popleft()
            self._at_us += one.after_us
            found += self._arrive(one)
        return found

    def _due(self) -> bool:
        """Whether more has arrived by now."""
        following = self._arrivals[0] if self._arrivals else None
        due = following is not None and self._at_us + following.after_us <= self._kernel.now_us
        return due and following is not None and following.data is not None

    def _arrive(self, one: Arrival) -> bytes:
        assert self._answer is not None
        if one.data is None and not self._begun and self._kept:
            # Whoever kept this connection takes it for closed before the request, as it may have been.
            self._answer.void = True
        else:
            self._answer.arrive(one, self._kernel.now_us)
        self._begun = True
        self._ended = one.data is None
        self._tail_s = self._tail_s or one.tail_s
        return one.data or b""

    def _leave(self, answer: VendorAnswer) -> None:
        """What was still to come. Of what was under way, a reader who is content has read all that matters; of a piece
        of text nobody knows.
        """
        at_us = self._at_us
        if self._halved and self._arrivals and (self._arrivals[0].text or not self._shut.is_set()):
            one = self._arrivals.popleft()
            answer.torn = bool(one.text)
            answer.arrive(one, self._kernel.now_us)
        for one in self._arrivals:
            at_us += one.after_us
            answer.unread.append((at_us, one))
        answer.closed_us = self._kernel.now_us
        instance = answer.asker.instance if answer.asker is not None else None
        answer.stood_still = instance is not None and instance.frozen_us > self._asked_us


def _first_end(data: bytes) -> int:
    """Where the first event or head of some bytes is not whole yet: a reader learns nothing from the bytes before."""
    ends = [at for at in (data.find(end) for end in (b"\n\n", b"\r\r", b"\n\r\n")) if at > 0]
    return min([*ends, len(data) - 1]) + 1


@dataclass(frozen=True)
class VendorNetwork:
    """`app.kit.network.Network`: every address is a vendor's, each of its own models."""

    kernel: Kernel
    vendor: ModelVendor

    def connect(self, host: str, port: int, *, tls: bool, timeout_s: float) -> VendorConnection:
        self.kernel.pause("model dialled")
        if self.kernel.chance(self.kernel.faults.vendor / 8):
            if self.kernel.chance(0.5):
                self.vendor.meets(UNREACHED)
                raise ConnectionRefusedError
            self.kernel.sleep(round(timeout_s * SECOND))
            self.vendor.meets(Failing("unreached", slow=True))
            raise TimeoutError
        return VendorConnection(self.kernel, self.vendor, host)
