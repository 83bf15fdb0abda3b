"""OpenAI's Python SDK against our door, over the wire: what it reads, which errors it raises, what is charged."""

import json
import threading
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.kit.money import from_decimal, to_decimal
from chat.door.served import Served, served
from support.raw_vendor import END, Reply, replying, stream, text
from support.vendor import Vendor

LEDGER: list[Any] = [{"role": "user", "content": "What is a ledger?"}]


def ask(client: openai.OpenAI, **more: Any) -> ChatCompletion:
    answer = client.chat.completions.create(**{"model": "small", "messages": LEDGER, **more})
    assert isinstance(answer, ChatCompletion)
    return answer


def streamed(client: openai.OpenAI, **more: Any) -> list[ChatCompletionChunk]:
    return [*client.chat.completions.create(**{"model": "small", "messages": LEDGER, "stream": True, **more})]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def charged(usage: Any) -> list[tuple[str, str]]:
    """The entry that a usage names, as the history shows it."""
    return [(usage.transaction_id, to_decimal(-from_decimal(usage.cost)))]


class TestAnAnswer:
    def test_is_whole_and_says_what_it_cost(self, door: Served, client: openai.OpenAI) -> None:
        answer = ask(client)
        assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
        assert answer.model == "small"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
        assert door.charges() == charged(answer.usage)

    def test_is_streamed_with_its_cost_in_the_last_chunk(self, door: Served, client: openai.OpenAI) -> None:
        whole = ask(client).choices[0].message.content
        chunks = streamed(client, stream_options={"include_usage": True})
        assert text_of(chunks) == whole
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [one.choices[0].finish_reason for one in chunks[-2:-1]] == ["stop"]
        assert (chunks[-1].choices, len({one.id for one in chunks})) == ([], 1)
        assert door.charges()[:1] == charged(chunks[-1].usage)

    def test_tells_no_usage_in_a_stream_that_was_not_asked_for_it(self, client: openai.OpenAI) -> None:
        assert {one.usage for one in streamed(client)} == {None}

    def test_leaves_nothing_but_its_entry(self, door: Served, client: openai.OpenAI) -> None:
        ask(client)
        streamed(client)
        assert (door.kept(), door.held(), len(door.charges())) == ([], "0", 2)
        assert not [path for path in door.world.documents.all() if "/messages/" in path]

    def test_names_the_key_on_its_entry(self, door: Served, client: openai.OpenAI) -> None:
        ask(client)
        [key] = (door.world.client("alice").get("/v1/keys").json or {})["items"]
        [entry] = spending(door)
        assert entry["usage"]["api_key"] == key["id"]

    @pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
    def test_is_as_short_as_the_client_wants_it(self, door: Served, client: openai.OpenAI, limit: str) -> None:
        """Also below the least that a message is worth quoting for."""
        answer = ask(client, **{limit: 7})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None and answer.usage.completion_tokens == 7

    def test_goes_by_the_options_of_the_client(self, door: Served, client: openai.OpenAI) -> None:
        answer = ask(client, stop=["."], seed=3, temperature=0.5, top_p=0.9)
        assert "." not in (answer.choices[0].message.content or ".")
        [asked] = door.vendor.requests()
        params = asked["params"]
        assert isinstance(params, dict)
        assert (params["temperature"], params["seed"]) == (0.5, 3)

    def test_fits_a_schema_that_is_paid_as_input(self, door: Served, client: openai.OpenAI) -> None:
        schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
        format = {"type": "json_schema", "json_schema": {"name": "word", "schema": schema, "strict": True}}
        answer = ask(client, response_format=format)
        assert (answer.choices[0].message.content or "").startswith("{")
        plain = ask(client)
        assert answer.usage is not None and plain.usage is not None
        assert answer.usage.prompt_tokens > plain.usage.prompt_tokens

    def test_sees_pictures(self, door: Served, client: openai.OpenAI) -> None:
        picture = {"type": "image_url", "image_url": {"url": door.vendor.picture()}}
        parts = [{"type": "text", "text": "What is this?"}, picture]
        answer = ask(client, model="vision", messages=[{"role": "user", "content": parts}])
        assert answer.usage is not None and answer.usage.prompt_tokens > 80
        assert door.vendor.requests()[-1]["params"]["images"] == 1  # type: ignore[index]  # an object of the journal

    def test_knows_what_was_said_before(self, door: Served, client: openai.OpenAI) -> None:
        said = [{"role": "developer", "content": "Be short."}, *LEDGER, {"role": "assistant", "content": "A book."}]
        ask(client, messages=[*said, {"role": "user", "content": [{"type": "text", "text": "Why?"}]}])
        assert door.vendor.requests()[-1]["params"]["messages"] == 4  # type: ignore[index]  # an object of the journal

    def test_costs_at_most_what_the_client_allows(self, door: Served, client: openai.OpenAI) -> None:
        answer = ask(client, extra_body={"max_cost": "0.0012"})
        assert answer.choices[0].finish_reason == "length"
        [(_, amount)] = door.charges()
        assert -1200 <= from_decimal(amount) < 0


