"""What one message costs the databases, counted on the wire, and in dollars per million at Firebase's list prices.

    python bench/operations.py

Firestore: an interceptor on the adapter's channel counts documents read and written. Realtime Database: two proxies
count bytes, one between our server and the database, one between a listening client and the database. Fails when a
message in an existing conversation needs more than 4 reads or 6 writes.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
import requests

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "functions")]

from bench import _stage  # noqa: E402 - run as a file, the root is not on the path before

MOST_READS: Final = 4
MOST_WRITES: Final = 6

# https://firebase.google.com/docs/firestore/pricing (US multi-region) and https://firebase.google.com/pricing
USD_PER_READ: Final = 0.06 / 100_000
USD_PER_WRITE: Final = 0.18 / 100_000
USD_PER_RTDB_BYTE: Final = 1 / 2**30
USD_PER_INVOCATION: Final = 0.40 / 1_000_000
USD_PER_INSTANCE_SECOND: Final = 0.000024 + 0.5 * 0.0000025
"""One vCPU and half a GiB: what the `api` function is given."""


@dataclass
class Count:
    """Operations of one message."""

    reads: int = 0
    writes: int = 0
    calls: int = 0
    server_received: int = 0
    server_sent: int = 0
    listener_received: int = 0
    seconds: float = 0.0


class Wire(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts what passes to Firestore. A look-up of a document that is not there is billed as a read."""

    def __init__(self) -> None:
        self.count = Count()

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        self.count.calls += 1
        self.count.writes += len(getattr(request, "writes", ()))
        if details.method.endswith("GetDocument"):
            self.count.reads += 1
        return continuation(details, request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        self.count.calls += 1
        if details.method.endswith("BatchGetDocuments"):
            self.count.reads += len(request.documents)
        answers = continuation(details, request)
        return self._counted(answers) if details.method.endswith("RunQuery") else answers

    def _counted(self, answers: Iterator[Any]) -> Iterator[Any]:
        found = 0
        for answer in answers:
            found += answer.HasField("document")
            yield answer
        self.count.reads += max(found, 1)  # a query without a result is billed as one read


class Proxy:
    """Passes bytes between clients and one port, and counts them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.sent = 0
        self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(65536):
                if up:
                    self.sent += len(data)
                else:
                    self.received += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # Either side hung up; the other direction ends by itself.
            return


class Bench:
    """One backend in this process, over the suite's real stores, with counters on every wire."""

    def __init__(self, stores: _stage.Stores, vendor: str) -> None:
        self.wire = Wire()
        self.server_proxy = Proxy(stores.ports["database"])
        self.listener_proxy = Proxy(stores.ports["database"])
        counted = replace(stores, ports={**stores.ports, "database": self.server_proxy.port})
        os.environ.update(counted.environment(vendor))
        self.services = self.fresh_services()
        self.uid = uuid.uuid4().hex[:28]
        self.token = stores.sign_up(self.uid)
        self._accounts: list[Mapping[str, Any]] = []
        self.invocations = 0

    def fresh_services(self) -> Any:
        """A backend that remembers nothing, like a new instance."""
        from app import outside, wiring
        from app.kit.once import once
        from app.kit.stores import firestore

        bench = self

        class Counted(outside.RealPorts):
            @once
            def documents(self) -> firestore.FirestoreDocuments:
                return firestore.connect(
                    self.deployment.project, intercept=lambda channel: grpc.intercept_channel(channel, bench.wire)
                )

        return wiring.System(Counted())

    def request(self, method: str, path: str, body: object = None, stream: bool = False) -> Any:
        """Calls the whole application, as an HTTP request would."""
        from werkzeug.test import Client

        headers = {"Authorization": f"Bearer {self.token}"}
        if stream:
            headers["Accept"] = "text/event-stream"
        answer = Client(self.services.edge).open(path, method=method, json=body, headers=headers)
        data = answer.get_data()
        answer.close()
        if answer.status_code >= 400:
            raise SystemExit(f"{path}: {answer.status_code} {data[:300]!r}")
        return data if stream else json.loads(data)

    @contextmanager
    def counting(self) -> Iterator[Count]:
        """Counts the operations inside the `with` block."""
        count = self.wire.count = Count()
        before = (self.server_proxy.received, self.server_proxy.sent, self.listener_proxy.received)
        began = time.monotonic()
        yield count
        count.seconds = time.monotonic() - began
        count.server_received = self.server_proxy.received - before[0]
        count.server_sent = self.server_proxy.sent - before[1]
        count.listener_received = self.listener_proxy.received - before[2]
        self.wire.count = Count()

    def mirror_balance(self) -> None:
        """Does what the trigger does after each commit to the account: the suite's trigger runs for another project."""
        stored = self.services.ports.documents.get(f"accounts/{self.uid}")
        self.wire.count.reads -= 1  # the event carries the document
        self.wire.count.calls -= 1
        self.services.credits.account_written(stored.fields)
        self.invocations += 1

    def listen(self) -> None:
        """A client's listener on its own subtree."""
        url = f"http://127.0.0.1:{self.listener_proxy.port}/users/{self.uid}.json?ns={_stage.PROJECT}-default-rtdb"
        ready = threading.Event()

        def follow() -> None:
            headers = {"Accept": "text/event-stream", "Authorization": "Bearer owner"}
            with (
                # The stream ends with the database, when the bench is over.
                contextlib.suppress(requests.exceptions.ChunkedEncodingError),
                requests.get(url, headers=headers, stream=True, timeout=600) as answer,
            ):
                for _ in answer.iter_lines(chunk_size=1):
                    ready.set()

        threading.Thread(target=follow, daemon=True).start()
        if not ready.wait(20):
            raise SystemExit("the listener got no answer")


def main() -> int:
    """Counts, prints, and returns 1 when a message needs more than its budget."""
    with (
        _stage.stores() as stores,
        _stage.vendor("--first-token-ms", "150", "--tokens-per-second", "80") as vendor,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),  # the backend's own log
    ):
        bench = Bench(stores, vendor)
        bench.listen()
        made = bench.request("POST", "/v1/chat/conversations", {"model": "small"})
        url = f"/v1/chat/conversations/{made['id']}/messages"
        found: dict[str, Count] = {}
        for name, content in (
            ("first message, new account", "What is a ledger?"),
            ("short message", "What is a ledger?"),
            ("short message, another instance", "What is a ledger?"),
            ("long message (8 kB)", "word " * 1600),
            ("message after 30 others", "What is a ledger?"),
        ):
            if name.startswith("message after"):
                for number in range(27):
                    bench.request("POST", url, {"content": f"Question {number}?"})
            if "another instance" in name:
                bench.services = bench.fresh_services()
            with bench.counting() as found[name]:
                told = bench.request("POST", url, {"content": content}, stream=True)
        with bench.counting() as mirrored:
            bench.mirror_balance()
            bench.mirror_balance()
    tokens = json.loads(told.split(b"event: usage\ndata: ")[1].split(b"\n")[0])["output_tokens"]
    _report(found, mirrored, tokens)
    steady = [count for name, count in found.items() if "new account" not in name]
    return 0 if all(one.reads <= MOST_READS and one.writes <= MOST_WRITES for one in steady) else 1


