"""What clients send that OpenAI's own SDK does not: as editors, chat pages, frameworks and proxies really ask."""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import pytest

from app.api.openai.paths import meant
from app.chat.door import asking, routes
from app.chat.door.asking import Sender, waits_us
from app.chat.door.completion import CompletionAsk
from app.chat.door.schemas import CompletionBody
from app.chat.opening import FOR_EVER_US
from chat.door.served import Served, served
from support.raw_vendor import END, replying, stream, text
from support.vendor import Vendor

LEDGER: Final[list[Any]] = [{"role": "user", "content": "What is a ledger?"}]
JSON_FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "a b"}}
PICTURE: Final = "data:image/png;base64,iVBORw0KGgo="
ASKS_FOR_NOTHING: Final[Mapping[str, dict[str, Any]]] = {
    "nulls": {"tools": None, "stop": None, "functions": None, "audio": None, "seed": None},
    "empty lists and objects": {"tools": [], "functions": [], "stop": [], "logit_bias": {}, "metadata": {}},
    "an empty stop": {"stop": ""},
    "both limits": {"max_tokens": 64, "max_completion_tokens": 32},
    "whole numbers as fractions": {"max_tokens": 64.0, "seed": 7.0},
    "one answer": {"n": 1},
    "who is asking": {"user": "u-1", "safety_identifier": "u-1", "metadata": {"chat": "c-1"}},
    "hints for a cache": {"prompt_cache_key": "session-1", "prompt_cache_retention": "24h"},
    "the usual tier": {"service_tier": "auto", "store": False, "modalities": ["text"]},
    "no log probabilities": {"logprobs": False, "top_logprobs": 0},
    "no choice of tools": {"tool_choice": "none", "parallel_tool_calls": True},
    "usage of a whole answer": {"stream": False, "stream_options": {"include_usage": True}},
    "no padding of a stream": {"stream_options": {"include_usage": True, "include_obfuscation": False}},
    "plain text": {"response_format": {"type": "text"}},
}
SAID_BEFORE: Final[Mapping[str, dict[str, Any]]] = {
    "as the SDK dumps it": {
        "content": "A book.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    },
    "with no calls": {"content": "A book.", "tool_calls": []},
    "with reasoning": {"content": "A book.", "reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": []},
    "as a proxy dumps it": {"content": "A book.", "provider_specific_fields": {"citations": None}},
    "with nothing": {"content": None},
    "without content": {},
    "with an empty text": {"content": ""},
    "with no parts": {"content": []},
    "as parts": {"content": [{"type": "text", "text": "A book.", "cache_control": {"type": "ephemeral"}}]},
    "as a refusal": {"content": [{"type": "refusal", "refusal": "No."}]},
    "as a refusal beside": {"content": None, "refusal": "No."},
    "by a name": {"content": "A book.", "name": "helper"},
}


def post(door: Served, body: Mapping[str, Any], path: str = "/chat/completions", **headers: str) -> httpx2.Response:
    signed = {"Authorization": f"Bearer {door.key()}", **headers}
    return httpx2.post(
        f"{door.base_url}{path}", json={"model": "small", "messages": LEDGER, **body}, headers=signed, timeout=60
    )


def refusal(answer: httpx2.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


class TestARequest:
    @pytest.mark.parametrize("more", ASKS_FOR_NOTHING.values(), ids=ASKS_FOR_NOTHING)
    def test_may_say_what_changes_nothing(self, door: Served, more: dict[str, Any]) -> None:
        answer = post(door, more)
        assert answer.status_code == 200, answer.text
        [asked] = door.vendor.requests()
        assert asked["status"] == 200

    def test_with_two_limits_is_held_to_the_smaller(self, door: Served) -> None:
        for one, other in ((7, 64), (64, 7)):
            answer = post(door, {"max_tokens": one, "max_completion_tokens": other})
            assert answer.json()["usage"]["completion_tokens"] == 7

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"store": True}, "store"),
            ({"service_tier": "priority"}, "service_tier"),
            ({"modalities": ["text", "audio"]}, "modalities.1"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"logprobs": True}, "logprobs"),
            ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
            ({"metadata": {"a": 1}}, "metadata.a"),
        ],
    )
    def test_may_not_ask_for_what_is_not_given(self, door: Served, more: dict[str, Any], param: str) -> None:
        assert refusal(post(door, more)) == (400, "invalid_value", param)
        assert door.vendor.requests() == []

    @pytest.mark.parametrize("name", ["openai/small", "models/small", "a b", "x" * 300, "ü"])
    def test_for_a_model_of_any_other_name_finds_none(self, door: Served, name: str) -> None:
        assert refusal(post(door, {"model": name})) == (404, "model_not_found", "model")

    def test_can_have_a_query(self, door: Served) -> None:
        assert post(door, {}, "/chat/completions?api-version=2024-10-21").status_code == 200


