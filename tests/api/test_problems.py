"""Errors as clients see them."""

import pytest
from werkzeug.exceptions import TooManyRequests

from app.api import problems
from support.world import Caller, World


class TestEveryError:
    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("/v1/nowhere", 404, "not_found"),
            ("/v1/shop/orders/ord_9", 404, "not_found"),
            ("/v1/shop/orders/%20", 422, "validation_failed"),
            ("/v1/shop/orders?limit=0", 422, "validation_failed"),
            ("/v1/shop/orders?lim=5", 422, "validation_failed"),
            ("/v1/shop/bug", 500, "internal_error"),
            ("/v1/shop/fault", 503, "unavailable"),
            ("/v1/shop/conflict", 503, "conflict"),
        ],
    )
    def test_is_a_problem_object(self, client: Caller, path: str, status: int, code: str) -> None:
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
        assert answer.json is not None
        assert answer.json["code"] == code
        assert answer.json["status"] == status
        assert {"type", "title", "detail", "request_id"} <= answer.json.keys()

    @pytest.mark.parametrize("path", ["/v1/shop/bug", "/v1/shop/fault", "/v1/shop/conflict"])
    def test_tells_nothing_of_the_inside(self, client: Caller, path: str) -> None:
        text = client.get(path).text
        assert "secret" not in text
        assert "Traceback" not in text
        assert "accounts/" not in text

    def test_a_fault_says_when_to_come_back(self, client: Caller) -> None:
        assert client.get("/v1/shop/fault").headers["Retry-After"] == "17"
        assert client.get("/v1/shop/conflict").headers["Retry-After"] == "5"

    def test_a_wrong_method_keeps_allow(self, client: Caller) -> None:
        answer = client.patch("/v1/shop/orders", json={})
        assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST", "DELETE"}

    def test_a_refusal_carries_its_fields(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", json={"item": "moon", "price": "5000"})
        assert answer.status_code == 402
        assert answer.json is not None
        assert answer.json["required"] == "5000"
        assert answer.json["code"] == "too_expensive"

    def test_validation_says_where_and_not_what(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", json={"item": "", "price": "1", "count": 99, "mine": "s3cret"})
        assert answer.json is not None
        assert {tuple(error["loc"]) for error in answer.json["errors"]} == {("item",), ("count",), ("mine",)}
        assert all(error.keys() == {"loc", "msg", "type"} for error in answer.json["errors"])
        assert "s3cret" not in answer.text


class TestDescribe:
    def test_extras_cannot_hide_the_members_of_a_problem(self) -> None:
        refused = problems.describe(problems.Malformed("no", status="200", code="fine", type="x"))
        body = refused.body("req_1")
        assert (body["status"], body["code"], body["type"]) == (
            400,
            "malformed_request",
            "urn:problem-type:malformed_request",
        )

    def test_headers_of_werkzeugs_errors_are_kept(self) -> None:
        assert problems.describe(TooManyRequests(retry_after=9)).headers == {"Retry-After": "9"}


class TestAuthentication:
    def test_no_token(self, world: World) -> None:
        answer = world.client(None).get("/v1/monitoring/metrics")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    @pytest.mark.parametrize("given", ["", "Basic YTpi", "Bearer", "Bearer  ", "token-alice-user"])
    def test_no_bearer(self, world: World, given: str) -> None:
        answer = world.client(None).get("/v1/monitoring/metrics", headers={"Authorization": given})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    def test_a_token_that_does_not_verify(self, world: World) -> None:
        answer = world.client(None).get("/v1/monitoring/metrics", headers={"Authorization": "Bearer forged"})
        assert answer.status_code == 401
        assert answer.json is not None
        assert answer.json["code"] == "token_invalid"
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    def test_an_expired_token(self, world: World) -> None:
        client = world.client("alice")
        assert client.token is not None
        world.tokens.expire(client.token)
        answer = client.get("/v1/monitoring/metrics")
        assert answer.status_code == 401
        assert answer.json is not None
        assert answer.json["code"] == "token_expired"

    def test_a_role_that_does_not_suffice(self, world: World) -> None:
        assert world.client("alice").get("/v1/monitoring/metrics").status_code == 403
        assert world.client(world.user("bob", role="support")).get("/v1/monitoring/metrics").status_code == 403
        assert world.client(world.user("root", role="admin")).get("/v1/monitoring/metrics").status_code == 200

    def test_a_role_that_was_taken_away_counts_no_more_though_the_token_still_claims_it(self, world: World) -> None:
        """T-95"""
        client = world.client(world.user("root", role="admin"))
        assert client.get("/v1/monitoring/metrics").status_code == 200
        world.tokens.demote("root")
        assert client.get("/v1/monitoring/metrics").status_code == 403

    def test_the_caller_is_asked_for_before_the_body_is_read(self, world: World, client: Caller) -> None:
        client.token = None
        assert client.post("/v1/shop/orders", data=b"{", content_type="application/json").status_code == 401
