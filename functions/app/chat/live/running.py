"""The answers that this instance is giving right now, so that another request can stop them."""

import threading

from app.models.gateway import VendorCall


class Running:
    """Message ids of live answers and the calls behind them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, tuple[str, VendorCall]] = {}

    def add(self, uid: str, message_id: str, call: VendorCall) -> None:
        """Notes that an answer begins."""
        with self._lock:
            self._calls[message_id] = (uid, call)

    def remove(self, message_id: str, call: VendorCall) -> None:
        """Forgets an answer that has ended. Another one to the same message may have begun meanwhile, and stays."""
        with self._lock:
            if message_id in self._calls and self._calls[message_id][1] is call:
                del self._calls[message_id]

    def stop(self, message_id: str, *, uid: str | None = None) -> bool:
        """Ends the vendor's call at once; False when this instance does not give that answer (to `uid`)."""
        with self._lock:
            found = self._calls.get(message_id)
        if found is None or uid not in (None, found[0]):
            return False
        found[1].stop()
        return True

    def __len__(self) -> int:
        return len(self._calls)
