"""What a client is sent, in order, held until the journal has it. Knows no protocol."""

from typing import Final, Protocol

from rtdb_emulator.committer import Committer

MAX_BACKLOG_BYTES: Final = 256 * 1024 * 1024
"""A client that leaves more than this unread is cut."""


class Link(Protocol):
    """The way to a client."""

    def deliver(self, messages: list[bytes]) -> None:
        """Send these messages, in order, without waiting."""

    def cut(self) -> None:
        """End the connection at once, without a farewell."""


class Outbox:
    """Messages for one client; the link may be exchanged (long polling upgraded to a WebSocket)."""

    def __init__(self, committer: Committer, link: Link) -> None:
        self.link = link
        self._committer = committer
        self._messages: list[bytes] = []
        self._switch: tuple[int, Link] | None = None

    def post(self, message: bytes) -> None:
        """Send after everything posted before, and after the writes of this turn are in the journal."""
        if not self._messages:
            self._committer.hold(self)
        self._messages.append(message)

    def switch(self, link: Link) -> None:
        """Everything posted from now on goes through another link."""
        self._switch = (len(self._messages), link)
        if not self._messages:
            self._committer.hold(self)

    def release(self) -> None:
        """The writes are safe: let the messages go."""
        messages, self._messages = self._messages, []
        if self._switch is not None:
            before, link = self._switch
            self._switch = None
            self._deliver(messages[:before])
            self.link, messages = link, messages[before:]
        self._deliver(messages)

    def _deliver(self, messages: list[bytes]) -> None:
        if messages:
            self.link.deliver(messages)