class TestAMessage:
    @pytest.mark.parametrize("said", SAID_BEFORE.values(), ids=SAID_BEFORE)
    def test_of_the_assistant_comes_back_in_any_shape(self, door: Served, said: dict[str, Any]) -> None:
        answer = post(door, {"messages": [*LEDGER, {"role": "assistant", **said}, *LEDGER]})
        assert answer.status_code == 200, answer.text

    def test_reaches_the_vendor_with_its_name_and_the_order_of_its_parts(self) -> None:
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": "First:"},
            {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
            {"type": "text", "text": "Second:", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": PICTURE},
        ]
        sent = asked([{"role": "user", "name": "alice", "content": parts}], model="vision")
        del parts[2]["cache_control"]
        parts[3]["image_url"] = {"url": PICTURE}
        assert sent == [{"role": "user", "name": "alice", "content": parts}]

    def test_of_nothing_but_texts_is_one_text(self) -> None:
        parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
        system = {"role": "developer", "content": parts}
        assert asked([system, {"role": "user", "content": parts}]) == [
            {"role": "system", "content": "One.\nTwo."},
            {"role": "user", "content": "One.\nTwo."},
        ]

    def test_is_held_and_paid_for_with_its_name(self, door: Served) -> None:
        name = "n" * 64
        counts = [
            post(door, {"messages": [{"role": "user", "content": "Hi", **more}]}).json()["usage"]["prompt_tokens"]
            for more in ({}, {"name": name})
        ]
        assert counts[1] > counts[0]


class TestARefusalNames:
    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"stop": 5}, "stop"),
            ({"stop": ["a", 5]}, "stop.1"),
            ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
            ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages.0.content.0"),
            ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
            ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content.0.text"),
            ({"messages": [*LEDGER, {"role": "user"}]}, "messages.1.content"),
            ({"messages": [{"role": "bot", "content": "Hi"}]}, "messages.0"),
            ({"messages": [{"content": "Hi"}]}, "messages.0"),
            ({"messages": "Hi"}, "messages"),
            ({"messages": [{"role": "user", "content": "Hi", "mood": "good"}]}, "messages.0.mood"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
                "response_format.json_schema.name",
            ),
        ],
    )
    def test_the_part_that_is_wrong(self, door: Served, more: dict[str, Any], param: str) -> None:
        assert refusal(post(door, more))[::2] == (400, param)

    def test_what_is_no_object(self, door: Served) -> None:
        headers = {"Authorization": f"Bearer {door.key()}", "Content-Type": "application/json"}
        for body in (b"[]", b"null", b"5", b'"text"', b"{", b""):
            answer = httpx2.post(f"{door.base_url}/chat/completions", content=body, headers=headers, timeout=60)
            assert answer.status_code == 400, (body, answer.text)
            assert answer.json()["error"]["message"]

    @pytest.mark.parametrize("sent", [None, "", "Bearer", "Basic YTpi", "Bearer nonsense", "Bearer sk-nonsense"])
    def test_the_key_that_is_wanted(self, door: Served, sent: str | None) -> None:
        headers = {} if sent is None else {"Authorization": sent}
        answer = httpx2.get(f"{door.base_url}/models", headers=headers, timeout=60)
        assert refusal(answer) == (401, "invalid_api_key", None)
        assert "API key" in answer.json()["error"]["message"]


