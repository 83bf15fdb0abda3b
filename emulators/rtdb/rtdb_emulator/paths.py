"""Locations in the tree as tuples of keys, and which keys may exist. Knows no data."""

import re
from functools import lru_cache
from typing import TypeAlias

from rtdb_emulator.errors import InvalidKey, InvalidPath

Path: TypeAlias = tuple[str, ...]

MAX_DEPTH = 32
MAX_KEY_BYTES = 768
PRIORITY = ".priority"

_FORBIDDEN = re.compile(r"[.$#\[\]/\x00-\x1f\x7f]")


@lru_cache(maxsize=65_536)
def key_problem(key: str) -> str | None:
    """Why `key` cannot be a key, in the words of the production service; None when it can."""
    if not key or _FORBIDDEN.search(key):
        return "Key value can't be empty or contain $ # [ ] / or ."
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        return f"Key value can't be longer than {MAX_KEY_BYTES} bytes."
    return None


def check_key(key: str) -> None:
    """Raise InvalidKey unless `key` may be stored."""
    problem = key_problem(key)
    if problem is not None:
        raise InvalidKey(key, problem)


def parse_path(text: str) -> Path:
    """Read `a/b`, `/a/b/`, `//a//b`; empty and `/` are the root. Raises InvalidPath."""
    path = tuple(part for part in text.split("/") if part)
    check_path(path)
    return path


def check_path(path: Path) -> None:
    """Raise InvalidPath unless `path` may hold data."""
    if len(path) > MAX_DEPTH:
        raise InvalidPath(f"Invalid path: deeper than {MAX_DEPTH} levels")
    for key in path:
        problem = key_problem(key)
        if problem is not None:
            raise InvalidPath() if _FORBIDDEN.search(key) or not key else InvalidPath(f"Invalid path: {problem}")


def split_priority(text: str) -> tuple[str, bool]:
    """Cut a trailing `.priority` segment off; the flag says whether there was one."""
    stripped = text.rstrip("/")
    if stripped == PRIORITY or stripped.endswith("/" + PRIORITY):
        return stripped[: -len(PRIORITY)], True
    return text, False


def to_text(path: Path) -> str:
    """`a/b`, as pushed to WebSocket clients; the root is the empty string."""
    return "/".join(path)
