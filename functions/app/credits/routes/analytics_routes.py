"""`GET /credits/analytics`: what the own credits were used for, as JSON or CSV."""

from typing import Literal

import flask
from flask_openapi import APIBlueprint
from pydantic import Field

from app.api.auth import caller
from app.api.schemas import CreditAmount, Parameters, ResponseBody, TimeIn, Timestamp, microseconds
from app.credits.routes.ledger_routes import wants_csv
from app.credits.service import Credits
from app.credits.usage.analytics import Analytics, Granularity, Line, UsagePeriod, UsageTotals
from app.kit.clock import to_rfc3339
from app.kit.money import to_decimal
from app.kit.spreadsheet import csv_text


class AnalyticsParameters(Parameters):
    """`from` is inclusive, `to` is not; the last 30 days unless told otherwise. Whole hours are counted."""

    from_: TimeIn | None = Field(default=None, alias="from")
    to: TimeIn | None = None
    granularity: Granularity = "day"


class UsageTotalsAnswer(ResponseBody):
    """Sums over charges; `input_tokens` includes `cached_tokens`, `output_tokens` includes reasoning."""

    cost: CreditAmount
    charges: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    image_tokens: int
    cost_per_charge: CreditAmount | None
    cost_per_1k_tokens: CreditAmount | None


class PeriodUsage(UsageTotalsAnswer):
    start: Timestamp


class ModelUsage(UsageTotalsAnswer):
    model: str


class TaskUsage(UsageTotalsAnswer):
    task: str


class ConversationUsage(ResponseBody):
    """Over the conversation's whole life."""

    conversation_id: str
    cost: CreditAmount
    messages: int
    cost_per_message: CreditAmount | None


class Efficiency(ResponseBody):
    """What a credit bought, and how much of the input came from the vendor's cache."""

    tokens_per_credit: int | None
    cached_input_percent: int | None


class AnalyticsAnswer(ResponseBody):
    """`movements` sums all entries by kind; `burn_rate` is credits a day over the last week.

    `complete` is false while older entries are still being counted: ask again to go on.
    """

    from_: Timestamp = Field(serialization_alias="from", validation_alias="from")
    to: Timestamp
    granularity: Literal["hour", "day", "month"]
    total: UsageTotalsAnswer
    periods: list[PeriodUsage]
    models: list[ModelUsage]
    tasks: list[TaskUsage]
    conversations: list[ConversationUsage]
    movements: dict[str, CreditAmount]
    efficiency: Efficiency
    burn_rate: CreditAmount
    days_left: int | None
    through_sequence: int
    complete: bool


def add_analytics_routes(blueprint: APIBlueprint, credits: Credits) -> None:
    """Adds it to the credits' blueprint."""

    @blueprint.get("/credits/analytics", summary="What credits were used for", responses={200: AnalyticsAnswer})
    def analytics(query: AnalyticsParameters) -> flask.Response:
        uid = caller().uid
        period = credits.analyst.period(microseconds(query.from_), microseconds(query.to), query.granularity)
        available = credits.available(credits.account(uid))
        found = credits.analyst.analyse(uid, period, available=available)
        if wants_csv():
            return flask.Response(_csv(found), content_type="text/csv; charset=utf-8")
        return flask.Response(_answer(found, period).model_dump_json(by_alias=True), mimetype="application/json")


def _answer(found: Analytics, period: UsagePeriod) -> AnalyticsAnswer:
    total = found.total
    return AnalyticsAnswer.model_validate(
        {
            "from": to_rfc3339(period.from_us),
            "to": to_rfc3339(period.to_us),
            "granularity": period.granularity,
            "total": _usage(total),
            "periods": [{"start": start, **_usage(usage)} for start, usage in found.by("start").items()],
            "models": [{"model": model, **_usage(usage)} for model, usage in found.by("model").items()],
            "tasks": [{"task": task, **_usage(usage)} for task, usage in found.by("task").items()],
            "conversations": [
                {
                    "conversation_id": each.conversation_id,
                    "cost": to_decimal(each.cost),
                    "messages": each.messages,
                    "cost_per_message": to_decimal(each.cost // each.messages) if each.messages else None,
                }
                for each in found.conversations
            ],
            "movements": {kind: to_decimal(amount) for kind, amount in sorted(found.movements.items())},
            "efficiency": {
                "tokens_per_credit": total.tokens * 1_000_000 // total.cost if total.cost else None,
                "cached_input_percent": _share(total.cached_input, total.total_input),
            },
            "burn_rate": to_decimal(found.burn_rate),
            "days_left": found.days_left,
            "through_sequence": found.sequence,
            "complete": found.complete,
        }
    )


def _usage(usage: UsageTotals) -> dict[str, object]:
    return {
        "cost": to_decimal(usage.cost),
        "charges": usage.charges,
        "input_tokens": usage.total_input,
        "cached_tokens": usage.cached_input,
        "output_tokens": usage.output + usage.reasoning,
        "reasoning_tokens": usage.reasoning,
        "image_tokens": usage.image,
        "cost_per_charge": _optional(usage.cost_per_charge),
        "cost_per_1k_tokens": _optional(usage.cost_per_1k_tokens),
    }


def _optional(amount: int | None) -> str | None:
    return None if amount is None else to_decimal(amount)


def _share(part: int, whole: int) -> int | None:
    return part * 100 // whole if whole else None


def _csv(found: Analytics) -> str:
    header = ["start", "model", "task", *_usage(UsageTotals())]
    return csv_text([header, *(_row(line) for line in found.lines)])


def _row(line: Line) -> list[str]:
    values = _usage(line.usage).values()
    return [line.start, line.model, line.task, *("" if value is None else str(value) for value in values)]
