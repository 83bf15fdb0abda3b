"""Notices of credits that will expire: each has an event id of its own."""

from collections.abc import Sequence

from app.credits.core.commands import Refund
from app.credits.core.entry import Reference
from app.credits.core.events import AccountEvent
from app.credits.service import Credits
from app.credits.settings import CreditsSettings
from app.kit.stores.documents import Create, Write
from support.credits_world import DAY, ONE, SEED, CreditsWorld, promo, reserve, settle


def test_a_lot_that_a_refund_fills_again_is_noticed_again() -> None:
    """T-49: notices start over, and an id that exists already would make every sweep of the account fail."""
    world, told = CreditsWorld(), list[AccountEvent]()

    def publish(events: Sequence[AccountEvent]) -> list[Write]:
        told.extend(event for event in events if event.name == "LotExpiring")
        return [Create(f"outbox/{event.id}", {}) for event in events]

    credits = Credits(
        CreditsSettings(SEED),
        documents=world.documents,
        clock=world.clock,
        concurrency=world.concurrency,
        draw=world.ports.draw,
        publish=publish,
        archive=world.ports.archive,
    )
    credits.post("alice", promo("gift", ONE, world.clock.now_us() + 20 * DAY))
    credits.sweep("alice")
    credits.reserve("alice", reserve("r", ONE))
    charge = credits.settle("alice", settle("r", ONE)).entry
    assert charge is not None
    credits.post("alice", Refund("back", charge, ONE, 0, "goodwill", Reference("entry", charge.id)))
    assert credits.expire_due().failed == ()
    assert [event.data["days"] for event in told] == [30, 30]
    assert len({event.id for event in told}) == 2