class TestAnAddress:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/openai/chat/completions",
            "/v1/openai/chat/completions/",
            "/v1/openai//chat/completions",
            "/v1/openai/v1/chat/completions",
            "/v1/openai/v1/v1/chat/completions/",
            "/v1/openai/chat/completions/chat/completions",
        ],
    )
    def test_is_understood_as_clients_put_it_together(self, path: str) -> None:
        assert meant(path) == "/v1/openai/chat/completions"

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("/v1/openai/v1/models/", "/v1/openai/models"),
            ("/v1/openai/chat/completions/models", "/v1/openai/models"),
            ("/v1/openai/models/v1", "/v1/openai/models/v1"),
            ("/v1/openai", "/v1/openai/"),
            ("/v1/openais/v1/models/", "/v1/openais/v1/models/"),
            ("/v1/models/", "/v1/models/"),
            ("/v1/chat//conversations", "/v1/chat//conversations"),
        ],
    )
    def test_elsewhere_is_left_alone(self, path: str, found: str) -> None:
        assert meant(path) == found

    def test_that_is_put_together_oddly_answers(self, door: Served) -> None:
        assert post(door, {}, "/v1//chat/completions/").status_code == 200
        assert post(door, {}, "/nothing").json()["error"]["type"] == "invalid_request_error"

    @pytest.mark.parametrize("path", ["", "/", "/v1", "/embeddings"])
    def test_that_has_nothing_says_so_as_openai_does(self, door: Served, path: str) -> None:
        answer = httpx2.get(f"{door.base_url}{path}", headers={"Authorization": f"Bearer {door.key()}"}, timeout=60)
        assert refusal(answer)[0] == 404

    def test_can_be_asked_from_a_page(self, door: Served) -> None:
        """The Node SDK in a browser sends headers of its own, which a preflight has to allow."""
        headers = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang,x-stainless-retry-count",
        }
        answer = httpx2.request("OPTIONS", f"{door.base_url}/chat/completions", headers=headers, timeout=60)
        assert answer.status_code == 204
        assert "x-stainless-retry-count" in answer.headers["Access-Control-Allow-Headers"]

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_can_be_probed(self, door: Served, method: str) -> None:
        answer = httpx2.request(
            method, f"{door.base_url}/models", headers={"Authorization": f"Bearer {door.key()}"}, timeout=60
        )
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("timeout", "waits"),
    [
        ("600", 598_000_000),
        ("20.0", 18_000_000),
        ("2", 1_500_000),
        *((said, FOR_EVER_US) for said in ("", "None", "-1", "0", "nan", "inf", "3601", "9" * 400, "1s")),
    ],
)
def test_how_long_a_client_waits_is_what_its_sdk_says(timeout: str, waits: int) -> None:
    assert waits_us(timeout) == waits


@pytest.mark.parametrize(("stream", "waits"), [(False, 18_000_000), (True, FOR_EVER_US)])
@pytest.mark.parametrize("header", ["x-stainless-read-timeout", "X-Stainless-Timeout"])
def test_a_client_waits_so_long_for_a_whole_answer_alone(
    door: Served, monkeypatch: pytest.MonkeyPatch, header: str, stream: bool, waits: int
) -> None:
    heard: list[CompletionAsk] = []

    def noted(body: CompletionBody, sender: Sender) -> CompletionAsk:
        heard.append(asking.asked(body, sender))
        return heard[-1]

    monkeypatch.setattr(routes, "asked", noted)
    assert post(door, {"stream": stream}, **{header: "20"}).status_code == 200
    assert [one.waits_us for one in heard] == [waits]


def asked(messages: list[Any], model: str = "small") -> Any:
    """The messages as a vendor gets them."""
    with replying(stream(text("fine "), END, b"data: [DONE]\n\n")) as vendor, served(Vendor(vendor.base_url)) as door:
        answer = post(door, {"model": model, "messages": messages})
        assert answer.status_code == 200, answer.text
        return json.loads(json.dumps(vendor.bodies[0]["messages"]))
