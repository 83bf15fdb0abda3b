"""A small feature that uses everything the HTTP edge offers, so that the edge is tested without a real feature."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import flask
from flask_openapi import APIBlueprint, Tag
from pydantic import Field

from app.api.auth import caller, only, public
from app.api.bodies import takes_images
from app.api.context import request_id
from app.api.idempotency import Idempotency, idempotent
from app.api.schemas import (
    AmountIn,
    CreditAmount,
    Id,
    Page,
    PageParameters,
    Parameters,
    Problem,
    RequestBody,
    ResponseBody,
)
from app.api.streaming import ServerSentEvent, sse
from app.kit import telemetry
from app.kit.errors import Conflict, InvariantViolation, NotFound, Rejection, Unavailable
from app.kit.money import to_decimal


class TooExpensive(Rejection):
    status = 402
    code = "too_expensive"
    title = "Too expensive"


class OrderBody(RequestBody):
    item: str = Field(min_length=1, max_length=200)
    price: AmountIn
    count: int = Field(default=1, ge=1, le=10)
    size: Literal["small", "large"] | None = None


class OrderAnswer(ResponseBody):
    id: Id
    owner: str
    price: CreditAmount
    request_id: str


class OrderPath(Parameters):
    order_id: Id


@dataclass
class Shop:
    """The feature's routes, and what they have done."""

    records: Idempotency
    orders: list[OrderAnswer] = field(default_factory=list)
    closed_streams: threading.Event = field(default_factory=threading.Event)
    before_order: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    fail_next: BaseException | None = None
    say: str | None = None

    def buy(self, body: OrderBody) -> tuple[OrderAnswer, int]:
        self.entered.set()
        if self.before_order is not None:
            self.before_order.wait(5)
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        if body.price > 1_000_000_000:
            raise TooExpensive("Nobody has that much.", required=to_decimal(body.price))
        order = OrderAnswer(
            id=f"ord_{len(self.orders)}", owner=caller().uid, price=to_decimal(body.price), request_id=request_id()
        )
        self.orders.append(order)
        return order, 201

    def routes(self) -> APIBlueprint:
        blueprint = APIBlueprint("shop", __name__, abp_tags=[Tag(name="shop")])

        @blueprint.post("/shop/orders", summary="Order something", responses={201: OrderAnswer, 402: Problem})
        @idempotent(self.records)
        def order(body: OrderBody) -> tuple[OrderAnswer, int]:
            return self.buy(body)

        @blueprint.get("/shop/orders", summary="Own orders", responses={200: Page[OrderAnswer]})
        def orders(query: PageParameters) -> Page[OrderAnswer]:
            own = [order for order in self.orders if order.owner == caller().uid]
            return Page[OrderAnswer](items=own[: query.limit], next_cursor=None)

        @blueprint.get("/shop/orders/<order_id>", summary="One order", responses={200: OrderAnswer})
        def one(path: OrderPath) -> OrderAnswer:
            found = [order for order in self.orders if (order.id, order.owner) == (path.order_id, caller().uid)]
            return found[0] if found else _gone()

        @blueprint.delete("/shop/orders", summary="Forget all orders", responses={204: None})
        @only("admin")
        def clear() -> tuple[str, int]:
            self.orders.clear()
            return "", 204

        @blueprint.post("/shop/pictures", summary="Order by picture", responses={201: OrderAnswer})
        @takes_images
        def picture(body: OrderBody) -> tuple[OrderAnswer, int]:
            return self.buy(body)

        @blueprint.get("/shop/stream", summary="A stream", responses={200: {"content": {"text/event-stream": {}}}})
        def stream() -> flask.Response:
            return sse(self.ticks())

        @blueprint.get("/shop/bug", summary="Breaks", responses={200: OrderAnswer})
        @public
        def bug() -> OrderAnswer:
            raise InvariantViolation("secret: the sum was 41")

        @blueprint.get("/shop/fault", summary="Depends", responses={200: OrderAnswer})
        @public
        def fault() -> OrderAnswer:
            raise Unavailable("secret: vendor said key sk-123 is wrong", retry_after_s=17)

        @blueprint.get("/shop/conflict", summary="Contended", responses={200: OrderAnswer})
        @public
        def conflict() -> OrderAnswer:
            raise Conflict("secret: another writer", path="accounts/alice")

        return blueprint

    def ticks(self) -> Iterator[ServerSentEvent]:
        try:
            for number in range(3):
                if self.say:
                    telemetry.log("shop").info(self.say)
                yield ServerSentEvent("tick", {"number": number})
        finally:
            self.closed_streams.set()


def _gone() -> OrderAnswer:
    raise NotFound("There is no such order.")
