"""The real SDK against the simulator: what it parses, and which errors it raises."""

import openai
import pytest
from openai.types.chat import ChatCompletion

from support.vendor import Vendor


def ask(client: openai.OpenAI, question: str, model: str = "sim-small") -> ChatCompletion:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])


class TestModels:
    def test_the_six_models_are_listed(self, client: openai.OpenAI) -> None:
        listed = [model.id for model in client.models.list()]
        assert listed == ["sim-small", "sim-large", "sim-vision", "sim-reasoning", "sim-embed", "sim-image"]

    def test_one_model_can_be_retrieved(self, client: openai.OpenAI) -> None:
        assert client.models.retrieve("sim-embed").id == "sim-embed"

    def test_any_other_id_is_not_found(self, client: openai.OpenAI) -> None:
        for model in ("sim-smal", "sim-small-2", "gpt-4o"):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(client, "hi", model)
            assert refused.value.code == "model_not_found"


class TestPlainAnswers:
    def test_an_answer_is_sensible_and_counted(self, client: openai.OpenAI) -> None:
        answer = ask(client, "What is 17 * 23?")
        assert answer.choices[0].message.content == "17 * 23 = 391."
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_the_same_request_gives_the_same_bytes(self, client: openai.OpenAI) -> None:
        one = client.chat.completions.with_raw_response.create(
            model="sim-large", messages=[{"role": "user", "content": "Compare REST and gRPC"}]
        )
        other = client.chat.completions.with_raw_response.create(
            model="sim-large", messages=[{"role": "user", "content": "Compare REST and gRPC"}]
        )
        assert one.content == other.content
        assert one.headers["x-request-id"] != other.headers["x-request-id"]

    def test_max_tokens_cuts_and_says_so(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "Explain HTTP"}], max_tokens=7
        )
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None and answer.usage.completion_tokens == 7

    def test_stop_sequences_end_the_text(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "What is HTTP?"}], stop=["."]
        )
        text = answer.choices[0].message.content or ""
        assert text.startswith("HTTP is") and "." not in text

    def test_a_long_prompt_is_cached_the_second_time(self, client: openai.OpenAI) -> None:
        """T-14: cached tokens are a part of the prompt tokens, not an addition."""
        question = "Summarise: " + "A ledger never forgets an entry. " * 300
        first, second = ask(client, question).usage, ask(client, question).usage
        assert first is not None and second is not None
        assert first.prompt_tokens == second.prompt_tokens
        assert first.prompt_tokens_details is not None and first.prompt_tokens_details.cached_tokens == 0
        assert second.prompt_tokens_details is not None
        assert 1024 <= (second.prompt_tokens_details.cached_tokens or 0) <= second.prompt_tokens

    def test_reasoning_tokens_are_part_of_the_completion(self, client: openai.OpenAI) -> None:
        """T-15."""
        plain, reasoned = ask(client, "What is 6 * 7?").usage, ask(client, "What is 6 * 7?", "sim-reasoning").usage
        assert plain is not None and reasoned is not None and reasoned.completion_tokens_details is not None
        hidden = reasoned.completion_tokens_details.reasoning_tokens or 0
        assert hidden > 0
        assert reasoned.completion_tokens == plain.completion_tokens + hidden

    def test_reasoning_can_use_up_the_whole_limit(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(
            model="sim-reasoning", messages=[{"role": "user", "content": "What is 6 * 7?"}], max_completion_tokens=10
        )
        assert answer.choices[0].message.content == ""
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None and answer.usage.completion_tokens == 10

    def test_a_schema_is_filled(self, client: openai.OpenAI) -> None:
        schema: dict[str, object] = {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        }
        answer = client.chat.completions.create(
            model="sim-small",
            messages=[{"role": "user", "content": "Plan a trip to Lisbon for 5 days"}],
            response_format={"type": "json_schema", "json_schema": {"name": "trip", "schema": schema}},
        )
        assert answer.choices[0].message.content == '{"city":"Lisbon","days":5}'


class TestStreams:
    def test_a_stream_carries_one_token_per_chunk_and_then_usage(self, client: openai.OpenAI) -> None:
        """T-12: usage stands in an extra chunk without choices."""
        stream = client.chat.completions.create(
            model="sim-small",
            messages=[{"role": "user", "content": "What is hashing?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        usage = chunks[-1].usage
        assert chunks[-1].choices == [] and usage is not None
        assert all(chunk.usage is None for chunk in chunks[:-1])
        carrying = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
        assert usage.completion_tokens == len(carrying)
        assert chunks[-2].choices[0].finish_reason == "stop"

    def test_a_stream_says_what_the_plain_answer_says(self, client: openai.OpenAI) -> None:
        stream = client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "What is hashing?"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == ask(client, "What is hashing?").choices[0].message.content

    def test_usage_is_not_sent_unasked(self, client: openai.OpenAI) -> None:
        stream = client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert all("usage" not in chunk.model_fields_set for chunk in stream)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (401, openai.AuthenticationError),
            (403, openai.PermissionDeniedError),
            (404, openai.NotFoundError),
            (409, openai.ConflictError),
            (422, openai.UnprocessableEntityError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
            (503, openai.InternalServerError),
        ],
    )
    def test_each_status_becomes_its_exception(
        self, client: openai.OpenAI, status: int, expected: type[openai.APIStatusError]
    ) -> None:
        with pytest.raises(expected):
            ask(client, "hi", f"sim-small!status={status}")

    def test_a_rate_limit_says_when_to_come_back(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.RateLimitError) as limited:
            ask(client, "hi", "sim-small!status=429,retry-after=7")
        assert limited.value.response.headers["retry-after"] == "7"

    def test_a_used_up_quota_is_another_code(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.RateLimitError) as limited:
            ask(client, "hi", "sim-small!status=429,code=insufficient_quota")
        assert limited.value.code == "insufficient_quota"

    def test_a_wrong_key_is_refused(self, vendor: Vendor) -> None:
        with (
            openai.OpenAI(base_url=vendor.base_url, api_key="bad-key", max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError),
        ):
            stranger.models.list()

    def test_the_sdk_retries_until_the_vendor_recovers(self, vendor: Vendor) -> None:
        with openai.OpenAI(base_url=vendor.base_url, api_key="k", max_retries=2) as patient:
            answer = ask(patient, "hi", "sim-small!first=2,status=503,retry-after=0.01")
        assert answer.choices[0].message.content
        assert [record["status"] for record in vendor.requests()] == [503, 503, 200]

    def test_a_broken_connection_is_a_connection_error(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.APIConnectionError):
            ask(client, "hi", "sim-small!reset")

    def test_no_answer_is_a_timeout(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.2).chat.completions.create(
                model="sim-small!timeout", messages=[{"role": "user", "content": "hi"}]
            )

    def test_an_error_object_in_the_stream_is_raised(self, client: openai.OpenAI) -> None:
        """T-2: an error body is no text."""
        stream = client.chat.completions.create(
            model="sim-small!error-after=2", messages=[{"role": "user", "content": "What is DNS?"}], stream=True
        )
        received: list[str] = []
        with pytest.raises(openai.APIError):
            for chunk in stream:
                received.append(chunk.choices[0].delta.content or "")
        assert "".join(received) == "DNS turns"

    def test_bad_requests_name_the_parameter(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="sim-small", messages=[{"role": "user", "content": "hi"}], temperature=3
            )
        assert refused.value.param == "temperature"

    def test_too_large_a_limit_is_refused(self, client: openai.OpenAI) -> None:
        """T-29: the caller must know what a model can emit."""
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="sim-small", messages=[{"role": "user", "content": "hi"}], max_completion_tokens=16_385
            )
        assert refused.value.param == "max_tokens"

    def test_too_long_a_prompt_is_refused(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, "word " * 130_000)
        assert refused.value.code == "context_length_exceeded"
