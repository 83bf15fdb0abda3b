"""Request bodies of any size that take no memory."""

import io


class Counted(io.RawIOBase):
    """A body that is not made before it is read, and counts what is."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.reads: list[int] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # as werkzeug's streams declare it
        size = min(len(buffer), self.left)
        buffer[:size] = b" " * size
        self.left -= size
        self.reads.append(size)
        return size
