"""Tools over the door: offered, called, streamed, answered and paid, whatever shape the vendor gives to calls."""

import json
from typing import Any, Final

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.kit.money import from_decimal
from chat.door.served import Served, served
from emulators.model_vendor.calls import CallShape
from support.raw_vendor import Reply, event, replying, stream
from support.vendor import Vendor

WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CITIES: Final[list[Any]] = [{"role": "user", "content": "Weather in Paris and London, please"}]
PARIS_AND_LONDON: Final = [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "London"})]
DONE: Final = b"data: [DONE]\n\n"


def asked(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": "small", "messages": CITIES, "tools": [WEATHER], **more})


def called(answer: ChatCompletion) -> list[tuple[str, Any]]:
    calls = answer.choices[0].message.tool_calls or []
    return [(one.function.name, json.loads(one.function.arguments)) for one in calls if one.type == "function"]


def put_together(chunks: list[ChatCompletionChunk]) -> list[tuple[str, str, Any]]:
    """Id, name and arguments, as OpenAI's clients put the pieces together: by index, the first with id and name."""
    calls: dict[int, list[str]] = {}
    for part in (part for one in chunks for choice in one.choices for part in choice.delta.tool_calls or ()):
        assert part.function is not None
        if part.index not in calls:
            assert part.id and part.function.name and part.type == "function"
            calls[part.index] = [part.id, part.function.name, ""]
        else:
            assert part.id is None and part.function.name is None
        calls[part.index][2] += part.function.arguments or ""
    assert [*calls] == [*range(len(calls))]
    return [(id, name, json.loads(arguments)) for id, name, arguments in calls.values()]


class TestACall:
    def test_is_an_answer_without_text(self, door: Served, client: openai.OpenAI) -> None:
        answer = asked(client)
        assert called(answer) == PARIS_AND_LONDON
        assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("tool_calls", None)
        assert answer.usage.completion_tokens > 0
        [(id, amount)] = door.charges()
        assert (id, amount) == (answer.usage.transaction_id, f"-{answer.usage.cost}")
        assert (door.held(), door.kept()) == ("0", [])

    @pytest.mark.parametrize("finish", ["", ",finish=stop", ",finish=tool_use", ",finish=function_call"])
    @pytest.mark.parametrize("shape", CallShape)
    def test_is_streamed_alike_whatever_the_vendor_makes_of_it(
        self, door: Served, client: openai.OpenAI, shape: CallShape, finish: str
    ) -> None:
        door.vendor.arrange(f"calls={shape}{finish}")
        chunks = [*asked(client, stream=True, stream_options={"include_usage": True})]
        calls = put_together(chunks)
        assert [(name, arguments) for _, name, arguments in calls] == PARIS_AND_LONDON
        assert len({id for id, *_ in calls}) == 2
        reasons = [choice.finish_reason for one in chunks for choice in one.choices if choice.finish_reason]
        assert reasons == ["tool_calls"]
        assert f"-{chunks[-1].usage.cost}" == door.charges()[0][1]

    def test_costs_the_same_whole_and_streamed(self, door: Served, client: openai.OpenAI) -> None:
        asked(client)
        for _ in asked(client, stream=True):
            pass
        assert len({amount for _, amount in door.charges()}) == 1

    def test_is_answered_with_what_the_tool_gave(self, door: Served, client: openai.OpenAI) -> None:
        said = asked(client).choices[0].message
        results = [
            {"role": "tool", "tool_call_id": one.id, "name": "get_weather", "content": '{"sky": "clear"}'}
            for one in said.tool_calls
        ]
        answer = asked(client, messages=[*CITIES, said.model_dump(), *results])
        assert "clear" in answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"

    def test_that_is_cut_off_says_so(self, client: openai.OpenAI) -> None:
        answer = asked(client, max_tokens=9)
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].message.tool_calls

    def test_is_given_again_for_its_key_and_charged_once(self, door: Served, client: openai.OpenAI) -> None:
        headers = {"Idempotency-Key": "k"}
        first, again = asked(client, extra_headers=headers), asked(client, extra_headers=headers)
        assert first.model_dump() == again.model_dump()
        assert called(again) == PARIS_AND_LONDON
        streamed = [*asked(client, stream=True, extra_headers=headers)]
        assert [call[1:] for call in put_together(streamed)] == PARIS_AND_LONDON
        assert len(door.charges()) == 1

    def test_of_a_vendor_that_counts_nothing_is_charged_by_our_count(self, door: Served, client: openai.OpenAI) -> None:
        """What it wrote is output, with its name and arguments."""
        door.vendor.arrange("usage=missing")
        answer = asked(client)
        assert answer.usage.estimated
        assert 10 < answer.usage.completion_tokens < 60

    def test_in_front_of_a_vendor_that_breaks_costs_nothing(self, door: Served, client: openai.OpenAI) -> None:
        door.vendor.arrange("disconnect-after=4")
        with pytest.raises(openai.APIError):
            asked(client)
        door.vendor.arrange("disconnect-after=4")
        with pytest.raises(openai.APIError):
            for _ in asked(client, stream=True):
                pass
        assert (door.charges(), door.held(), len(door.vendor.requests())) == ([], "0", 2)

    def test_may_be_all_that_credits_allow(self, door: Served, client: openai.OpenAI) -> None:
        answer = asked(client, extra_body={"max_cost": "0.008"})
        [(_, amount)] = door.charges()
        assert -8000 <= from_decimal(amount) < 0
        assert answer.choices[0].finish_reason in ("length", "tool_calls")


