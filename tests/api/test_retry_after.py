"""`Retry-After` is sent wherever the document says so, and the document says so wherever it is sent."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from flask_openapi import APIBlueprint
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests
from werkzeug.test import Client, TestResponse

from app.api import problems
from app.api.auth import public
from app.api.edge import Edge
from app.api.idempotency import takes_a_key
from app.api.reference import openapi
from app.credits.core.entry import Reference
from app.credits.core.rejections import TooManyReservations
from app.kit.errors import Rejection, Unavailable
from app.metering import reserving
from app.metering.paid_call import PaidCall
from app.monitoring import liveness
from support.clock import SeededIds
from support.shop import Shop
from support.world import Caller, World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

COME_BACK: Final = ("429", "503")


def rejections(of: type[Rejection] = Rejection) -> Iterator[type[Rejection]]:
    """Every kind of refusal that the loaded code knows."""
    for kind in of.__subclasses__():
        yield kind
        yield from rejections(kind)


def described(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The response itself; the document keeps some apart."""
    reference = response.get("$ref")
    return document["components"]["responses"][reference.rpartition("/")[2]] if reference else response


def test_the_document_says_it_of_exactly_the_answers_that_have_it(world: World) -> None:
    document = openapi.document(world.app)
    keyed = {(path, method) for path, method, view in openapi.routes_of(world.app) if takes_a_key(view)}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status, response in operation["responses"].items():
                headers = described(document, response).get("headers", {})
                sent = status in COME_BACK or (status == "409" and (path, method) in keyed)
                assert ("Retry-After" in headers) == sent, (path, method, status)


@pytest.mark.parametrize(
    "error",
    [
        *(TooManyRequests(), ServiceUnavailable(), Unavailable("x"), Unavailable("x", retry_after_s=0)),
        *(TooManyReservations("x"), TooManyReservations("x", retry_after_s=0)),
        *(kind.__new__(kind, "x") for kind in rejections() if str(kind.status) in COME_BACK),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_that_may_be_over_soon_says_when(world: World, error: Exception) -> None:
    if isinstance(error, Rejection) and not hasattr(error, "fields"):
        Rejection.__init__(error, "x")
    blueprint = APIBlueprint("trial", __name__)

    @blueprint.get("/fails")
    @public
    def fails() -> dict[str, object]:
        raise error

    answer = world.mounted(blueprint, user=None).get("/v1/fails")
    assert str(answer.status_code) in COME_BACK
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_so_does_an_answer_that_no_error_made(status: str) -> None:
    def busy(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response(status, [])
        return []

    answer = Client(Edge(busy, ids=SeededIds(), early={liveness.PATH: busy}), TestResponse).get(liveness.PATH)
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_time_that_an_answer_names_itself_stays(client: Caller) -> None:
    assert client.get("/v1/shop/fault").headers.getlist("Retry-After") == ["17"]


def test_a_key_whose_first_request_still_runs_says_when(client: Caller, shop: Shop) -> None:
    shop.before_order = threading.Event()
    headers, order = {"Idempotency-Key": "k"}, {"item": "tea", "price": "1"}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/v1/shop/orders", json=order, headers=headers)
        assert shop.entered.wait(5)
        second = client.post("/v1/shop/orders", json=order, headers=headers)
        shop.before_order.set()
        assert first.result().status_code == 201
    assert (second.status_code, (second.json or {})["code"]) == (409, "idempotency_in_progress")
    assert 1 <= int(second.headers["Retry-After"]) <= 5


def test_so_does_a_call_that_is_paid_for_and_keeps_its_key_itself() -> None:
    call = PaidCall("alice", "chat", Reference("message", "msg_1"), "chat/msg_1")
    assert problems.describe(reserving.in_progress(call, "x")).headers == {"Retry-After": "5"}
    known = {kind.__name__ for kind in rejections() if kind.code == "idempotency_in_progress"}
    assert known == {"IdempotencyInProgress", "CallInProgress"}, "or another one needs a test"
