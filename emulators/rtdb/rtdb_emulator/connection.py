"""One client on the wire, whichever way it came: envelopes, control messages, handshake.
Knows sessions, not transports.
"""

import logging
from typing import Final

from rtdb_emulator import wire
from rtdb_emulator.json_text import Json, MalformedJson, loads
from rtdb_emulator.outbox import Outbox
from rtdb_emulator.session import Session

_LOG: Final = logging.getLogger(__name__)
PROTOCOL_VERSION: Final = "5"


class Connection:
    """A session and the way back to its client."""

    def __init__(self, session: Session, outbox: Outbox) -> None:
        self.session = session
        self.outbox = outbox

    def handshake(self, host: str, now_ms: int) -> bytes:
        """The first message. `host` is where the client reached us: it will reconnect there."""
        return wire.control("h", {"ts": now_ms, "v": PROTOCOL_VERSION, "h": host, "s": self.session.id})

    def cut(self) -> None:
        """End the connection at once, without a farewell."""
        self.outbox.link.cut()

    def receive(self, message: bytes) -> str | None:
        """Handle one message; the result is the kind of a transport-switch control message."""
        try:
            envelope = loads(message)
        except MalformedJson as error:
            self._complain(f"not JSON: {error}")
            return None
        layer = envelope.get("t") if isinstance(envelope, dict) else None
        if layer == "d":
            self.session.handle(envelope, len(message))
        elif layer == "c":
            return self._control(envelope)
        else:
            self._complain('a message must be {"t":"c"|"d","d":…}')
        return None

    def _control(self, envelope: Json) -> str | None:
        body = envelope.get("d") if isinstance(envelope, dict) else None
        kind = body.get("t") if isinstance(body, dict) else None
        if kind == "p":
            self.outbox.post(wire.control("o", {}))
        return kind if kind in ("a", "n") and isinstance(kind, str) else None

    def _complain(self, problem: str) -> None:
        _LOG.warning("session %s: %s", self.session.id, problem)
        self.outbox.post(wire.control("e", problem))
