"""Live text for clients that listen to the Realtime Database: /users/{uid}/streams/{message_id}.

All streams of an instance are written in one multi-path update every 120 ms, and the end of a stream at once: no stream
is written more than ten times in a second. Chunks are appended under growing keys and never rewritten. An update whose
result is unknown is sent again unchanged. An answer never fails because its live text cannot be written: the text is
dropped, counted and logged.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import Fault
from app.kit.stores.realtime import Json, Realtime

EVERY_US: Final = 120_000
"""Nine of these begin in any second, which leaves one write for the end."""
TRIES: Final = 5
"""An update that has failed so often is dropped, and the streams in it are not mirrored any more."""
_MINUTE_US: Final = 60_000_000
_LONGEST_US: Final = 60 * _MINUTE_US
"""No function runs longer: https://firebase.google.com/docs/functions/quotas"""

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


class StreamMirror(Protocol):
    """What answering needs of a mirror. No method raises, and only `drained` waits."""

    def open(self, uid: str, message_id: str, model: str, *, keep: bool = False) -> None:
        """Begins a stream. What an earlier attempt left is removed, unless `keep`: then it goes on from there."""
        ...

    def append(self, message_id: str, text: str) -> None:
        """Adds text to a stream."""
        ...

    def close(self, message_id: str, closing: Closing) -> None:
        """Ends a stream."""
        ...

    def drained(self, message_id: str) -> None:
        """Waits, for a bounded time, until a closed stream was written: an instance may get no CPU after its answer."""
        ...


@dataclass(slots=True)
class _MirroredStream:
    uid: str
    model: str
    started_at: str
    keep: bool = False
    opened: bool = False
    chunks: int = 0
    pending: list[str] = field(default_factory=list)
    closing: Closing | None = None
    listed: str = ""
    """Where it stands on a list of streams to be removed."""

    def path(self, message_id: str) -> str:
        return f"users/{self.uid}/streams/{message_id}"


@dataclass(slots=True)
class Batch:
    """One update that is being sent, the streams in it, and those of them that end with it.

    It holds the streams themselves, not their ids alone: by the time that it has arrived, a repeated key may have begun
    another stream of the same message.
    """

    values: dict[str, Json]
    streams: dict[str, _MirroredStream]
    closed: dict[str, _MirroredStream]
    tries: int = 0


class Coalescer:
    """Collects what is to be written into one update after another. Thread-safe; starts no thread and does no I/O."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, _MirroredStream] = {}
        self._dirty: dict[str, None] = {}
        self._unsent: Batch | None = None
        self.dropped = 0

    def open(self, uid: str, message_id: str, model: str, *, keep: bool = False) -> None:
        """Begins a stream."""
        with self._lock:
            self._live[message_id] = _MirroredStream(uid, model, to_rfc3339(self._clock.now_us()), keep)
            self._dirty[message_id] = None

    def append(self, message_id: str, text: str) -> None:
        """Adds text, unless the stream was dropped."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is not None:
                stream.pending.append(text)
                self._dirty[message_id] = None

    def close(self, message_id: str, closing: Closing) -> bool:
        """Ends a stream; False when it is not live."""
        with self._lock:
            stream = self._live.get(message_id)
            if stream is None:
                return False
            stream.closing = closing
            self._dirty[message_id] = None
            return True

    def live(self, message_id: str) -> bool:
        """Whether something of the stream may still have to be written."""
        with self._lock:
            return message_id in self._live

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
            ids = [id for id in self._dirty if not ends_only or self._live[id].closing is not None]
            if not ids:
                return None
            values: dict[str, Json] = {}
            streams = {id: self._live[id] for id in ids}
            closed = {id: stream for id, stream in streams.items() if self._collect(id, values)}
            for id in ids:
                del self._dirty[id]
            self._unsent = Batch(values, streams, closed)
            return self._unsent

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
            self.dropped += len(batch.streams)
            self._forget(batch.streams)

    def _forget(self, streams: Mapping[str, _MirroredStream]) -> None:
        for message_id, stream in streams.items():
            if self._live.get(message_id) is stream:
                del self._live[message_id]
                self._dirty.pop(message_id, None)

    def _collect(self, message_id: str, values: dict[str, Json]) -> bool:
        stream = self._live[message_id]
        path = stream.path(message_id)
        fields: dict[str, Json] = {}
        # The keys of an attempt begin at 0000 again, so the update that writes the first one removes the earlier ones.
        anew = not stream.opened and not stream.keep
        if stream.pending:
            key, text = f"{stream.chunks:04d}", "".join(stream.pending)
            fields |= {"chunks": {key: text}} if anew else {f"chunks/{key}": text}
            stream.pending.clear()
            stream.chunks += 1
        if not stream.opened:
            fields |= {"status": "running", "model": stream.model, "started_at": stream.started_at}
            stream.opened = True
            # Whoever dies before the end is written leaves it on the list of the last minute in which it could end.
            stream.listed = f"{_bucket(self._clock.now_us() + _LONGEST_US)}/{message_id}"
            values[stream.listed] = stream.uid
        if stream.closing is not None:
            closing = stream.closing
            fields |= {"status": closing.status, "finish_reason": closing.finish_reason}
            told = {"model": closing.model, "reason": closing.reason, "route_reason": closing.route_reason}
            fields |= {name: value for name, value in told.items() if value}
            if closing.cost is not None:
                fields["cost"] = closing.cost
            values[stream.listed] = None
            values[f"{_bucket(self._clock.now_us())}/{message_id}"] = stream.uid
        values |= {path: fields} if anew else {f"{path}/{name}": value for name, value in fields.items()}
        return stream.closing is not None


