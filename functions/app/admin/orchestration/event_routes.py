"""`/orchestration/subscriptions` and `/orchestration/events/replay`: subscriptions, and replays of events."""

from collections.abc import Sequence

from flask_openapi import APIBlueprint

from app.admin.orchestration import serializers
from app.admin.orchestration.schemas import ReplayAnswer, ReplayBody, SubscriptionsAnswer
from app.admin.orchestration.service import OrchestrationAdmin
from app.api.auth import caller, only
from app.api.paging import Cursors, as_id, as_integer
from app.api.schemas import Problem
from app.kit.clock import from_rfc3339
from app.orchestration.assembly import Orchestration
from app.orchestration.event_bus import Replay


def add(blueprint: APIBlueprint, orchestration: Orchestration, admin: OrchestrationAdmin) -> None:
    """Adds these routes to those of orchestration."""

    @blueprint.get("/subscriptions", summary="All subscriptions to events", responses={200: SubscriptionsAnswer})
    @only("admin", "support")
    def subscriptions() -> SubscriptionsAnswer:
        return SubscriptionsAnswer(
            subscriptions=[serializers.subscription(one) for one in orchestration.bus.subscriptions()]
        )

    @blueprint.post(
        "/events/replay",
        summary="Deliver past events to one subscriber",
        responses={200: ReplayAnswer, 404: Problem, 422: Problem},
    )
    @only("admin")
    def replay_events(body: ReplayBody) -> ReplayAnswer:
        cursors = _cursors(body)
        replay = _replay(body, cursors.read(body.cursor))
        done = admin.replay_events(replay, reason=_reason(body), by=caller().uid)
        more = None if done.after is None else cursors.write(done.after)
        return ReplayAnswer(sent=done.sent, next_cursor=more)


def _cursors(body: ReplayBody) -> Cursors[tuple[int, str]]:
    question = (body.subscriber, body.event, from_rfc3339(body.from_), from_rfc3339(body.to), body.again)
    return Cursors("events/replay", _position_and_id, question)


def _position_and_id(parts: Sequence[object]) -> tuple[int, str]:
    """Of the last delivery that was looked at."""
    position, id = parts
    return as_integer(position), as_id(id)


def _replay(body: ReplayBody, after: tuple[int, str] | None) -> Replay:
    return Replay(
        subscriber=body.subscriber,
        event=body.event,
        from_us=from_rfc3339(body.from_),
        to_us=from_rfc3339(body.to),
        again=body.again,
        limit=body.limit,
        after=after,
    )


def _reason(body: ReplayBody) -> str:
    again = f", again as {body.again}" if body.again else ""
    return f"from {body.from_} to {body.to}{again}{', the next page' if body.cursor else ''}"
