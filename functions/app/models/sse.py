"""Server-sent events of model vendors: takes bytes cut anywhere, gives the data of complete events.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream as far as `data` goes;
event names, ids and comments are dropped. Refuses to know what the data mean.
"""

from typing import Final

from app.models.faults import ModelBroke

MOST_BYTES: Final = 1_048_576
"""More than any event of a chat answer."""


class Parser:
    """Parses one stream, piece by piece."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that ends in `piece`.

        Raises:
            ModelBroke: a line is longer than `MOST_BYTES`.
        """
        buffer = self._rest + piece
        lines = buffer.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MOST_BYTES:
            raise ModelBroke("an event of the vendor's stream never ends")
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line in (b"", b"\r") and self._data:
                events.append(b"\n".join(self._data).replace(b"\r", b"") if len(self._data) > 1 else self._data[0])
                self._data = []
        return events