class TestAKeyForIdempotency:
    @pytest.mark.parametrize("stream", [False, True])
    def test_gives_the_same_answer_and_charges_once(self, door: Served, client: openai.OpenAI, stream: bool) -> None:
        headers = {"Idempotency-Key": "k"}
        first = ask(client, extra_headers=headers)
        signed = {**headers, "Authorization": f"Bearer {client.api_key}"}
        body = {"model": "small", "messages": LEDGER, "stream": stream}
        again = httpx2.post(f"{door.base_url}/chat/completions", json=body, headers=signed)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert first.id in again.text
        assert json.dumps(first.choices[0].message.content) in again.text
        assert len(door.charges()) == len(door.vendor.requests()) == 1

    def test_is_refused_with_another_request(self, door: Served, client: openai.OpenAI) -> None:
        ask(client, extra_headers={"Idempotency-Key": "k"})
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            ask(client, extra_headers={"Idempotency-Key": "k"}, temperature=1)
        assert refused.value.code == "idempotency_key_reused"

    def test_may_try_again_what_failed_for_nothing(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("status=500", times=None)
        with pytest.raises(openai.InternalServerError):
            ask(client, extra_headers={"Idempotency-Key": "k"})
        assert (door.kept(), door.held(), door.charges()) == ([], "0", [])
        door.vendor.reset()
        assert ask(client, extra_headers={"Idempotency-Key": "k"}).usage is not None
        assert len(door.charges()) == 1


class TestARefusal:
    """Nothing is charged, and the vendor is not asked."""

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"logit_bias": {"1": 1}}, "logit_bias"),
            ({"extra_body": {"nonsense": 1}}, "nonsense"),
        ],
    )
    def test_names_the_parameter_that_is_not_supported(
        self, door: Served, client: openai.OpenAI, more: dict[str, Any], param: str
    ) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, **more)
        assert (refused.value.code, refused.value.param) == ("unsupported_parameter", param)
        assert (door.vendor.requests(), door.charges()) == ([], [])

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"n": 2}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"temperature": 3}, "temperature"),
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "t"}]}, "messages.0.tool_call_id"),
            ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, None),
        ],
    )
    def test_names_the_value_that_does_not_fit(
        self, door: Served, client: openai.OpenAI, more: dict[str, Any], param: str | None
    ) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, **more)
        assert refused.value.code == "invalid_value"
        assert refused.value.param == param if param else str(refused.value.param).startswith("messages.0")
        assert (door.vendor.requests(), door.charges()) == ([], [])

    def test_of_an_unknown_model(self, client: openai.OpenAI) -> None:
        for model in ("gpt-4o", "smal"):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(client, model=model)
            assert (refused.value.code, refused.value.param) == ("model_not_found", "model")

    def test_of_a_prompt_that_does_not_fit(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, messages=[{"role": "user", "content": "word " * 390_000}])
        assert refused.value.code == "context_length_exceeded"

    def test_of_a_picture_for_a_model_that_sees_none(self, client: openai.OpenAI) -> None:
        parts = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, messages=[{"role": "user", "content": parts}])
        assert refused.value.code == "model_unsuitable"

    def test_of_a_key_that_is_none(self, door: Served) -> None:
        with (
            openai.OpenAI(base_url=door.base_url, api_key="sk-nobody", max_retries=2) as client,
            pytest.raises(openai.AuthenticationError) as refused,
        ):
            ask(client)
        assert refused.value.code == "invalid_api_key"

    def test_of_a_key_without_the_scope(self, door: Served) -> None:
        key = door.key(scopes=["models"])
        with openai.OpenAI(base_url=door.base_url, api_key=key, max_retries=2) as client:
            assert client.models.list().data
            with pytest.raises(openai.PermissionDeniedError) as refused:
                ask(client)
        assert refused.value.code == "api_key_out_of_scope"

    @pytest.mark.parametrize("stream", [False, True])
    def test_for_lack_of_credits_is_not_tried_again(self, door: Served, stream: bool) -> None:
        self.spend_all(door)
        with (
            openai.OpenAI(base_url=door.base_url, api_key=door.key(), max_retries=2) as client,
            pytest.raises(openai.APIStatusError) as refused,
        ):
            client.chat.completions.create(model="small", messages=LEDGER, stream=stream)
        assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
        assert door.paths.count("/v1/openai/chat/completions") == 1

    @staticmethod
    def spend_all(door: Served) -> None:
        alice = door.world.client("alice")
        available = (alice.get("/v1/credits/balance").json or {})["available"]
        held = alice.post("/v1/credits/reserve", json={"amount": available, "purpose": "test"})
        assert held.status_code == 201, held.text


