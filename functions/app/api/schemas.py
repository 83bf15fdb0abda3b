"""Types and base classes of every feature's schemas. Pydantic only; no feature, no logic.

Bodies are strict: an unknown field, or `"5"` for 5, is refused.
"""

from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from app.api.auth import is_user_id
from app.kit.clock import from_rfc3339
from app.kit.errors import Invalid
from app.kit.money import Micro, from_decimal

_DECIMAL = r"^-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$"
_POSITIVE_DECIMAL = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$"

_PLAIN_ID: Final = r"^[A-Za-z0-9-][A-Za-z0-9_-]{0,127}$"
"""It does not start with an underscore: Firestore reserves `__...__` and refuses such a path."""


def _id(kind: str, what: str, pattern: str = _PLAIN_ID) -> FieldInfo:
    """The rule of one kind of id. Its `format` tells readers of the OpenAPI document, and a test, what it names."""
    described = f"{what}; opaque, URL-safe"
    rule: FieldInfo = Field(pattern=pattern, description=described, json_schema_extra={"format": f"{kind}-id"})
    return rule


Id = Annotated[str, Field(pattern=_PLAIN_ID, description="Opaque, URL-safe")]
"""An id in an answer. A request says which kind it means."""
ConversationId = Annotated[str, _id("conversation", "A conversation")]
MessageId = Annotated[str, _id("message", "A message")]
QuoteId = Annotated[str, _id("quote", "A quote of a message's price")]
TransactionId = Annotated[str, _id("transaction", "An entry of the ledger")]
ReservationId = Annotated[str, _id("reservation", "A reservation")]
CorrectionId = Annotated[str, _id("correction", "A proposed correction")]
ApiKeyId = Annotated[str, _id("api-key", "An API key, without its secret", r"^key_[0-9a-z]{26}$")]
OperationId = Annotated[str, _id("operation", "An operation of the queue")]
AuditedId = Annotated[
    str,
    _id(
        "audited",
        "The name of an operation; or `lane` or `saga`, and which one",
        r"^((lane|saga) )?[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$",
    ),
]
SagaId = Annotated[str, _id("saga", "A saga")]
LaneId = Annotated[str, _id("lane", "A lane of the queue", r"^[a-z][a-z0-9_-]{0,63}$")]
SubscriberId = Annotated[str, _id("subscriber", "A subscriber", r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
EventId = Annotated[str, _id("event", "A kind of event", r"^[A-Za-z][A-Za-z0-9]{0,63}$")]
ModelId = Annotated[str, _id("model", "An id of GET /v1/models", r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$")]
BreachId = Annotated[
    str, _id("breach", "`checkpoints`, or `account-` and a user", r"^(checkpoints|account-[A-Za-z0-9_.-]{1,128})$")
]
ShareToken = Annotated[str, _id("share", "Names what is shared", r"^shr_[0-9a-hjkmnp-tv-z]{26}$")]
"""128 random bits in base 32. Whoever has it can read what is shared."""
AssetId = Annotated[str, _id("asset", "A file of the documentation page", r"^[a-z-]+\.(css|js|svg|html)$")]


def _user_id(text: str) -> str:
    if not is_user_id(text):
        raise ValueError("no user of ours can have this id")
    return text


UserId = Annotated[
    str,
    AfterValidator(_user_id),
    Field(min_length=1, max_length=128, description="A user's id", json_schema_extra={"format": "user-id"}),
]
"""Another user, whom an administrator names."""

ReferenceId = Annotated[
    str,
    AfterValidator(_user_id),
    Field(
        min_length=1,
        max_length=128,
        description="Id of a message, payment, run, user, ...",
        json_schema_extra={"format": "reference-id"},
    ),
]
"""What an entry was made for. Of all kinds, ids of users are the freest."""

CreditAmount = Annotated[
    str,
    Field(pattern=_DECIMAL, description="Credits as a decimal with at most six places", examples=["999.25"]),
]
"""An amount as clients see it; write it with `app.kit.money.to_decimal`."""

Timestamp = Annotated[
    str,
    Field(
        description="RFC 3339, UTC", examples=["2026-11-21T08:30:00.000250Z"], json_schema_extra={"format": "date-time"}
    ),
]


def _time(text: str) -> str:
    from_rfc3339(text)
    return text


TimeIn = Annotated[
    str,
    AfterValidator(_time),
    Field(max_length=64, examples=["2026-11-21T00:00:00Z"], json_schema_extra={"format": "date-time"}),
]
"""An RFC 3339 time with an offset that a client sends."""


def microseconds(time: str | None) -> int | None:
    """A `TimeIn` in microseconds; None stays None."""
    return None if time is None else from_rfc3339(time)


def _micro(value: object) -> Micro:
    if not isinstance(value, str):
        raise ValueError("an amount of credits is a text such as 12.5")
    try:
        amount = from_decimal(value)
    except Invalid as error:
        raise ValueError(error.detail) from error
    if amount < 0:
        raise ValueError("an amount of credits cannot be negative here")
    return amount


AmountIn = Annotated[
    int,
    BeforeValidator(_micro),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _POSITIVE_DECIMAL,
            "description": "Credits as a decimal with at most six places",
            "examples": ["12.5"],
        }
    ),
]
"""An amount that a client sends: a decimal text outside, micro-credits inside."""


class RequestBody(BaseModel):
    """A request's JSON. Unknown fields are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Parameters(BaseModel):
    """Parameters of a path or a query. They arrive as text and are converted; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """Pydantic's, cached: flask-openapi asks for it with every request, and making it takes up to 1 ms."""
        if args or options:
            return super().model_json_schema(*args, **options)
        if "__kept_schema__" not in cls.__dict__:
            cls.__kept_schema__ = super().model_json_schema()
        return cls.__kept_schema__

    __kept_schema__: ClassVar[dict[str, Any]]


class ResponseBody(BaseModel):
    """What a route returns. Handlers return instances; the application writes them as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Cursor = Annotated[
    str,
    Field(max_length=1024, description="`next_cursor` of the answer before", json_schema_extra={"format": "cursor"}),
]
"""Where a list or a long check goes on; given out by the same route."""


class PageParameters(Parameters):
    """`?limit=&cursor=`: every list is read in pages, newest first."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: Cursor | None = None


Item = TypeVar("Item")


class Page(ResponseBody, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


class FieldError(BaseModel):
    """Where a request does not fit its model, and why."""

    loc: list[str | int]
    msg: str
    type: str


class Problem(BaseModel):
    """An error, RFC 9457. `code` is stable and for programs; `detail` is for people. More members may follow."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(pattern=r"^[a-z0-9_]+$")
    request_id: str
    errors: list[FieldError] | None = None
