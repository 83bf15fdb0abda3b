"""What a request leaves in the log: one line, with the request's id, and nothing that a user wrote."""

import io
import json
from typing import Any

import pytest
import structlog

from app.kit import telemetry
from support.shop import Shop
from support.world import Caller, World


@pytest.fixture
def written() -> io.StringIO:
    """What production would write to standard output."""
    written = io.StringIO()
    telemetry.start_logging()
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=written), cache_logger_on_first_use=False)
    return written


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


class TestARequest:
    def test_leaves_one_line_with_its_id(self, client: Caller, written: io.StringIO) -> None:
        client.get("/v1/shop/orders/ord_secret", headers={"X-Request-Id": "trace-1"})
        (line,) = lines(written)
        assert line["severity"] == "INFO"
        assert (line["request_id"], line["uid"], line["status"]) == ("trace-1", "alice", 404)
        assert (line["method"], line["route"]) == ("GET", "/v1/shop/orders/<order_id>")
        assert "secret" not in json.dumps(line)

    def test_that_breaks_leaves_the_traceback_under_the_same_id(self, client: Caller, written: io.StringIO) -> None:
        client.get("/v1/shop/bug", headers={"X-Request-Id": "trace-2"})
        broke, line = lines(written)
        assert (broke["severity"], broke["request_id"]) == ("ERROR", "trace-2")
        assert "InvariantViolation: secret: the sum was 41" in broke["exception"]
        assert (line["status"], line["request_id"]) == (500, "trace-2")

    def test_that_failed_by_a_dependency_is_a_warning(self, client: Caller, written: io.StringIO) -> None:
        client.get("/v1/shop/fault")
        assert lines(written)[0]["severity"] == "WARNING"

    def test_holds_no_token(self, client: Caller, written: io.StringIO) -> None:
        client.get("/v1/shop/orders")
        assert client.token is not None
        assert client.token not in written.getvalue()

    def test_is_joined_to_the_platforms_trace(self, written: io.StringIO) -> None:
        client = World().client(None)
        client.get("/v1/monitoring/info", headers={"X-Cloud-Trace-Context": "105445aa7843bc8bf206b120001000/1;o=1"})
        client.get("/v1/monitoring/info", headers={"X-Cloud-Trace-Context": "../x"})
        joined, other = [line for line in lines(written) if line["message"] == "request_served"]
        assert joined["logging.googleapis.com/trace"] == "projects/demo-credits/traces/105445aa7843bc8bf206b120001000"
        assert "logging.googleapis.com/trace" not in other

    def test_that_streams_logs_from_its_source_under_its_id(
        self, world: World, shop: Shop, written: io.StringIO
    ) -> None:
        shop.say = "a tick"
        world.mounted(shop.routes()).get("/v1/shop/stream", headers={"X-Request-Id": "trace-3"}).get_data()
        assert shop.closed_streams.wait(5)
        ticks = [line for line in lines(written) if line["message"] == "a tick"]
        assert {tick["request_id"] for tick in ticks} == {"trace-3"}
        assert len(ticks) == 3
