"""What comes in: size, media type, JSON."""

import io

import pytest
from flask.json.provider import DefaultJSONProvider

from app.api.bodies import MAX_BODY, MAX_IMAGE_BODY
from support.world import Caller

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