class TestTools:
    def test_reach_the_vendor_as_they_were_offered(self) -> None:
        parameters = {"type": "object", "properties": {"x": {"type": ["string", "null"], "default": None}}}
        tool = {"type": "function", "function": {"name": "f", "strict": False, "parameters": parameters}}
        choice = {"type": "function", "function": {"name": "f"}}
        body = sent(tools=[tool], tool_choice=choice, parallel_tool_calls=False)
        assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == ([tool], choice, False)

    def test_that_are_none_ask_the_vendor_for_nothing(self) -> None:
        body = sent(tools=[], tool_choice="auto", parallel_tool_calls=True)
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()

    def test_are_input_that_is_held_and_paid_for(self, door: Served, client: openai.OpenAI) -> None:
        long = replace_description("word " * 2000)
        plain, loaded = asked(client, tools=[WEATHER]), asked(client, tools=[long])
        assert loaded.usage.prompt_tokens > plain.usage.prompt_tokens + 1000
        door.vendor.arrange("usage=missing")
        estimated = asked(client, tools=[long])
        assert estimated.usage.prompt_tokens > 1000

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"tools": [], "tool_choice": "required"}, "tool_choice"),
            ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice.function.name"),
            ({"tool_choice": "any"}, "tool_choice"),
            ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type"),
            ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
            ({"tools": [{"type": "function", "function": {"name": "f", "returns": 1}}]}, "tools.0.function.returns"),
            ({"tools": [WEATHER] * 129}, "tools"),
            ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "t"}]}, "messages.0.tool_call_id"),
            ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages.0"),
        ],
    )
    def test_that_cannot_be_are_refused_by_name(
        self, door: Served, client: openai.OpenAI, more: dict[str, Any], param: str
    ) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            asked(client, **more)
        assert refused.value.param == param
        assert door.vendor.requests() == []

    def test_for_a_model_that_takes_none_are_refused_by_name(self, door: Served, client: openai.OpenAI) -> None:
        made = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}
        given = {"role": "tool", "tool_call_id": "a", "content": "x"}
        for more in ({}, {"tools": [], "messages": [*CITIES, made, given]}):
            with pytest.raises(openai.BadRequestError) as refused:
                asked(client, model="reasoning", **more)
            assert (refused.value.code, refused.value.param) == ("model_unsuitable", "model")
            assert "tools" in refused.value.message and "reasoning" in refused.value.message
        assert (door.vendor.requests(), door.charges()) == ([], [])

    def test_that_nobody_offered_are_not_called(self) -> None:
        """The vendor calls one all the same: nobody could answer it."""
        call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        odd = stream(
            event(choices=[{"index": 0, "delta": {"content": "Let me look. "}}]),
            event(choices=[{"index": 0, "delta": {"tool_calls": [call]}}]),
            event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
            DONE,
        )
        answer = reply_to(odd, {})
        assert "tool_calls" not in answer["choices"][0]["message"]
        assert answer["choices"][0]["finish_reason"] == "length"


def test_a_member_for_calls_is_left_out_where_there_are_none(door: Served) -> None:
    """Some clients take it for a list wherever it stands."""
    headers = {"Authorization": f"Bearer {door.key()}"}
    answer = httpx2.post(
        f"{door.base_url}/chat/completions", json={"model": "small", "messages": CITIES}, headers=headers, timeout=60
    )
    message = answer.json()["choices"][0]["message"]
    assert "tool_calls" not in message
    assert message["refusal"] is None


def replace_description(text: str) -> dict[str, Any]:
    return {**WEATHER, "function": {**WEATHER["function"], "description": text}}


def reply_to(reply: Reply, more: dict[str, Any]) -> Any:
    """The answer that becomes of what a vendor sends."""
    with replying(reply) as vendor, served(Vendor(vendor.base_url)) as door:
        headers = {"Authorization": f"Bearer {door.key()}"}
        body = {"model": "small", "messages": CITIES, **more}
        answer = httpx2.post(f"{door.base_url}/chat/completions", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return {**answer.json(), "sent": vendor.bodies[0]}


def sent(**more: Any) -> Any:
    """What a vendor is sent."""
    end = event(choices=[{"index": 0, "delta": {"content": "Fine."}, "finish_reason": "stop"}])
    return reply_to(stream(end, DONE), more)["sent"]
