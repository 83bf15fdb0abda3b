"""What a client calls an id becomes a path in Firestore, which refuses some texts and finds others elsewhere."""

import re
from collections.abc import Iterator

import pytest

from app.api.reference import openapi
from support.world import World

WORLD = World()
ADMIN = WORLD.client(WORLD.user("root", role="admin"))
NO_IDS = ["a/b", "a/entries/0", "..", "__x__"]


def addresses() -> Iterator[tuple[str, str]]:
    """Every method and path that holds an id, with a text in its place that Firestore keeps for itself."""
    for path, item in openapi.document(WORLD.app)["paths"].items():
        for method in item.keys() & {"get", "post", "put", "patch", "delete"}:
            if "{" in path:
                yield method, re.sub(r"\{\w+\}", "__x__", path)


@pytest.mark.parametrize(("method", "path"), sorted(addresses()))
def test_an_address_with_a_reserved_id_is_refused(method: str, path: str) -> None:
    body: dict[str, str] | None = None if method == "get" else {}
    assert ADMIN.open(path, method=method.upper(), json=body).status_code in (404, 422)


@pytest.mark.parametrize("uid", NO_IDS)
class TestAnotherUser:
    def test_whose_audit(self, uid: str) -> None:
        assert ADMIN.get("/v1/credits/audit", query_string={"uid": uid}).status_code == 422

    def test_whose_repair(self, uid: str) -> None:
        assert ADMIN.post("/v1/credits/repair", json={"uid": uid}).status_code == 422

    def test_whose_correction(self, uid: str) -> None:
        body = {"uid": uid, "reason": "goodwill", "amount": "1"}
        assert ADMIN.post("/v1/credits/corrections", json=body).status_code == 422
