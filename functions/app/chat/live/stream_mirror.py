"""Live text for clients that listen to the Realtime Database: /users/{uid}/streams/{message_id}.

All streams of an instance are written in one multi-path update every 120 ms, and the end of a stream at once: no stream
is written more than ten times in a second. Chunks are appended under growing keys and never rewritten with other words.
An update whose result is unknown is sent again unchanged, less the ended streams of which the database already shows a
later attempt. An answer never fails because its live text cannot be written: a stream that missed an update is written
whole once the database takes it again. What its instance cannot mend, the sweep does (`due_streams`).
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.kit import telemetry
from app.kit.clock import Clock, minutes, seconds, to_rfc3339
from app.kit.errors import Fault
from app.kit.stores.realtime import Json, Realtime

EVERY_US: Final = 120_000
"""Nine of these begin in any second, which leaves one write for the end."""
TRIES: Final = 5
"""An update that has failed so often is dropped. The streams in it are parked, and each is written whole by itself."""
PARKED_US: Final = seconds(2)
LATE_US: Final = seconds(5)
"""An update that goes out so long after it was due comes of an instance that stood still."""
MOST_PARKED_US: Final = seconds(60)
"""A stream that cannot be written so long after its end is left to the sweep."""

KEEP_US: Final = minutes(15)
"""An ended stream is removed so long after its end."""
LOOK_US: Final = minutes(6)
"""A stream whose end was not heard of is compared with its turn so long after its last update: a lease is over by then,
unless API_TIMEOUT_SECONDS was raised, and a turn that still runs is looked at again.
"""
DUE: Final = "orchestration/streams_due"

_log = telemetry.log("chat.mirror")


@dataclass(frozen=True, slots=True)
class Closing:
    """How a stream ended, in the client's spelling. `cost` None: nobody knows yet what the answer cost.

    `model`, `reason` and `route_reason`: who answered, why it costs that, why not the model that was asked. Empty
    ones are not written.
    """

    status: str
    finish_reason: str
    cost: str | None
    model: str = ""
    reason: str = ""
    route_reason: str = ""


def stream_path(uid: str, message_id: str) -> str:
    """Where a client listens to an answer."""
    return f"users/{uid}/streams/{message_id}"


def listed(due_us: int, message_id: str, attempt: int) -> str:
    """The path of an attempt's entry in the list of the minute in which the sweep shall look at its stream."""
    return f"{DUE}/{bucket_of(due_us)}/{message_id}:{attempt}"


def bucket_of(at_us: int) -> str:
    """The name of a minute's list. Its letter keeps it from looking like a number, whose order differs in JSON."""
    return f"m{at_us // minutes(1):010d}"


def entry(uid: str, *, ended: bool) -> dict[str, Json]:
    """The entry of a stream. `ended`: its end was written, and nothing is left but to remove it."""
    return {"uid": uid, "ended": ended}


def end_fields(closing: Closing) -> dict[str, Json]:
    """The fields of a stream that tell its end."""
    told = {"model": closing.model, "reason": closing.reason, "route_reason": closing.route_reason}
    fields: dict[str, Json] = {"status": closing.status, "finish_reason": closing.finish_reason}
    fields |= {name: value for name, value in told.items() if value}
    return fields if closing.cost is None else {**fields, "cost": closing.cost}


class StreamMirror(Protocol):
    """What answering needs of a mirror. No method raises, and only `drained` waits."""

    def open(self, uid: str, message_id: str, model: str, *, attempt: int = 1, keep: bool = False) -> None:
        """Begins a stream. What an earlier attempt left is removed, unless `keep`: then it goes on from there."""

    def explain(self, message_id: str, because: str) -> None:
        """Says why the model of a stream was chosen."""

    def append(self, message_id: str, text: str, *, attempt: int = 0) -> None:
        """Adds text to a stream, if it is of this attempt; 0 stands for any."""
        ...

    def close(self, message_id: str, closing: Closing, *, attempt: int = 0) -> None:
        """Ends a stream, if it is of this attempt; 0 stands for any."""
        ...

    def leave(self, message_id: str, *, attempt: int) -> None:
        """Writes nothing more of this attempt, whose place a later one has taken. The sweep mends what it wrote."""

    def drained(self, message_id: str) -> None:
        """Waits, for a bounded time, until a closed stream was written: an instance may get no CPU after its answer."""


