"""Puts messages together that a client sent in several text frames. Pure."""

from typing import Final

from rtdb_emulator.errors import TooBig

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_LONGEST_COUNT: Final = 6


class FrameReader:
    """One client's frames, in order."""

    def __init__(self) -> None:
        self._missing = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, frame: bytes) -> bytes | None:
        """The message that this frame completes, if it does. Raises TooBig."""
        if self._missing:
            return self._add(frame)
        if len(frame) <= _LONGEST_COUNT and frame.isdigit():
            self._missing = int(frame)  # 0 is the client's keep-alive
            return None
        return frame

    def _add(self, piece: bytes) -> bytes | None:
        self._pieces.append(piece)
        self._size += len(piece)
        self._missing -= 1
        if self._size > MAX_MESSAGE_BYTES:
            raise TooBig(f"A message is larger than {MAX_MESSAGE_BYTES} bytes")
        if self._missing:
            return None
        message = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return message
