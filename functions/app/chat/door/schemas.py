"""What the routes for OpenAI's clients take and return, in the shapes of OpenAI's API reference
(https://platform.openai.com/docs/api-reference/chat).

A parameter that is not here is refused by its name: nothing that a client asks for is left out in silence.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from app.api.schemas import AmountIn, CreditAmount, Id, ModelId, Parameters, RequestBody, ResponseBody

MOST_MESSAGES = 2_000
MOST_TEXT = 2_000_000
"""Characters of one text. How many there may be in all depends on the model's context."""

Text = Annotated[str, Field(max_length=MOST_TEXT)]


class _WithNulls(RequestBody):
    """What clients send with null for what they leave out, and SDKs whenever they send back what they were given."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        return {name: one for name, one in given.items() if one is not None} if isinstance(given, dict) else given


class TextPart(RequestBody):
    """A text of a message."""

    type: Literal["text"]
    text: Text


class PictureAddress(RequestBody):
    """Where the vendor fetches a picture, or the picture itself as a `data:` URL."""

    url: Annotated[str, Field(pattern=r"^(https?://|data:image/)[!-~]+$", max_length=10_000_000)]
    detail: Literal["auto"] | None = None


class PicturePart(RequestBody):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: PictureAddress


TextParts = Annotated[list[TextPart], Field(min_length=1, max_length=100)]
Parts = Annotated[
    list[Annotated[TextPart | PicturePart, Field(discriminator="type")]], Field(min_length=1, max_length=100)
]


class SystemMessage(_WithNulls):
    """What the model is told about its task."""

    role: Literal["system", "developer"]
    content: Text | TextParts


class UserMessage(_WithNulls):
    """What the user says. Its texts are sent as one, and its pictures behind them."""

    role: Literal["user"]
    content: Text | Parts


class AssistantMessage(_WithNulls):
    """What the model said before."""

    role: Literal["assistant"]
    content: Text | TextParts
    refusal: None = None


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class StreamOptions(RequestBody):
    """`include_usage`: a last chunk tells usage and cost."""

    include_usage: bool = False


class PlainFormat(RequestBody):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class JsonSchema(RequestBody):
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


class CompletionBody(_WithNulls):
    """A chat completion. `max_cost` is ours: the most credits that it may cost.

    `user`, `store: false` and `logprobs: false` are taken and change nothing: the vendor is told an opaque name for
    the user, and nothing is stored.
    """

    model: ModelId
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)] = Field(
        examples=[[{"role": "user", "content": "What is a ledger?"}]]
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: Stop | Annotated[list[Stop], Field(min_length=1, max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    response_format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    n: Literal[1] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    store: Literal[False] | None = None
    logprobs: Literal[False] | None = None
    max_cost: AmountIn | None = None


class AnswerMessage(ResponseBody):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(ResponseBody):
    """The one answer. `length`: the limit was reached, or the credits."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "content_filter"]
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
