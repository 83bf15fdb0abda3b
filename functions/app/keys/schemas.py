"""What the routes of API keys take and return."""

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from app.api.auth import Scope
from app.api.schemas import AmountIn, ApiKeyId, CreditAmount, Parameters, RequestBody, ResponseBody, TimeIn, Timestamp
from app.credits.public import Window
from app.keys.api_key import SCOPES

MOST_OVERLAP_S: Final = 7 * 86_400

Name = Annotated[str, Field(min_length=1, max_length=100, description="For people; it need not be unique")]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES), description="What the key may be used for")]


class Budget(RequestBody):
    """At most so many credits within any such time; `total`: ever. Rolling, in steps of a twelfth of it."""

    window: Window
    credits: AmountIn


def _one_of_each(budgets: list[Budget]) -> list[Budget]:
    if len({one.window for one in budgets}) < len(budgets):
        raise ValueError("give one budget for each window")
    return budgets


Budgets = Annotated[
    list[Budget], Field(max_length=4), AfterValidator(_one_of_each), Field(description="All of them hold at once")
]


class ApiKeyPath(Parameters):
    """Which key."""

    key_id: ApiKeyId


class ApiKeyBody(RequestBody):
    """A new key. Without `scopes` it has all of them; without `expires_at` it never expires."""

    name: Name
    scopes: Scopes = Field(default=[*SCOPES])
    expires_at: TimeIn | None = None
    budgets: Budgets = Field(default_factory=list)


class ApiKeyChanges(RequestBody):
    """What is left out stays. `expires_at: null` takes the end away."""

    name: Name | None = None
    scopes: Scopes | None = None
    expires_at: TimeIn | None = None
    budgets: Budgets | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give at least one of name, scopes, expires_at, budgets")
        return self


class ApiKeyRotation(RequestBody):
    """How long what counted before still counts; 0 ends it at once."""

    overlap_seconds: int = Field(default=86_400, ge=0, le=MOST_OVERLAP_S)


class BudgetAnswer(ResponseBody):
    """A budget, and what counts in it. `held`: what running answers of the key hold of it."""

    window: Window
    credits: CreditAmount
    spent: CreditAmount
    held: CreditAmount
    resets_at: Timestamp | None = Field(description="When the oldest part of `spent` no longer counts")


class ApiKeyAnswer(ResponseBody):
    """A key, without its text."""

    id: ApiKeyId
    name: str
    scopes: list[Scope]
    budgets: list[BudgetAnswer]
    created_at: Timestamp
    expires_at: Timestamp | None
    rotated_at: Timestamp | None
    older_until: Timestamp | None = Field(description="So long a text that was replaced still counts")


class NewApiKeyAnswer(ApiKeyAnswer):
    """A key with its text, which is shown this once."""

    key: str = Field(
        description="`Authorization: Bearer sk-...`", examples=["sk-01j9zzzzzzzzzzzzzzzzzzzzzz-" + "x" * 43]
    )


class ApiKeysAnswer(ResponseBody):
    """All of your keys, the newest first."""

    items: list[ApiKeyAnswer]
