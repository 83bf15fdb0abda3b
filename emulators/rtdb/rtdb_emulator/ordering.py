"""The order of keys, values and priorities. Pure; knows no queries."""

from typing import TypeAlias

from rtdb_emulator.tree import Inner, Node, scalar_of

MIN_NAME = "[MIN_NAME]"
MAX_NAME = "[MAX_NAME]"

KeyOrder: TypeAlias = tuple[int, int, int, bytes]
ValueOrder: TypeAlias = tuple[int, float, bytes]

_INT32_MIN = -(2**31)
_INT32_MAX = 2**31 - 1


def key_order(key: str) -> KeyOrder:
    """Sort key of a name: integers first by number then length, then the rest by UTF-16 units."""
    number = _int32(key)
    if number is not None:
        return (1, number, len(key), b"")
    if key == MIN_NAME:
        return (0, 0, 0, b"")
    if key == MAX_NAME:
        return (3, 0, 0, b"")
    return (2, 0, 0, utf16(key))


def value_order(node: Node) -> ValueOrder:
    """Sort key of a value: empty, false, true, numbers, strings, inner nodes (all equal)."""
    if isinstance(node, Inner):
        return (5, 0.0, b"")
    value = scalar_of(node)
    if value is None:
        return (0, 0.0, b"")
    if isinstance(value, bool):
        return (2 if value else 1, 0.0, b"")
    if isinstance(value, str):
        return (4, 0.0, utf16(value))
    return (3, float(value), b"")


def utf16(text: str) -> bytes:
    """Bytes that compare as the UTF-16 code units of `text` do."""
    return text.encode("utf-16-be", "surrogatepass")


def _int32(key: str) -> int | None:
    digits = key.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > 10:
        return None
    number = int(key)
    return number if _INT32_MIN <= number <= _INT32_MAX else None
