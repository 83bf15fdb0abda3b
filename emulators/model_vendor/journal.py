"""What the vendor did, kept for tests: one record per request, with what was generated and when the client left.

Owns the records and waiting for quiet. Refuses to know how answers are made.
"""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass, field
from hashlib import blake2b


@dataclass(slots=True)
class Record:
    """One request. Token counts are completion tokens; `tokens_at_disconnect` is None while the client stayed."""

    seq: int
    request_id: str
    endpoint: str
    model: str = ""
    base_model: str = ""
    fault: str = ""
    user: str | None = None
    stream: bool = False
    params: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    attempt: int = 1
    status: int | None = None
    state: str = "running"
    ending: str | None = None
    prompt_tokens: int = 0
    tokens_planned: int = 0
    tokens_generated: int = 0
    chunks_sent: int = 0
    client_aborted: bool = False
    tokens_at_disconnect: int | None = None
    usage_sent: bool = False

    def left(self) -> None:
        """The client is gone; noted once."""
        if not self.client_aborted:
            self.client_aborted = True
            self.tokens_at_disconnect = self.tokens_generated

    def json(self) -> dict[str, object]:
        """The record for the control endpoint."""
        after = None if self.tokens_at_disconnect is None else self.tokens_generated - self.tokens_at_disconnect
        return {**asdict(self), "tokens_after_disconnect": after}


class Journal:
    """The last `capacity` records and the number of attempts of each request body."""

    def __init__(self, capacity: int = 5000) -> None:
        self.records: deque[Record] = deque(maxlen=capacity)
        self._attempts: dict[bytes, int] = {}
        self._seq = 0
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """Requests that are still being answered."""
        return self._running

    def open(self, endpoint: str) -> Record:
        """Begin a record."""
        self._seq += 1
        self._running += 1
        self._idle.clear()
        record = Record(seq=self._seq, request_id=f"req_sim_{self._seq:08d}", endpoint=endpoint)
        self.records.append(record)
        return record

    def close(self, record: Record) -> None:
        """End a record; closing twice is harmless."""
        if record.state == "done":
            return
        record.state = "done"
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    def attempt(self, path: str, body: bytes) -> int:
        """The how-manieth time (from 1) this very body is asked since the last reset."""
        key = blake2b(path.encode() + b"\0" + body, digest_size=16).digest()
        self._attempts[key] = number = self._attempts.pop(key, 0) + 1
        if len(self._attempts) > 100_000:
            del self._attempts[next(iter(self._attempts))]
        return number

    async def quiet(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False when that took longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def clear(self) -> None:
        """Forget finished records and all attempts; running requests stay."""
        running = [record for record in self.records if record.state == "running"]
        self.records.clear()
        self.records.extend(running)
        self._attempts.clear()
