"""What the routes for OpenAI's clients take and return, in the shapes of OpenAI's API reference
(https://platform.openai.com/docs/api-reference/chat).

A parameter that is not here is refused by its name: nothing that a client asks for is left out in silence.
"""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from app.api.schemas import AmountIn, CreditAmount, Id, ModelId, Parameters, RequestBody, ResponseBody
from app.chat.door.messages import ChatMessage, WithNulls
from app.chat.door.tools import OfferedTools, ToolChoice

MOST_MESSAGES: Final = 2_000


def _whole(given: object) -> object:
    """Clients in languages with one kind of number write whole ones as fractions."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Tokens = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=1_000_000)]
ModelName = Annotated[str, Field(min_length=1, max_length=1_000, json_schema_extra={"format": "model-id"})]
"""Any text: one that is no model of ours is told that there is none, as clients expect it."""


class StreamOptions(WithNulls):
    """`include_usage`: a last chunk tells usage and cost."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class PlainFormat(RequestBody):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class JsonSchema(WithNulls):
    """The JSON Schema of the answer. It counts as input."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=10_000)] | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class SchemaFormat(RequestBody):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


Stop = Annotated[str, Field(min_length=1, max_length=500)]


Label = Annotated[str, Field(max_length=512)]


class CompletionBody(WithNulls):
    """A chat completion. `max_cost` is ours: the most credits that it may cost. Null and empty values are none.

    The parameters in the last lines are taken and change nothing: the vendor is told an opaque name for the user,
    nothing is stored that could be labelled, and there is one tier and one answer.
    """

    model: ModelName
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)] = Field(
        examples=[[{"role": "user", "content": "What is a ledger?"}]]
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: Stop | Annotated[list[Stop], Field(min_length=1, max_length=4)] | None = None
    seed: Annotated[int, BeforeValidator(_whole), Field(ge=-(2**63), lt=2**63)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    response_format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    tools: OfferedTools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_cost: AmountIn | None = None

    n: Literal[1] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    metadata: Annotated[dict[Annotated[str, Field(max_length=64)], Label], Field(max_length=16)] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empties(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        needed = ("model", "messages")
        return {name: one for name, one in given.items() if name in needed or one not in ([], {}, "")}


class FunctionOfAnswer(ResponseBody):
    """A function that the model calls, with arguments as JSON text; the model may have written that wrongly."""

    name: str
    arguments: str


class CallOfAnswer(ResponseBody):
    """A tool call. Its result goes back in a `tool` message with its id."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionOfAnswer


class AnswerMessage(ResponseBody):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None = Field(description="Null where the model wrote nothing and called tools")
    refusal: None = None
    tool_calls: list[CallOfAnswer] | None = Field(default=None, description="Left out where there is none")


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Choice(ResponseBody):
    """The one answer. `length`: the limit was reached, or the credits."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class PromptDetails(ResponseBody):
    """A part of `prompt_tokens`."""

    cached_tokens: int


class AnswerDetails(ResponseBody):
    """A part of `completion_tokens`."""

    reasoning_tokens: int


class CompletionUsage(ResponseBody):
    """What was counted and what it cost. `estimated`: the vendor gave no count, so ours stands for it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: AnswerDetails
    cost: CreditAmount
    transaction_id: Id | None = Field(description="The entry of the ledger; null where nothing was charged")
    estimated: bool


class CompletionAnswer(ResponseBody):
    """A chat completion."""

    id: Id
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = Field(description="Who answered")
    choices: list[Choice]
    usage: CompletionUsage


class OpenAIModelPath(Parameters):
    """Which model."""

    model_id: ModelId


class OpenAIModel(ResponseBody):
    """A model as OpenAI's clients list it; prices stand in `GET /v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class OpenAIModels(ResponseBody):
    """The models that may be asked."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]