class TestAVendorThatFails:
    def test_before_any_text_is_an_error_that_the_sdk_tries_again(self, door: Served) -> None:
        """And nothing is charged for the one that failed."""
        door.vendor.arrange("status=429,retry-after=3", times=1, model="sim-small")
        door.vendor.arrange("status=500", times=1, model="sim-large")
        with openai.OpenAI(base_url=door.base_url, api_key=door.key(), max_retries=1, timeout=20) as client:
            answer = ask(client)
        assert answer.choices[0].finish_reason == "stop"
        assert len(door.charges()) == 1

    def test_in_the_middle_of_a_stream_is_an_error_and_free(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("disconnect-after=3")
        with pytest.raises(openai.APIError) as broken:
            streamed(client)
        assert broken.value.code == "model_broke"
        assert (door.charges(), door.held(), door.kept()) == ([], "0", [])

    def test_in_the_middle_of_a_whole_answer_is_an_error_and_free(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("disconnect-after=3")
        with pytest.raises(openai.InternalServerError) as broken:
            ask(client)
        assert (broken.value.status_code, broken.value.code) == (503, "model_broke")
        assert (door.charges(), door.held(), door.kept()) == ([], "0", [])

    def test_before_any_text_of_a_stream_has_a_status(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("status=500", times=None)
        with pytest.raises(openai.InternalServerError) as broken:
            streamed(client)
        assert broken.value.status_code == 503
        assert "retry-after" in broken.value.response.headers

    def test_and_filters_ends_by_the_word_of_openai(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("finish=content_filter")
        answer = ask(client)
        assert answer.choices[0].finish_reason == "content_filter"
        assert len(door.charges()) == 1


class TestAClientThatLeaves:
    def test_pays_for_what_it_got_and_the_rest_comes_back(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("tokens-per-second=40")
        stream = client.chat.completions.create(model="small", messages=LEDGER, stream=True)
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        stream.close()
        self.wait(door)
        [(_, amount)] = door.charges()
        assert from_decimal(amount) < 0
        [entry] = spending(door)
        assert entry["reason"] == "client_gone_partial"
        assert (door.held(), door.kept()) == ("0", [])

    @staticmethod
    def wait(door: Served) -> None:
        for _ in range(400):
            if door.charges():
                return
            threading.Event().wait(0.05)
        raise AssertionError("it was never settled")


class TestModels:
    def test_are_those_that_write_text(self, client: openai.OpenAI) -> None:
        assert [one.id for one in client.models.list()] == ["small", "large", "vision", "reasoning"]
        assert client.models.retrieve("large").owned_by

    def test_of_other_names_are_not_found(self, client: openai.OpenAI) -> None:
        for id in ("gpt-4o", "embed"):
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve(id)


def spending(door: Served) -> list[dict[str, Any]]:
    """The entries of paid calls as they are stored."""
    found = door.world.documents.all().items()
    listed = [dict(stored.fields) for path, stored in found if path.startswith("accounts/alice/entries/")]
    return [fields for fields in listed if fields.get("usage")]


REFUSED = Reply(400, b'{"error": {"message": "no", "type": "invalid_request_error", "code": "unsupported_parameter"}}')


def test_a_parameter_that_the_vendor_does_not_take_shuts_no_model_for_others() -> None:
    done = stream(text("fine "), END, b"data: [DONE]\n\n")
    with replying(*[REFUSED] * 8, done) as vendor, served(Vendor(vendor.base_url)) as found:
        for uid in ("alice", "bob") * 4:
            client = openai.OpenAI(base_url=found.base_url, api_key=found.key(uid), max_retries=0)
            with pytest.raises(openai.BadRequestError):
                ask(client, reasoning_effort="low")
        assert ask(openai.OpenAI(base_url=found.base_url, api_key=found.key("carol"), max_retries=0))


@pytest.mark.parametrize("more", [{"tools": None}, {"top_logprobs": None}, {"service_tier": None}])
def test_a_parameter_that_is_null_is_none(client: openai.OpenAI, more: dict[str, None]) -> None:
    assert ask(client, extra_body=more)


def test_an_answer_goes_back_as_the_sdk_dumps_it(client: openai.OpenAI) -> None:
    said = ask(client).choices[0].message.model_dump()
    assert ask(client, messages=[*LEDGER, said, *LEDGER])
