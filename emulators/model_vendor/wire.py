"""Request bodies as the vendor accepts them.

Owns validation: what is missing or out of range becomes the vendor's 400. Refuses to know how it is answered.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from emulators.model_vendor.errors import bad_request


class Wire(BaseModel):
    """Fields that the simulator does not use are accepted and ignored, as the vendor's newest ones would be."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(Wire):
    """Where a picture is: a `data:` URL or an address, and how closely to look."""

    url: str
    detail: Literal["low", "high", "auto", "original"] | None = None


class TextPart(Wire):
    """Text inside a message."""

    type: Literal["text", "input_text", "refusal"]
    text: str = ""
    refusal: str = ""


class ImagePart(Wire):
    """A picture inside a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class CalledFunction(Wire):
    """A function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Wire):
    """A call that the assistant asked for in an earlier turn."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Wire):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """All text of the message, parts joined by line breaks."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text or part.refusal for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImageUrl, ...]:
        """The pictures of the message in order."""
        if self.content is None or isinstance(self.content, str):
            return ()
        return tuple(part.image_url for part in self.content if isinstance(part, ImagePart))


class FunctionSpec(Wire):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str = ""
    parameters: dict[str, JsonValue] | None = None


class Tool(Wire):
    """An offered tool."""

    type: Literal["function"]
    function: FunctionSpec


class NamedFunction(Wire):
    """The function that must be called."""

    name: str


class NamedToolChoice(Wire):
    """A forced choice of one function."""

    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Wire):
    """Only `include_usage` matters."""

    include_usage: bool = False


class JsonSchema(Wire):
    """A schema that the answer must fit."""

    name: str = "answer"
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")] = {}


class ResponseFormat(Wire):
    """Plain text or JSON."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Wire):
    """POST /v1/chat/completions."""

    model: str
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    seed: int | None = None
    stop: str | Annotated[tuple[str, ...], Field(max_length=4)] | None = None
    user: str | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None

    @property
    def limit(self) -> int | None:
        """The most completion tokens that the caller accepts."""
        limits = [limit for limit in (self.max_completion_tokens, self.max_tokens) if limit is not None]
        return min(limits) if limits else None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage


class EmbeddingsRequest(Wire):
    """POST /v1/embeddings."""

    model: str
    input: (
        str
        | Annotated[tuple[str, ...], Field(min_length=1, max_length=2048)]
        | Annotated[tuple[int, ...], Field(min_length=1)]
        | Annotated[tuple[tuple[int, ...], ...], Field(min_length=1, max_length=2048)]
    )
    dimensions: Annotated[int, Field(ge=1, le=3072)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class ImagesRequest(Wire):
    """POST /v1/images/generations."""

    model: str = "sim-image"
    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    seed: int | None = None
    user: str | None = None


Request = TypeVar("Request", bound=Wire)


def read(kind: type[Request], body: bytes) -> Request:
    """Validate `body`, or refuse with 400 in the vendor's shape; `param` names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if problem["type"] == "json_invalid":
        raise bad_request("We could not parse the JSON body of your request.")
    param = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "missing":
        raise bad_request(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    raise bad_request(f"Invalid value for '{param}': {problem['msg']}.", param=param, code="invalid_value")