def _report(found: Mapping[str, Count], mirrored: Count, tokens: int) -> None:
    print(f"{'':34}{'Firestore':>23}{'Realtime Database, bytes':>38}")
    print(f"{'one message':34}{'reads':>7}{'writes':>8}{'calls':>8}", end="")
    print(f"{'to server':>13}{'from server':>13}{'to listener':>12}")
    for name, one in {**found, "balance mirror (2 triggers)": mirrored}.items():
        print(f"{name:34}{one.reads:>7}{one.writes:>8}{one.calls:>8}", end="")
        print(f"{one.server_received:>13}{one.server_sent:>13}{one.listener_received:>12}")
    one = found["short message"]
    data = {
        "Firestore": (one.reads + mirrored.reads) * USD_PER_READ + (one.writes + mirrored.writes) * USD_PER_WRITE,
        "Realtime Database": USD_PER_RTDB_BYTE
        * sum(each.server_received + each.listener_received for each in (one, mirrored)),
        "invocations (api, 2 triggers)": 3 * USD_PER_INVOCATION,
    }
    print(f"\nUSD per million messages of {tokens} output tokens, {one.seconds:.2f} s each, at list prices")
    for name, dollars in data.items():
        print(f"  {name:44}{dollars * 1e6:8.2f}")
    print(f"  {'in all, without instances':44}{sum(data.values()) * 1e6:8.2f}")
    for streams in (1, 8, 40, 80):
        instance = one.seconds * USD_PER_INSTANCE_SECOND / streams
        print(f"  {f'instances, {streams} live streams on each':44}{instance * 1e6:8.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
