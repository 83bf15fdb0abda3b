"""What administrators do to lanes, sagas and events. Each act stands in the audit log before it is done."""

from app.kit.errors import NotFound
from app.orchestration.assembly import Orchestration
from app.orchestration.event_bus import Replay, ReplayPage
from app.orchestration.queue.audit import lane_row, replay_row, saga_row
from app.orchestration.sagas.saga import SagaState


class OrchestrationAdmin:
    """The acts. `by` is the administrator's user id."""

    def __init__(self, orchestration: Orchestration) -> None:
        self._orchestration = orchestration

    def set_paused(self, lane: str, *, paused: bool, by: str) -> None:
        """Pauses a lane, or resumes it and starts runners for what waits there.

        Raises:
            NotFound: there is no such lane.
        """
        core = self._orchestration
        if lane not in core.handlers.lanes:
            raise NotFound("There is no such lane", lane=lane)
        now_us = core.clock.now_us()
        row = lane_row(lane=lane, action="paused" if paused else "resumed", actor=by, now_us=now_us)
        core.outbox.commit([row])
        core.doorbell.pause(lane, paused)
        if not paused:
            core.sweeper.wake(lane, core.doorbell.depth(lane, now_us).tickets, now_us)

    def cancel_saga(self, saga_id: str, *, reason: str, by: str) -> SagaState:
        """Stops a saga and undoes what it did.

        Raises:
            NotFound: there is no such saga.
        """
        core = self._orchestration
        core.sagas.get(saga_id)
        core.outbox.commit([saga_row(saga=saga_id, actor=by, now_us=core.clock.now_us(), reason=reason)])
        return core.sagas.cancel(saga_id, f"{by}: {reason}")

    def replay_events(self, replay: Replay, *, reason: str, by: str) -> ReplayPage:
        """Delivers past events to one subscriber again, a page at a time.

        Raises:
            NotFound: nobody of that name listens to that event.
        """
        core = self._orchestration
        delivery = core.bus.subscription(replay.subscriber, replay.event).operation
        # Recorded first, so that the audit log also shows a replay that fails half way.
        row = replay_row(delivery=delivery, actor=by, now_us=core.clock.now_us(), reason=reason)
        core.outbox.commit([row])
        return core.bus.replay(replay, core.outbox, core.clock)
