"""Tool calls over the SDK: offered, chosen, streamed, answered."""

import json

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
}
SUM: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "calculate",
        "description": "Evaluates an arithmetic expression",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    },
}


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def calls(client: openai.OpenAI, question: str, **more: bool) -> list[tuple[str, dict[str, object]]]:
    answer = client.chat.completions.create(
        model="sim-small", messages=user(question), tools=[WEATHER, SUM], parallel_tool_calls=more.get("parallel", True)
    )
    made = [call for call in answer.choices[0].message.tool_calls or () if call.type == "function"]
    assert (answer.choices[0].finish_reason == "tool_calls") == bool(made)
    return [(call.function.name, json.loads(call.function.arguments)) for call in made]


class TestChoosing:
    @pytest.mark.parametrize(
        ("question", "expected"),
        [
            ("What is the weather in Paris?", [("get_weather", {"city": "Paris"})]),
            ("Will it rain in New York tomorrow?", [("get_weather", {"city": "New York"})]),
            ("How warm is it in Rome in fahrenheit?", [("get_weather", {"city": "Rome", "unit": "fahrenheit"})]),
            (
                "Weather in Paris and London, please",
                [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "London"})],
            ),
            ("What is 3 * (4 + 5)?", [("calculate", {"expression": "3 * (4 + 5)"})]),
            ("What is a ledger?", []),
            ("Hello!", []),
        ],
    )
    def test_a_tool_is_called_when_it_serves(
        self, client: openai.OpenAI, question: str, expected: list[tuple[str, dict[str, object]]]
    ) -> None:
        assert calls(client, question) == expected

    def test_calls_come_one_at_a_time_when_asked_so(self, client: openai.OpenAI) -> None:
        assert len(calls(client, "Weather in Paris and London, please", parallel=False)) == 1

    def test_a_choice_can_be_forced_or_forbidden(self, client: openai.OpenAI) -> None:
        forced = client.chat.completions.create(
            model="sim-small",
            messages=user("Hello!"),
            tools=[WEATHER, SUM],
            tool_choice={"type": "function", "function": {"name": "calculate"}},
        )
        assert forced.choices[0].message.tool_calls
        forbidden = client.chat.completions.create(
            model="sim-small", messages=user("Weather in Paris?"), tools=[WEATHER], tool_choice="none"
        )
        assert not forbidden.choices[0].message.tool_calls


class TestStreaming:
    def test_deltas_join_to_the_call_and_are_counted(self, client: openai.OpenAI) -> None:
        stream = client.chat.completions.create(
            model="sim-small",
            messages=user("What is the weather in San Francisco?"),
            tools=[WEATHER],
            stream=True,
            stream_options={"include_usage": True},
        )
        name, arguments, reason, counted = "", "", None, 0
        for chunk in stream:
            counted = chunk.usage.completion_tokens if chunk.usage else counted
            for choice in chunk.choices:
                reason = choice.finish_reason or reason
                for part in choice.delta.tool_calls or ():
                    assert part.function is not None
                    name += part.function.name or ""
                    arguments += part.function.arguments or ""
        assert (name, json.loads(arguments), reason) == ("get_weather", {"city": "San Francisco"}, "tool_calls")
        plain = client.chat.completions.create(
            model="sim-small", messages=user("What is the weather in San Francisco?"), tools=[WEATHER]
        )
        assert plain.usage is not None and plain.usage.completion_tokens == counted


class TestResults:
    def test_the_answer_tells_what_the_tool_said(self, client: openai.OpenAI) -> None:
        asked = user("What is the weather in Paris?")
        first = client.chat.completions.create(model="sim-small", messages=asked, tools=[WEATHER])
        call = (first.choices[0].message.tool_calls or [])[0]
        assert call.type == "function"
        asked += [
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.function.name, "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": '{"temperature_c": 18, "condition": "sunny"}'},
        ]
        second = client.chat.completions.create(model="sim-small", messages=asked, tools=[WEATHER])
        expected = "According to get weather, temperature c is 18 and condition is sunny."
        assert second.choices[0].message.content == expected
        assert first.usage is not None and second.usage is not None
        assert second.usage.prompt_tokens > first.usage.prompt_tokens
