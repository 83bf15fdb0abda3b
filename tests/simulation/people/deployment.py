"""A deployment whose indexes were forgotten: Firestore refuses its queries for as long as they are missing."""

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, cast

from google.api_core import exceptions

from app.api.auth import Principal
from app.kit.stores.firestore import FirestoreDocuments, PlainCalls
from simulation.edge import HttpRequest, serve
from simulation.instance import Backend
from simulation.machine.kernel import Instance
from simulation.machine.stores import SimDocuments
from simulation.world import World

if TYPE_CHECKING:
    from google.cloud.firestore_v1.services.firestore import FirestoreClient

_LISTS = ("/v1/chat/conversations", "/v1/orchestration/sagas", "/v1/orchestration/dead-letters")


class _Firestore:
    """An empty database without indexes, below our own client."""

    def get_document(self, *_: object, **__: object) -> NoReturn:
        raise exceptions.NotFound("there is no such document")

    def run_query(self, *_: object, **__: object) -> NoReturn:
        raise exceptions.FailedPrecondition("The query requires an index. You can create it here: https://console")


class Misdeployed:
    """Somebody asks such a deployment for lists. It says that it is broken, and not that one should come again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._token = world.outside.tokens.issue(Principal("forgetful", "admin"))
        self.found: list[str] = []

    def live(self) -> None:
        """Asks once."""
        empty = _Firestore()
        documents = FirestoreDocuments(cast("FirestoreClient", empty), cast(PlainCalls, empty), "demo-credits")
        outside = replace(self._world.outside, documents=cast(SimDocuments, documents))
        backend = Backend(outside, Instance(99), self._world.alarm)
        path = self._world.kernel.random.choice(_LISTS)
        for _ in range(8):
            answer = serve(backend.system, HttpRequest("GET", path, self._token))
            if self._world.outside.tokens.silent_us < self._world.kernel.now_us:
                break
            self._world.kernel.sleep(1_000_000)  # Auth has just not answered.
        if (answer.status, "Retry-After" in answer.headers) != (500, False):
            self.found.append(f"{path} was answered {answer.status} {answer.whole()!r} without an index")
