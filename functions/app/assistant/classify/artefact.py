"""The file of the trained model: how it is written and read, and when it is refused.

Layout, integers little-endian: 8 bytes magic with the version, 32 bytes SHA-256 of all that follows, 4 bytes length
of a JSON header, the header, then the pieces in the order of their CRC-32: where each value of its upper half begins
(65,537 integers of 4 bytes), its lower halves (2 bytes each), and the rows. The pieces themselves are not in the file.
A row has one byte for each column, the high half for the whole text and the low half for its beginning, and a last byte
for the weight of the piece. Halves stand for weighted evidence for a class, in steps of the
column: see EVIDENCE.
"""

import hashlib
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from zlib import crc32

from app.kit.errors import InvariantViolation, ensure

MAGIC: Final = b"PROMPT\x00\x01"
FILE: Final = Path(__file__).with_name("model.bin")
_PREFIX: Final = len(MAGIC) + 32 + 4
_BUCKETS: Final = 1 << 16
EVIDENCE: Final = bytes(max(1, 128 + round(127 * (half - 8) * abs(half - 8) / 49)) for half in range(16))
"""The steps of each value of a half, offset by 128: fine near zero, where most pieces are, and coarse far from it."""


class ArtefactDamaged(InvariantViolation):
    """The model's file is not what the training script wrote, or is of another version."""


@dataclass(frozen=True)
class Linear:
    """Weights of several outputs over numbers that are brought to one scale first."""

    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[Sequence[float]]
    bias: Sequence[float]


@dataclass(frozen=True)
class Artefact:
    """A trained model in memory. A row is `columns` + 1 bytes; `steps` are those of the high and of the low halves.

    `shape` has the columns as outputs; `lengths` has P10, P50 and P90 of log(1 + output tokens).
    """

    begins: Sequence[int]
    lows: Sequence[int]
    rows: bytes
    columns: int
    steps: tuple[Sequence[float], Sequence[float]]
    begin: int
    doubt: float
    shape: Linear
    lengths: Linear
    temperature: float
    agent_from: float
    sure_from: float
    training: Mapping[str, object]

    def find(self, piece: str) -> int:
        """The number of a piece, or -1. One of 30,000 pieces that are not in the model is taken for another."""
        value = checksum(piece)
        high, low = value >> 16, value & 0xFFFF
        for number in range(self.begins[high], self.begins[high + 1]):
            if self.lows[number] == low:
                return number
        return -1


def checksum(piece: str) -> int:
    """What pieces are ordered and found by."""
    return crc32(piece.encode("utf-8", "surrogatepass"))


@cache
def load(path: Path = FILE) -> Artefact:
    """The model of a file; each file is read once.

    Raises:
        ArtefactDamaged: the checksum or the version is another.
    """
    raw = path.read_bytes()
    if raw[: len(MAGIC)] != MAGIC:
        raise ArtefactDamaged(f"{path.name} is no model of this version")
    if hashlib.sha256(raw[_PREFIX - 4 :]).digest() != raw[len(MAGIC) : _PREFIX - 4]:
        raise ArtefactDamaged(f"the checksum of {path.name} is wrong")
    at = _PREFIX + int.from_bytes(raw[_PREFIX - 4 : _PREFIX], "little")
    header = json.loads(raw[_PREFIX:at])
    begins = _integers("I", raw[at : at + 4 * (_BUCKETS + 1)])
    at += 4 * (_BUCKETS + 1)
    lows = _integers("H", raw[at : at + 2 * begins[-1]])
    rows, columns = raw[at + 2 * begins[-1] :], len(header["steps"][0])
    ensure(len(rows) == len(lows) * (columns + 1), "the checksum vouches for the length of the rows")
    return Artefact(
        begins=begins,
        lows=lows,
        rows=rows,
        columns=columns,
        steps=(header["steps"][0], header["steps"][1]),
        begin=header["begin"],
        doubt=header["doubt"],
        shape=Linear(**header["shape"]),
        lengths=Linear(**header["lengths"]),
        temperature=header["temperature"],
        agent_from=header["agent_from"],
        sure_from=header["sure_from"],
        training=header["training"],
    )


def pack(header: Mapping[str, object], pieces: Sequence[str], rows: Sequence[bytes]) -> bytes:
    """The bytes of a model's file, the same for the same arguments. Of pieces with one checksum the first is kept."""
    kept: dict[int, bytes] = {}
    for piece, row in zip(pieces, rows):
        kept.setdefault(checksum(piece), row)
    values = sorted(kept)
    begins, counted = array("I", [0]), 0
    for high in range(_BUCKETS):
        while counted < len(values) and values[counted] >> 16 == high:
            counted += 1
        begins.append(counted)
    lows = array("H", [value & 0xFFFF for value in values])
    described = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = [_bytes(begins), _bytes(lows), *(kept[value] for value in values)]
    payload = len(described).to_bytes(4, "little") + described + b"".join(body)
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _integers(kind: str, raw: bytes) -> "array[int]":
    found = array(kind, raw)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _bytes(values: "array[int]") -> bytes:
    return _integers(values.typecode, values.tobytes()).tobytes()
