"""A network whose other end is a script, on a clock that the script moves: bytes, silences and ends of connections."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.kit.concurrency import Threads

Step = bytes | int | None
"""Bytes that arrive, seconds of silence, or the end of the connection."""


@dataclass
class SlowTime(Threads):
    """Time that passes only while somebody waits for the network."""

    at_us: int = 0

    def monotonic_us(self) -> int:
        return self.at_us


@dataclass
class Script:
    """`app.kit.network.Network`. Each request is answered by the next list of steps; `connections` were opened."""

    time: SlowTime
    answers: list[Sequence[Step]]
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def connect(self, host: str, port: int, *, tls: bool, timeout_s: float) -> "ScriptedConnection":
        self.connections += 1
        return ScriptedConnection(self)


@dataclass
class ScriptedConnection:
    """`app.kit.network.Connection`."""

    script: Script
    left: list[Step] = field(default_factory=list)

    def send(self, data: bytes, timeout_s: float) -> None:
        self.script.requests.append(data)
        self.left = [*self.script.answers.pop(0)]

    def receive(self, timeout_s: float) -> bytes:
        step = self.left.pop(0) if self.left else 3600
        if step is None:
            return b""
        if isinstance(step, bytes):
            return step
        waited = min(step, timeout_s)
        self.script.time.at_us += round(waited * 1_000_000)
        if step > waited:
            self.left.insert(0, round(step - waited))
        raise TimeoutError

    def quiet(self) -> bool:
        return True

    def shut(self) -> None:
        return

    def close(self) -> None:
        return
