"""Outgoing connections, as a port: bytes to a host and back, with a patience for each step.

The real one is a TCP socket, with TLS where it is asked for. The simulator brings one whose other end it plays itself.
"""

import socket
import ssl
from typing import Protocol

RECEIVE: int = 65_536
"""Most bytes of one `receive`."""


class Connection(Protocol):
    """One open connection. Every method may raise `OSError`; `TimeoutError` is one."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Sends all of it."""
        ...

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived; nothing when the other side is done sending.

        Raises:
            TimeoutError: nothing arrived in this time.
        """
        ...

    def quiet(self) -> bool:
        """Whether it is open with nothing to read: an idle connection with something to read was closed."""
        ...

    def shut(self) -> None:
        """Ends it from another thread: a `receive` that waits returns or raises at once. Raises nothing."""
        ...

    def close(self) -> None: ...


class Network(Protocol):
    """The port."""

    def connect(self, host: str, port: int, *, tls: bool, timeout_s: float) -> Connection:
        """A new connection.

        Raises:
            TimeoutError, OSError: there is none.
        """
        ...


class Sockets:
    """The port over the system's sockets. Certificates are checked against the system's authorities."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None

    def connect(self, host: str, port: int, *, tls: bool, timeout_s: float) -> Connection:
        plain = socket.create_connection((host, port), timeout=timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            return SocketConnection(plain)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            return SocketConnection(self._tls.wrap_socket(plain, server_hostname=host))
        except OSError:
            plain.close()
            raise


class SocketConnection:
    """One socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, data: bytes, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        return self._socket.recv(RECEIVE)

    def quiet(self) -> bool:
        sock = self._socket
        try:
            sock.settimeout(0)
            # TLS cannot peek. What it would read away belongs to a connection that is not used again.
            sock.recv(1) if isinstance(sock, ssl.SSLSocket) else sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def shut(self) -> None:
        try:
            # The plain socket's method, because SSLSocket's drops the TLS state under a thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            # The other side closed it in the meantime, which ends a waiting read as well.
            return

    def close(self) -> None:
        self._socket.close()
