"""Messages to WebSocket and long-polling clients, as bytes. Knows no connection."""

from collections.abc import Mapping
from typing import Final

import orjson

from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import encode_export
from rtdb_emulator.tree import Node

FRAME: Final = 16_384


def control(kind: str, data: Json) -> bytes:
    """A control message, such as the handshake."""
    return orjson.dumps({"t": "c", "d": {"t": kind, "d": data}})


def reply(request: Json, status: str, data: Json) -> bytes:
    """The answer to one request."""
    return orjson.dumps({"t": "d", "d": {"r": request, "b": {"s": status, "d": data}}})


def reply_with_node(request: Json, node: Node) -> bytes:
    """The answer to a one-shot read."""
    return encode_export({"t": "d", "d": {"r": request, "b": {"s": "ok", "d": node}}})


def server_message(action: str, body: Json) -> bytes:
    """A message that the server starts."""
    return orjson.dumps({"t": "d", "d": {"a": action, "b": body}})


def overwrite(path: str, node: Node, tag: int | None) -> bytes:
    """Push: the value at `path` is now `node`."""
    return _push("d", path, node, tag)


def merge(path: str, members: Mapping[str, Node], tag: int | None) -> bytes:
    """Push: these locations below `path` have new values."""
    return _push("m", path, members, tag)


def frames(message: bytes) -> list[bytes]:
    """The text frames of one message: itself, or the number of pieces and the pieces.

    A piece is at most 16,384 characters and never cut inside one.
    """
    if len(message) <= FRAME:
        return [message]
    text = message.decode()
    if len(text) <= FRAME:
        return [message]
    pieces = [text[at : at + FRAME].encode() for at in range(0, len(text), FRAME)]
    return [str(len(pieces)).encode(), *pieces]


def _push(action: str, path: str, data: Node | Mapping[str, Node], tag: int | None) -> bytes:
    body: dict[str, object] = {"p": path, "d": data}
    if tag is not None:
        body["t"] = tag
    return encode_export({"t": "d", "d": {"a": action, "b": body}})
