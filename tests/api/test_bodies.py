"""What comes in: size, media type, JSON."""

import io
from typing import TYPE_CHECKING, Final

import pytest
from flask import Flask, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi import APIBlueprint
from werkzeug.test import Client, TestResponse

from app.api import mount
from app.api.auth import public
from app.api.bodies import DROPPED_BYTES, MAX_BODY, MAX_IMAGE_BODY, MAX_PUBLIC_BODY, takes_images
from support.bodies import Counted
from support.shop import OrderBody, Shop
from support.world import Caller, World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

GOOD = b'{"item": "tea", "price": "1.5"}'


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


class TestSize:
    def test_up_to_the_limit_is_read(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", data=padded(MAX_BODY), content_type="application/json")
        assert answer.status_code == 201

    def test_one_byte_more_is_refused(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", data=padded(MAX_BODY + 1), content_type="application/json")
        assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")

    def test_chunks_do_not_get_around_it(self, client: Caller) -> None:
        answer = client.post(
            "/v1/shop/orders",
            input_stream=io.BytesIO(padded(MAX_BODY + 1)),
            content_type="application/json",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        )
        assert answer.status_code == 413

    def test_a_length_that_lies_gets_no_more_bytes_than_it_says(self, client: Caller) -> None:
        answer = client.post(
            "/v1/shop/orders",
            input_stream=io.BytesIO(padded(MAX_BODY + 1)),
            content_type="application/json",
            environ_overrides={"CONTENT_LENGTH": "10"},
        )
        assert answer.status_code == 400

    def test_pictures_may_be_larger(self, client: Caller) -> None:
        large = padded(MAX_IMAGE_BODY)
        assert client.post("/v1/shop/pictures", data=large, content_type="application/json").status_code == 201
        assert client.post("/v1/shop/pictures", data=large + b" ", content_type="application/json").status_code == 413


class TestMediaType:
    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    )
    def test_anything_but_json_is_refused(self, client: Caller, media_type: str) -> None:
        answer = client.post("/v1/shop/orders", data=GOOD, content_type=media_type)
        assert (answer.status_code, answer.mimetype) == (415, "application/problem+json")

    def test_a_compressed_body_is_refused(self, client: Caller) -> None:
        """T-100: a body that is never decompressed cannot be a bomb."""
        answer = client.post(
            "/v1/shop/orders", data=GOOD, content_type="application/json", headers={"Content-Encoding": "gzip"}
        )
        assert answer.status_code == 415

    def test_parameters_of_the_type_do_not_matter(self, client: Caller) -> None:
        answer = client.post("/v1/shop/orders", data=GOOD, content_type="application/json; charset=utf-8")
        assert answer.status_code == 201


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b'{"item": "tea", "price": "1"} x',
            b'{"item": "tea", "price": "1", "count": NaN}',
            b'{"item": "tea", "price": "1", "count": Infinity}',
            b'{"item": "tea", "price": "1", "count": 1e999}',
            b'{"item": "tea", "item": "gold", "price": "1"}',
            b'{"item": "\\ud800", "price": "1"}',
            b'{"item": "\xff", "price": "1"}',
            b'{"item": "\xed\xa0\x80", "price": "1"}',
            b"\xef\xbb\xbf" + GOOD,
            "{}".encode("utf-16"),
            b"[" * 200_000,
            b"[" * 65 + b"]" * 65,
            b'{"a":' * 65 + b"1" + b"}" * 65,
            b'{"count": ' + b"9" * 10_000 + b"}",
            b'"{\\"item\\": \\"tea\\", \\"price\\": \\"1\\"}"',
        ],
    )
    def test_what_is_not_json_or_is_ambiguous_is_refused(self, client: Caller, body: bytes) -> None:
        answer = client.post("/v1/shop/orders", data=body, content_type="application/json")
        assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b"{}"])
    def test_json_of_another_shape_does_not_fit_the_model(self, client: Caller, body: bytes) -> None:
        answer = client.post("/v1/shop/orders", data=body, content_type="application/json")
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        "change",
        [
            {"price": 1},
            {"price": "1e3"},
            {"price": "-1"},
            {"price": "1.0000001"},
            {"count": "2"},
            {"count": True},
            {"count": 1.5},
            {"item": 7},
            {"size": "huge"},
            {"colour": "red"},
        ],
    )
    def test_nothing_is_guessed(self, client: Caller, change: dict[str, object]) -> None:
        answer = client.post("/v1/shop/orders", json={"item": "tea", "price": "1"} | change)
        assert answer.status_code == 422

    def test_text_of_every_plane_goes_through(self, client: Caller) -> None:
        assert client.post("/v1/shop/orders", json={"item": "żółć 🫖 \u0000", "price": "1"}).status_code == 201
        escaped = b'{"item": "\\ud83e\\uded6", "price": "1"}'
        assert client.post("/v1/shop/orders", data=escaped, content_type="application/json").status_code == 201

    def test_brackets_in_text_are_no_nesting(self, client: Caller) -> None:
        assert client.post("/v1/shop/orders", json={"item": "[{" * 99, "price": "1"}).status_code == 201

    def test_the_provider_is_flasks(self, client: Caller) -> None:
        from app.api.bodies import StrictJson

        assert issubclass(StrictJson, DefaultJSONProvider)


