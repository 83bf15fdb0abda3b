"""Server-sent events of model vendors: takes bytes cut anywhere, gives the name and the data of complete events.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation: lines end in LF, CR
or CRLF, and comments, ids, retry times and unknown fields are dropped. Refuses to know what the data mean.
"""

from typing import Final

from app.models.faults import ModelBroke

MOST_BYTES: Final = 1_048_576
"""More than any event of a chat answer."""
_MARK: Final = b"\xef\xbb\xbf"
_BEGINNINGS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


Event = tuple[bytes, bytes]
"""Data and name of one event. The name is empty where the stream gives none, which stands for `message`; the data may
be empty. It is a plain tuple because one is made for every token."""


def begins_stream(start: bytes) -> bool | None:
    """Whether a body that begins like this is a stream of events; None while that cannot be told."""
    text = start.removeprefix(_MARK).lstrip()
    if text.startswith(_BEGINNINGS):
        return True
    return None if any(one.startswith(text) for one in (*_BEGINNINGS, _MARK)) else False


class Parser:
    """Parses one stream, piece by piece."""

    __slots__ = ("_after_cr", "_begun", "_data", "_name", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that end in `piece`.

        Raises:
            ModelBroke: an event is longer than `MOST_BYTES`.
        """
        buffer = self._rest + piece if self._begun else self._without_mark(self._rest + piece)
        if self._after_cr or b"\r" in buffer:
            buffer = self._without_returns(buffer)
        lines = buffer.split(b"\n")
        self._rest = lines.pop()
        events: list[Event] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append((b"\n".join(data) if len(data) > 1 else data[0], self._name))
                    data.clear()
                    self._size = 0
                self._name = b""
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif line.startswith(b"event:"):
                self._name = line[7:] if line[6:7] == b" " else line[6:]
            elif line == b"data":
                data.append(b"")
                self._size += len(line)
            elif line == b"event":
                self._name = b""
        if len(self._rest) + self._size > MOST_BYTES:
            raise ModelBroke("an event of the vendor's stream never ends")
        return events

    def end(self) -> list[Event]:
        """The event that the end of the body completes.

        The standard drops an event without an empty line behind it. Vendors that close the connection instead of
        sending that line mean it as sent, and the reader of the data sees whether it was cut.
        """
        return self.feed(b"\n\n")

    def _without_mark(self, buffer: bytes) -> bytes:
        """The buffer without the byte order mark that a stream may begin with."""
        if len(buffer) < len(_MARK) and _MARK.startswith(buffer):
            return buffer
        self._begun = True
        return buffer.removeprefix(_MARK)

    def _without_returns(self, buffer: bytes) -> bytes:
        """The buffer with LF alone. Lines end in LF, CR or CRLF; a CRLF may be cut between two pieces."""
        if self._after_cr and buffer:
            buffer = buffer.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in buffer:
            self._after_cr = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return buffer
