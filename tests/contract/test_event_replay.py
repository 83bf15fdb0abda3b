"""A replay of events, page by page, over the in-memory store and over Firestore."""

import random
from dataclasses import replace
from uuid import uuid4

from app.kit.stores.documents import Documents
from app.orchestration.assembly import Contributions, QueueDependencies, assemble
from app.orchestration.event_bus import Event, Replay, Subscription
from app.orchestration.queue.handler import Done, Run, RunOutcome
from app.orchestration.queue.outbox import NoAlarms
from support.clock import ManualClock, SeededIds, no_pause
from support.memory import MemoryRealtime


def test_every_event_once_in_order_by_pages_of_any_size(documents: Documents) -> None:
    seen: list[object] = []
    name = f"Happened{uuid4().hex}"  # runs on one emulator do not meet

    def note(event: Event, run: Run) -> RunOutcome:
        seen.append(event.data["n"])
        return Done()

    def ignore(event: Event, run: Run) -> RunOutcome:
        return Done()

    clock = ManualClock()
    dependencies = QueueDependencies(
        documents,
        MemoryRealtime(),
        clock,
        SeededIds(random.randrange(2**32)),
        random.randrange,
        NoAlarms(),
        pause=no_pause,
    )
    listeners = (Subscription("stats", name, note, ordered=True), Subscription("mail", name, ignore))
    orchestration = assemble(dependencies, Contributions(subscriptions=listeners))
    start = clock.now_us()
    events = [Event(f"{name}-{9 - n}", name, 1, "alice", start + n // 3, {"n": n}) for n in range(9)]
    for first in range(0, 9, 3):
        orchestration.outbox.commit(orchestration.bus.rows(events[first : first + 3]))
    orchestration.runner.serve("events")
    assert seen == [*range(9)]
    for limit in (4, 100):
        seen.clear()
        sent, question = 0, Replay("stats", name, start, start + 3, f"by {limit}", limit)
        while True:
            page = orchestration.bus.replay(question, orchestration.outbox, orchestration.clock)
            orchestration.runner.serve("events")
            sent += page.sent
            if page.after is None:
                break
            question = replace(question, after=page.after)
        assert (sent, seen) == (9, [*range(9)])
    always = Replay("stats", name, -(10**16), 10**18, "for all of time")
    assert orchestration.bus.replay(always, orchestration.outbox, orchestration.clock).sent == 9
    orchestration.runner.serve("events")