def sent(client: Client, path: str, body: Counted, *, told: bool, **headers: str) -> TestResponse:
    """A POST of this body, with its length or in chunks."""
    length = {"CONTENT_LENGTH": str(body.left) if told else "", "wsgi.input_terminated": True, "wsgi.input": body}
    return client.post(path, content_type="application/json", headers=headers, environ_overrides=length)


TOO_MUCH: Final = 20 * 1024 * 1024
in_both_ways = pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])


@in_both_ways
class TestABodyOfNobody:
    """T-100: whoever has no token makes us hold nothing."""

    @pytest.mark.parametrize("path", ["/v1/shop/orders", "/v1/shop/pictures", "/v1/nowhere", "/v1/shop/bug"])
    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer forged", "Basic YTpi"])
    def test_is_not_read(self, world: World, shop: Shop, path: str, authorization: str, told: bool) -> None:
        body = Counted(TOO_MUCH)
        answer = sent(world.mounted(shop.routes(), user=None), path, body, told=told, Authorization=authorization)
        assert answer.status_code in (401, 404, 405)
        assert sum(body.reads) == 0

    def test_of_a_user_is_read_to_the_limit_of_its_route(self, client: Caller, told: bool) -> None:
        body = Counted(TOO_MUCH)
        assert sent(client, "/v1/shop/orders", body, told=told).status_code == 413
        assert sum(body.reads) <= MAX_BODY + 64 * 1024

    def test_is_small_where_a_route_takes_one(self, world: World, told: bool) -> None:
        blueprint = APIBlueprint("open", __name__)

        @blueprint.post("/open")
        @public
        @takes_images
        def anybody(body: OrderBody) -> dict[str, object]:
            return {"item": body.item}

        client = world.mounted(blueprint, user=None)
        assert client.post("/v1/open", data=padded(MAX_PUBLIC_BODY), content_type="application/json").status_code == 200
        body = Counted(TOO_MUCH)
        assert sent(client, "/v1/open", body, told=told).status_code == 413
        assert sum(body.reads) <= MAX_PUBLIC_BODY + 64 * 1024


@in_both_ways
class TestInsideTheFramework:
    def test_the_rest_is_dropped_piece_by_piece_behind_the_answer(self, told: bool) -> None:
        """So the client sees the answer, and nothing of its body is kept."""
        body = Counted(TOO_MUCH)
        read_before: list[int] = []

        def refuses(_: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
            read_before.append(sum(body.reads))
            start_response("401 Unauthorized", [])
            return [b"no"]

        application = Flask("framework")
        application.add_url_rule("/", "api", lambda: mount.serve(refuses, request), methods=["POST"])
        answer = sent(application.test_client(), "/", body, told=told)
        assert (answer.status_code, read_before) == (401, [0])
        assert body.left == 0
        assert max(body.reads) <= 64 * 1024

    def test_a_body_without_end_is_given_up(self, told: bool) -> None:
        body = Counted(10 * DROPPED_BYTES)

        def refuses(_: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
            start_response("401 Unauthorized", [])
            return [b"no"]

        application = Flask("framework")
        application.add_url_rule("/", "api", lambda: mount.serve(refuses, request), methods=["POST"])
        assert sent(application.test_client(), "/", body, told=told).status_code == 401
        assert sum(body.reads) <= DROPPED_BYTES + 64 * 1024