class SteppedStreamMirror:
    """A mirror without a thread, for tests and the simulation: it writes when it is called and its clock says so."""

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        self.coalescer = Coalescer(clock)
        self._realtime = realtime
        self._clock = clock
        self._last_us = -EVERY_US

    def open(self, uid: str, message_id: str, model: str, *, keep: bool = False) -> None:
        self.coalescer.open(uid, message_id, model, keep=keep)
        self.step()

    def append(self, message_id: str, text: str) -> None:
        self.coalescer.append(message_id, text)
        self.step()

    def close(self, message_id: str, closing: Closing) -> None:
        self.coalescer.close(message_id, closing)

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


_ENDS: Final = "orchestration/stream_ends"
_SWEPT: Final = "orchestration/streams_swept_until"


def _bucket(at_us: int) -> str:
    """Where the streams that ended in one minute are listed for their removal."""
    return f"{_ENDS}/{at_us // _MINUTE_US}"


def remove_old_streams(
    realtime: Realtime, clock: Clock, *, keep_us: int = 15 * _MINUTE_US, most_minutes: int = 60
) -> int:
    """Removes the live text of streams that ended more than `keep_us` ago; returns how many. For the sweeper.

    Goes on minute by minute from where the last run stopped, `most_minutes` at most, so that a run is bounded.
    """
    until = (clock.now_us() - keep_us) // _MINUTE_US
    seen = realtime.get(_SWEPT)
    since = seen if isinstance(seen, int) else _oldest_minute(realtime, until)
    removed = 0
    for minute in range(since, min(until, since + most_minutes)):
        removed += _remove_minute(realtime, minute)
    return removed


def _oldest_minute(realtime: Realtime, until: int) -> int:
    listed = realtime.get(_ENDS)
    return min((int(key) for key in listed), default=until) if isinstance(listed, Mapping) else until


def _began_since(started_at: Json, minute: int) -> bool:
    return isinstance(started_at, str) and started_at > to_rfc3339((minute + 1) * _MINUTE_US)


def _remove_minute(realtime: Realtime, minute: int) -> int:
    path = f"{_ENDS}/{minute}"
    ended = realtime.get(path)
    values: dict[str, Json] = {path: None, _SWEPT: minute + 1}
    if isinstance(ended, Mapping):
        # A later attempt at the same message may have begun its stream where this one was listed.
        paths = (f"users/{uid}/streams/{message_id}" for message_id, uid in ended.items())
        values |= {path: None for path in paths if not _began_since(realtime.get(f"{path}/started_at"), minute)}
    realtime.update(values)
    return len(values) - 2
