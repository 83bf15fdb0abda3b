"""The backend in memory behind a real port, for clients that speak HTTP themselves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from werkzeug.serving import WSGIRequestHandler, make_server

from support.vendor import Vendor
from support.world import World


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@dataclass
class Served:
    """`base_url` is what an OpenAI client is given; `paths` are the requests so far."""

    world: World
    vendor: Vendor
    base_url: str
    paths: list[str] = field(default_factory=list)

    def key(self, uid: str = "alice", **body: object) -> str:
        """A new API key of this user."""
        answer = self.world.client(uid).post("/v1/keys", json={"name": "sdk", **body})
        assert answer.status_code == 201, answer.text
        return str((answer.json or {})["key"])

    def charges(self, uid: str = "alice") -> list[tuple[str, str]]:
        """Id and amount of each entry that took credits, the newest first."""
        listed = self.world.client(uid).get("/v1/credits/history").json or {}
        return [(one["id"], one["amount"]) for one in listed["items"] if one["amount"].startswith("-")]

    def held(self, uid: str = "alice") -> str:
        """What reservations hold."""
        return str((self.world.client(uid).get("/v1/credits/balance").json or {})["reserved"])

    def kept(self) -> list[str]:
        """The documents of completions."""
        return [path for path in self.world.documents.all() if path.startswith("completions/")]


@contextmanager
def served(vendor: Vendor, **variables: str) -> Iterator[Served]:
    """Serves a new world until the end."""
    world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url, **variables})
    found = Served(world, vendor, "")

    def application(environ, start):  # type: ignore[no-untyped-def]  # as WSGI has it
        found.paths.append(environ["PATH_INFO"])
        return world.system.edge(environ, start)

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    found.base_url = f"http://127.0.0.1:{server.server_port}/v1/openai"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
