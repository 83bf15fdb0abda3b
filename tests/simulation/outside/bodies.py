"""The bytes of a vendor's answer around what it says: heads, and how the end of a body is told."""

from typing import Final

from emulators.model_vendor.zoo import Animal, Said
from simulation.outside.truth import in_chunk

CHUNKED: Final = "Transfer-Encoding: chunked\r\n"
_ENDS: Final = {
    "chunked": b"0\r\n\r\n",
    "trailers": b"0\r\nX-Cost: 0.2\r\n\r\n",
}
"""What tells that a body is over."""


class Body:
    """The bytes of an animal's answer around what it says."""

    def __init__(self, animal: Animal, said: Said, framing: str, kind: str) -> None:
        self._animal, self._said, self._kind = animal, said, kind
        self.framing = framing

    def opening(self) -> bytes:
        """The head, and what comes before the first text."""
        return head(self._kind + self._length()) + self.framed(self._animal.opening(self._said))

    @property
    def hangs_up(self) -> bool:
        """Whether the connection ends with the body."""
        return self.framing not in ("chunked", "trailers", "length")

    def framed(self, data: bytes) -> bytes:
        """A part of the body."""
        return in_chunk(data) if self.framing in ("chunked", "trailers", "reset") and data else data

    def end(self) -> bytes:
        """What tells that the body is over."""
        return _ENDS.get(self.framing, b"")

    def _length(self) -> str:
        if self.framing == "close":
            return ""
        if "length" not in self.framing:
            return CHUNKED
        said, animal = self._said, self._animal
        texts = b"".join(animal.piece(said, number) for number in range(len(said.pieces)))
        size = len(animal.opening(said) + texts + animal.closing(said))
        return f"Content-Length: {'9' if self.framing == 'length-too-long' else ''}{size}\r\n"


def head(fields: str) -> bytes:
    """The head of an answer with these fields."""
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode()
