"""`/orchestration/subscriptions` and `/orchestration/events/replay`: subscriptions, and replays of events."""

from flask_openapi import APIBlueprint

from app.admin.orchestration import serializers
from app.admin.orchestration.schemas import ReplayAnswer, ReplayBody, SubscriptionsAnswer
from app.api.auth import caller, only
from app.api.schemas import Problem
from app.kit.clock import from_rfc3339
from app.orchestration.assembly import Orchestration
from app.orchestration.event_bus import Replay
from app.orchestration.queue.audit import replay_row


def add(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
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
        question = _question(body)
        subscription = orchestration.bus.subscription(body.subscriber, body.event)
        # Recorded before the replay, so that the audit log also shows one that fails half way.
        orchestration.outbox.commit(
            [
                replay_row(
                    delivery=subscription.operation,
                    actor=caller().uid,
                    now_us=orchestration.clock.now_us(),
                    reason=_reason(body),
                )
            ]
        )
        done = orchestration.bus.replay(question, orchestration.outbox)
        more = None if done.after is None else serializers.cursor((str(done.after[0]), done.after[1]))
        return ReplayAnswer(sent=done.sent, next_cursor=more)


def _question(body: ReplayBody) -> Replay:
    return Replay(
        subscriber=body.subscriber,
        event=body.event,
        from_us=from_rfc3339(body.from_),
        to_us=from_rfc3339(body.to),
        again=body.again,
        limit=body.limit,
        after=_place(body.cursor),
    )


def _place(cursor: str | None) -> tuple[int, str] | None:
    """Position and id of the last delivery on the previous page."""
    place = serializers.read_cursor(cursor)
    if place is None:
        return None
    try:
        position = int(place[0])
    except ValueError:
        position = -(2**64)
    if not -(2**63) <= position < 2**63:
        raise serializers.not_ours(cursor or "")
    return position, place[1]


def _reason(body: ReplayBody) -> str:
    again = f", again as {body.again}" if body.again else ""
    return f"from {body.from_} to {body.to}{again}{', the next page' if body.cursor else ''}"
