"""What holds for every answer: request ids, prefixes, CORS, headers, probes."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import Client, TestResponse

from app.api.edge import Edge, EdgePolicy
from app.kit.money import credits
from support.clock import SeededIds
from support.credits_world import deposit
from support.world import Caller, World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


SECURITY = (
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Content-Security-Policy",
    "Strict-Transport-Security",
)
TOOLS = {
    "x-firebase-appcheck",
    "x-firebase-client",
    "x-firebase-gmpid",
    "firebase-instance-id-token",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-client-version",
    "x-datadog-trace-id",
    "newrelic",
    "elastic-apm-traceparent",
    "x-cloud-trace-context",
}


def headers_of(answer: TestResponse) -> set[str]:
    return {name.lower() for name, _ in answer.headers}


def names_in(answer: TestResponse, header: str) -> set[str]:
    """The names that a header of CORS lists."""
    return {name.strip().lower() for name in answer.headers[header].split(",")}


def breaks(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    raise RuntimeError("secret: no such table")


class TestRequestIds:
    @pytest.mark.parametrize("given", ["a", "01J9-abc.def:7_x", "x" * 128])
    def test_a_sane_one_is_kept(self, client: Caller, given: str) -> None:
        answer = client.get("/v1/shop/orders", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 129, "has space", "newline\\n", "ünïcode", "<script>", 'quo"te'])
    def test_any_other_is_replaced(self, client: Caller, given: str) -> None:
        answer = client.get("/v1/shop/orders", headers={"X-Request-Id": given.encode().decode("latin-1")})
        assert answer.headers["X-Request-Id"].startswith("req_")

    def test_the_handler_sees_the_same_one(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", json={"item": "tea", "price": "1"}, headers={"X-Request-Id": "trace-7"})
        assert answer.json is not None
        assert answer.json["request_id"] == "trace-7"

    @pytest.mark.parametrize("path", ["/v1/nowhere", "/v1/shop/bug", "/v1/shop/fault", "/v1/shop/stream", "/__/health"])
    def test_it_stands_on_errors_and_streams_too(self, client: Caller, path: str) -> None:
        answer = client.get(path, headers={"X-Request-Id": "trace-8"})
        assert answer.headers["X-Request-Id"] == "trace-8"
        if answer.mimetype == "application/problem+json":
            assert answer.json is not None
            assert answer.json["request_id"] == "trace-8"


class TestPrefixes:
    def test_both_serve_the_same_routes(self, client: Caller) -> None:
        first = client.get("/v1/shop/orders")
        assert first.status_code == 200
        assert client.get("/api/v1/shop/orders").json == first.json

    @pytest.mark.parametrize("path", ["/shop/orders", "/api/shop/orders", "/api/api/v1/shop/orders", "/v2/shop/orders"])
    def test_no_other_does(self, client: Caller, path: str) -> None:
        assert client.get(path).status_code == 404

    def test_a_doubled_slash_is_not_guessed_away(self, client: Caller) -> None:
        assert client.get("/v1//shop/orders").status_code == 404


class TestCors:
    def test_any_origin_by_default_and_never_with_credentials(self, client: Caller) -> None:
        answer = client.get("/v1/shop/orders", headers={"Origin": "https://any.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.parametrize("path", ["/v1/shop/orders", "/v1/shop/fault", "/v1/nowhere"])
    def test_a_page_may_read_every_header_of_an_answer(self, client: Caller, path: str) -> None:
        """T-123: whatever a route sets, so that no list has to be kept."""
        answer = client.get(path, headers={"Origin": "https://any.example"})
        exposed = names_in(answer, "Access-Control-Expose-Headers")
        unsaid = {"cache-control", "content-length", "content-type"} | {name.lower() for name in SECURITY}
        present = {name for name in headers_of(answer) if not name.startswith("access-control-")}
        assert present - unsaid <= exposed
        assert "x-request-id" in exposed

    def test_also_one_that_nobody_has_thought_of_yet(self) -> None:
        def answers(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            start_response("200 OK", [("X-Of-Tomorrow", "1")])
            return [b""]

        answer = Client(Edge(answers, ids=SeededIds()), TestResponse).get("/v1/x", headers={"Origin": "null"})
        assert "x-of-tomorrow" in names_in(answer, "Access-Control-Expose-Headers")

    @pytest.mark.parametrize(
        ("path", "names"),
        [
            ("/v1/credits/history?limit=1", {"x-next-cursor"}),
            ("/v1/credits/audit", {"x-ledger-signature", "x-ledger-key-id"}),
        ],
    )
    def test_so_it_can_page_and_verify_a_csv(self, path: str, names: set[str]) -> None:
        world = World()
        world.system.credits.service.post("alice", deposit("one", credits(5)))
        answer = world.client().get(path, headers={"Origin": "https://any.example", "Accept": "text/csv"})
        exposed = names_in(answer, "Access-Control-Expose-Headers")
        assert names <= exposed & headers_of(answer)

    def test_headers_that_tools_add_pass_the_preflight(self, client: Caller) -> None:
        """T-123"""
        answer = client.options(
            "/v1/shop/orders",
            headers={
                "Origin": "https://any.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": ",".join(TOOLS),
            },
        )
        allowed = names_in(answer, "Access-Control-Allow-Headers")
        assert {*TOOLS, "authorization", "content-type", "idempotency-key"} <= allowed
        assert "Access-Control-Request-Headers" in answer.headers.getlist("Vary")

    def test_what_is_no_name_of_a_header_is_not_repeated(self, client: Caller) -> None:
        asked = ["a b", "<script>", "ü", "x" * 65, "", "good-one", *(f"x-{number}" for number in range(100))]
        answer = client.options(
            "/v1/shop/orders",
            headers={
                "Origin": "https://any.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": ", ".join(asked).encode().decode("latin-1"),
            },
        )
        allowed = names_in(answer, "Access-Control-Allow-Headers")
        assert "good-one" in allowed
        assert not {"a b", "<script>", "ü", "x" * 65, "", "x-99"} & allowed

    def test_a_preflight_needs_no_token(self, world: World) -> None:
        answer = world.client(None).options(
            "/v1/shop/orders",
            headers={"Origin": "https://any.example", "Access-Control-Request-Method": "POST"},
        )
        assert answer.status_code == 204
        assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]

    def test_a_list_lets_only_its_origins_in(self) -> None:
        edge = Edge(breaks, ids=SeededIds(), policy=EdgePolicy(origins=frozenset({"https://app.example"})))
        client = Client(edge, TestResponse)
        allowed = client.get("/__/health", headers={"Origin": "https://app.example"})
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
        refused = client.get("/__/health", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert allowed.headers["Vary"] == refused.headers["Vary"] == "Origin"

    def test_the_list_is_the_deployments(self) -> None:
        client = World(variables={"CORS_ORIGINS": "https://app.example"}).client(None)
        allowed = client.get("/v1/models", headers={"Origin": "https://app.example"})
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
        refused = client.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in refused.headers

    def test_errors_carry_it_too_or_the_page_could_not_read_them(self, client: Caller) -> None:
        answer = client.get("/v1/shop/bug", headers={"Origin": "https://any.example"})
        assert answer.status_code == 500
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


class TestHeaders:
    @pytest.mark.parametrize("path", ["/v1/shop/orders", "/v1/nowhere", "/v1/shop/bug"])
    def test_every_answer_is_kept_from_caches_and_frames(self, client: Caller, path: str) -> None:
        headers = client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "max-age" in headers["Strict-Transport-Security"]

    def test_an_answer_that_says_otherwise_is_left_alone(self, world: World) -> None:
        assert "max-age=3600" in world.client(None).get("/v1/docs/assets/swagger.js").headers["Cache-Control"]


class TestProbes:
    def test_the_platform_is_answered_before_anything_is_built(self) -> None:
        answer = Client(Edge(breaks, ids=SeededIds()), TestResponse).get("/__/health")
        assert (answer.status_code, answer.data) == (200, b"ok")

    def test_what_breaks_outside_of_handlers_tells_nothing(self) -> None:
        answer = Client(Edge(breaks, ids=SeededIds()), TestResponse).get("/v1/x")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert json.loads(answer.text)["code"] == "internal_error"
