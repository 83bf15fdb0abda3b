"""The live streams that the sweep still has to look at: to remove them, or to end what its writer could not end.

Every stream is on a list from its first update on, under the minute in which it is due. The list names the attempt, so
that nothing of an earlier attempt touches what a later one is writing (T-111). No cursor is kept, the oldest list comes
first: an entry that comes late, from an instance that was frozen, is found as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from app.chat.live.stream_mirror import (
    DUE,
    KEEP_US,
    LOOK_US,
    Closing,
    bucket_of,
    end_fields,
    entry,
    listed,
    stream_path,
)
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.errors import InvariantViolation
from app.kit.stores.realtime import Json, Realtime

_log = telemetry.log("chat.mirror")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a stream should show, as Firestore has its turn. `closing` is None while the turn runs."""

    attempt: int
    model: str
    started_at: str
    closing: Closing | None = None
    answer: str = ""


class StreamSweep:
    """Does what is due. `shown` tells what a message's stream should show; None when the message or its conversation
    is gone.
    """

    def __init__(self, realtime: Realtime, clock: Clock, shown: Callable[[str, str], Shown | None]) -> None:
        self._realtime = realtime
        self._clock = clock
        self._shown = shown

    def sweep(self, limit: int = 100) -> int:
        """Looks at the due streams of the oldest minutes, at most `limit`; returns at how many.

        Raises:
            Unavailable: a store does not answer. What was done stays done, and the next sweep goes on from there.
        """
        now, done = bucket_of(self._clock.now_us()), 0
        while done < limit and (oldest := self._realtime.first(DUE, 1)):
            [(bucket, entries)] = oldest.items()
            if bucket >= now:
                break
            done += self._sweep(bucket, entries if isinstance(entries, Mapping) else {}, limit - done)
        return done

    def _sweep(self, bucket: str, entries: Mapping[str, Json], limit: int) -> int:
        over: dict[str, Json] = {}
        removed: dict[str, Json] = {}
        mended: dict[str, Json] = {}
        for name, found in islice(entries.items(), limit):
            over[f"{DUE}/{bucket}/{name}"] = None
            message_id, _, attempt = name.rpartition(":")
            uid = found.get("uid") if isinstance(found, Mapping) else None
            if not (message_id and attempt.isdecimal() and isinstance(uid, str) and isinstance(found, Mapping)):
                _log.error("stream_entry_unreadable", path=f"{DUE}/{bucket}/{name}")
            elif found.get("ended") is True:
                removed |= self._removal(uid, message_id, int(attempt))
            else:
                mended |= self._mending(uid, message_id, int(attempt))
        self._realtime.update({**(over or {f"{DUE}/{bucket}": None}), **removed, **mended})
        return len(over)

    def _removal(self, uid: str, message_id: str, attempt: int) -> dict[str, Json]:
        path = stream_path(uid, message_id)
        there = self._realtime.get(f"{path}/attempt")
        later = isinstance(there, int) and there > attempt
        return {} if later else {path: None}

    def _mending(self, uid: str, message_id: str, attempt: int) -> dict[str, Json]:
        """What brings a stream without an end to what its turn says."""
        path, now_us = stream_path(uid, message_id), self._clock.now_us()
        try:
            shown = self._shown(uid, message_id)
        except InvariantViolation as unreadable:
            _log.error("stream_not_mended", message=message_id, reason=str(unreadable))
            return {listed(now_us + LOOK_US, message_id, attempt): entry(uid, ended=False)}
        there = self._realtime.get(path)
        if shown is None or not isinstance(there, Mapping):
            return {path: None}
        if shown.closing is None:
            return {listed(now_us + LOOK_US, message_id, shown.attempt): entry(uid, ended=False)}
        _log.warning("stream_mended", message=message_id, attempt=attempt, status=shown.closing.status)
        stream: dict[str, Json] = {
            "attempt": shown.attempt,
            "model": shown.model,
            "started_at": shown.started_at,
            **end_fields(shown.closing),
        }
        if chunks := _completed(there.get("chunks"), shown.answer):
            stream["chunks"] = chunks
        return {path: stream, listed(now_us + KEEP_US, message_id, shown.attempt): entry(uid, ended=True)}


def _completed(there: Json, answer: str) -> dict[str, Json]:
    """The chunks of an answer. Those that are there stay as they are when the answer begins with them, because clients
    have shown them and are told only of new ones.
    """
    chunks: dict[str, Json] = dict(sorted(there.items())) if isinstance(there, Mapping) else {}
    text = "".join(map(str, chunks.values()))
    if not answer:
        return chunks
    if not answer.startswith(text):
        return {"0000": answer}
    return chunks if text == answer else {**chunks, f"{len(chunks):04d}": answer[len(text) :]}
