"""Server-sent events of model vendors: takes bytes cut anywhere, gives the data of complete events.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream as far as `data` goes;
event names, ids and comments are dropped. Refuses to know what the data mean.
"""

from typing import Final

from app.models.faults import ModelBroke

MOST_BYTES: Final = 1_048_576
"""More than any event of a chat answer."""
_MARK: Final = b"\xef\xbb\xbf"


class Parser:
    """Parses one stream, piece by piece."""

    __slots__ = ("_after_cr", "_begun", "_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = False
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that ends in `piece`.

        Raises:
            ModelBroke: a line is longer than `MOST_BYTES`.
        """
        lines = self._lines(self._rest + piece if self._begun else self._without_mark(self._rest + piece))
        self._rest = lines.pop()
        if len(self._rest) > MOST_BYTES:
            raise ModelBroke("an event of the vendor's stream never ends")
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                events.append(b"\n".join(self._data) if len(self._data) > 1 else self._data[0])
                self._data = []
        return events

    def _without_mark(self, buffer: bytes) -> bytes:
        """The buffer without the byte order mark that a stream may begin with."""
        if len(buffer) < len(_MARK) and _MARK.startswith(buffer):
            return buffer
        self._begun = True
        return buffer.removeprefix(_MARK)

    def _lines(self, buffer: bytes) -> list[bytes]:
        """Lines end in LF, CR or CRLF; a CRLF may be cut between two pieces."""
        if self._after_cr and buffer:
            buffer = buffer.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in buffer:
            self._after_cr = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return buffer.split(b"\n")