@dataclass(slots=True)
class _MirroredStream:
    uid: str
    model: str
    started_at: str
    attempt: int
    keep: bool
    opened: bool = False
    because: str = ""
    explained: bool = False
    chunks: list[str] = field(default_factory=list)
    """Its text, one under each key. The first `taken` of them were in an update."""
    taken: int = 0
    pending: list[str] = field(default_factory=list)
    closing: Closing | None = None
    closed_us: int = 0
    due_us: int = 0
    late: bool = False
    listed: str = ""
    """Where it stands on a list of the sweep."""
    parked_until_us: int | None = None
    """When it is tried again, after an update with it was dropped."""


@dataclass(slots=True)
class Batch:
    """One update that is being sent, the streams in it, and those of them that end with it.

    It holds the streams themselves, not their ids alone: by the time that it has arrived, a repeated key may have begun
    another stream of the same message.
    """

    values: dict[str, Json]
    streams: dict[str, _MirroredStream]
    closed: dict[str, _MirroredStream]
    parked: bool
    tries: int = 0

    def doubtful(self) -> list[tuple[str, _MirroredStream]]:
        """Streams of messages that another instance may have answered anew."""
        again = bool(self.tries or self.parked)
        return [(id, one) for id, one in self.streams.items() if one.late or (again and one.closing is not None)]

    def leave(self, message_id: str, attempt: int) -> None:
        """Writes nothing of this attempt, if it holds it."""
        stream = self.streams.get(message_id)
        if stream is not None and stream.attempt == attempt:
            within = f"{stream_path(stream.uid, message_id)}/"
            # New maps, because another thread may be sending these.
            self.streams = {id: one for id, one in self.streams.items() if one is not stream}
            self.closed = {id: one for id, one in self.closed.items() if one is not stream}
            self.values = {at: value for at, value in self.values.items() if not f"{at}/".startswith(within)}


class Coalescer:
    """Collects what is to be written into one update after another. Thread-safe; starts no thread and does no I/O."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, _MirroredStream] = {}
        self._dirty: dict[str, None] = {}
        self._unsent: Batch | None = None
        self._alone = False
        """Whether the last update was for a parked stream: the others take turns with those."""
        self.dropped = 0

    def open(self, uid: str, message_id: str, model: str, *, attempt: int = 1, keep: bool = False) -> None:
        """Begins a stream."""
        with self._lock:
            now_us = self._clock.now_us()
            self._live[message_id] = _MirroredStream(uid, model, to_rfc3339(now_us), attempt, keep, due_us=now_us)
            self._dirty[message_id] = None

    def explain(self, message_id: str, because: str) -> None:
        """Says why its model was chosen."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is not None:
                stream.because = because
                self._dirty[message_id] = None

    def append(self, message_id: str, text: str, *, attempt: int = 0) -> None:
        """Adds text."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is not None and attempt in (0, stream.attempt):
                stream.pending.append(text)
                if stream.parked_until_us is None:
                    self._dirty[message_id] = None

    def close(self, message_id: str, closing: Closing, *, attempt: int = 0) -> bool:
        """Ends a stream; False when it is not live."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is None or attempt not in (0, stream.attempt):
                return False
            stream.closing = closing
            stream.closed_us = stream.due_us = self._clock.now_us()
            stream.parked_until_us = None
            self._dirty[message_id] = None
            return True

    def leave(self, message_id: str, *, attempt: int) -> None:
        """Forgets the stream of this attempt. It stays on its list, so that the sweep compares it with the turn."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is not None and stream.attempt == attempt:
                self._forget({message_id: stream})
            if self._unsent is not None:
                self._unsent.leave(message_id, attempt)

    def live(self, message_id: str) -> bool:
        """Whether something of the stream may have to be written soon. It is not where the database refused it."""
        with self._lock:
            stream = self._live.get(message_id)
            return stream is not None and stream.parked_until_us is None

    @property
    def answers(self) -> dict[str, int]:
        """The attempts, by message, whose streams have not ended."""
        with self._lock:
            return {id: stream.attempt for id, stream in self._live.items() if stream.closing is None}

    @property
    def busy(self) -> bool:
        """Whether any stream is live."""
        return bool(self._live)

    def take(self, *, ends_only: bool = False) -> Batch | None:
        """The next update: one that failed, unchanged, or else what is new. None when there is nothing.

        `ends_only`: only streams that have ended, which do not wait for the next update of all.
        """
        with self._lock:
            if self._unsent is not None:
                return None if ends_only else self._unsent
            parked = [] if ends_only or self._alone else self._due()[:1]
            self._alone = bool(parked)
            ids = parked or [id for id in self._dirty if not ends_only or self._live[id].closing is not None]
            if not ids:
                return None
            values: dict[str, Json] = {}
            streams = {id: self._live[id] for id in ids}
            closed = {id: stream for id, stream in streams.items() if self._collect(id, values)}
            for id, stream in streams.items():
                self._dirty.pop(id, None)
                stream.parked_until_us = None
            self._unsent = Batch(values, streams, closed, bool(parked))
            return self._unsent

    def _due(self) -> list[str]:
        now_us = self._clock.now_us()
        waiting = ((id, stream.parked_until_us) for id, stream in self._live.items())
        return [id for id, until_us in waiting if until_us is not None and until_us <= now_us]

    def sent(self, batch: Batch) -> None:
        """Forgets an update that has arrived."""
        with self._lock:
            self._unsent = None
            self._forget(batch.closed)

    def failed(self, batch: Batch) -> None:
        """Puts an update first again that may not have arrived, or drops it after `TRIES` tries."""
        with self._lock:
            batch.tries += 1
            if batch.tries < TRIES:
                return
            self._unsent = None
            self._park(batch.streams, self._clock.now_us())

    def _park(self, streams: Mapping[str, _MirroredStream], now_us: int) -> None:
        """Has streams written whole later, and gives up those that ended long ago."""
        lost = [
            id for id, one in streams.items() if one.closing is not None and now_us - one.closed_us > MOST_PARKED_US
        ]
        self.dropped += len(lost)
        self._forget({id: streams[id] for id in lost})
        for message_id, stream in streams.items():
            if self._live.get(message_id) is stream:
                self._dirty.pop(message_id, None)
                stream.opened, stream.taken, stream.parked_until_us = False, 0, now_us + PARKED_US

    def _forget(self, streams: Mapping[str, _MirroredStream]) -> None:
        for message_id, stream in streams.items():
            if self._live.get(message_id) is stream:
                del self._live[message_id]
                self._dirty.pop(message_id, None)

    def _collect(self, message_id: str, values: dict[str, Json]) -> bool:
        stream = self._live[message_id]
        path, now_us = stream_path(stream.uid, message_id), self._clock.now_us()
        fields: dict[str, Json] = {}
        stream.late = now_us - stream.due_us > LATE_US and (not stream.opened or stream.closing is not None)
        # The keys of an attempt begin at 0000 again, so the update that writes the first one removes the earlier ones.
        # A later attempt ends with the whole text, in case a frozen instance wrote into it for an earlier one.
        anew = not stream.keep and (not stream.opened or (stream.closing is not None and stream.attempt > 1))
        if stream.pending:
            stream.chunks.append("".join(stream.pending))
            stream.pending.clear()
        fresh = {f"{key:04d}": text for key, text in enumerate(stream.chunks) if anew or key >= stream.taken}
        stream.taken = len(stream.chunks)
        if fresh:
            fields |= {"chunks": {**fresh}} if anew else {f"chunks/{key}": text for key, text in fresh.items()}
        if anew or not stream.opened:
            fields |= {"attempt": stream.attempt, "status": "running"}
            fields |= {"model": stream.model, "started_at": stream.started_at}
            stream.opened, stream.explained = True, False
        if stream.because and not stream.explained:
            fields["because"], stream.explained = stream.because, True
        if stream.closing is not None:
            fields |= end_fields(stream.closing)
        self._list(message_id, stream, values, now_us)
        values |= {path: fields} if anew else {f"{path}/{name}": value for name, value in fields.items()}
        return stream.closing is not None

    def _list(self, message_id: str, stream: _MirroredStream, values: dict[str, Json], now_us: int) -> None:
        """Names the stream in the list of the minute in which the sweep shall look at it.

        Each update does, so that even one which comes late from an instance that was frozen leaves no text for ever.
        Where the end does not name the cost, the sweep asks the turn.
        """
        ended = stream.closing is not None and stream.closing.cost is not None
        place = listed(now_us + (KEEP_US if ended else LOOK_US), message_id, stream.attempt)
        if stream.listed and stream.listed != place:
            values[stream.listed] = None
        values[place] = entry(stream.uid, ended=ended)
        stream.listed = place


class SteppedStreamMirror:
    """A mirror without a thread, for tests and the simulation: it writes when it is called and its clock says so."""

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        self.coalescer = Coalescer(clock)
        self._realtime = realtime
        self._clock = clock
        self._last_us = -EVERY_US

    def open(self, uid: str, message_id: str, model: str, *, attempt: int = 1, keep: bool = False) -> None:
        self.coalescer.open(uid, message_id, model, attempt=attempt, keep=keep)
        self.step()

    def explain(self, message_id: str, because: str) -> None:
        self.coalescer.explain(message_id, because)

    def append(self, message_id: str, text: str, *, attempt: int = 0) -> None:
        self.coalescer.append(message_id, text, attempt=attempt)
        self.step()

    def close(self, message_id: str, closing: Closing, *, attempt: int = 0) -> None:
        self.coalescer.close(message_id, closing, attempt=attempt)

    def leave(self, message_id: str, *, attempt: int) -> None:
        self.coalescer.leave(message_id, attempt=attempt)

    def drained(self, message_id: str) -> None:
        # With nothing left to send, what is live is a later attempt's stream, which ends when that one does.
        while self.coalescer.live(message_id) and send(self.coalescer, self._realtime):
            pass

    def step(self) -> None:
        """Writes what is due."""
        now = self._clock.now_us()
        if now - self._last_us >= EVERY_US and send(self.coalescer, self._realtime):
            self._last_us = now


def send(coalescer: Coalescer, realtime: Realtime, *, ends_only: bool = False) -> bool:
    """Sends the next update; returns whether there was one. Raises nothing when the database fails."""
    batch = coalescer.take(ends_only=ends_only)
    if batch is None:
        return False
    try:
        for message_id, stream in batch.doubtful():
            there = realtime.get(f"{stream_path(stream.uid, message_id)}/attempt")
            if isinstance(there, int) and there > stream.attempt:
                coalescer.leave(message_id, attempt=stream.attempt)
        realtime.update(batch.values)
    except Fault as fault:
        coalescer.failed(batch)
        _log.warning("live_text_not_written", tries=batch.tries, streams=len(batch.streams), reason=str(fault))
    except Exception:
        coalescer.failed(batch)  # else an update that can never be written would be tried for ever
        raise
    else:
        coalescer.sent(batch)
    return True
