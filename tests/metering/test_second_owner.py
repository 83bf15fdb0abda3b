"""A feature that is no chat pays for its calls with what `app.metering` offers, through every line of the table."""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from app.credits.core.entry import Entry
from app.kit.errors import Unavailable
from app.kit.stores.documents import Document, Fields, Merge, Version
from app.metering.billing import PATH, Basis, Ending, Mode, Payer, Policy, Rule, default_policy
from app.metering.meter import Meter
from app.metering.orphans import Orphan
from app.metering.reserving import CallInProgress
from app.metering.settling import SETTLE_TRIES
from app.models.gateway import Counted
from app.models.usage import Reported
from metering.gallery import LEASE_US, Gallery, Task
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments

TABLE = tomllib.loads(PATH.read_text())
CELLS = list(itertools.product(Ending, Mode))
ABANDONED = (Ending.CRASHED, Ending.SETTLEMENT_FAILED)


def rule(ending: Ending, mode: Mode) -> Mapping[str, str]:
    """A line of the table, read apart from the loader."""
    rows = TABLE[ending]
    found = rows.get(mode, rows["any"])
    assert isinstance(found, dict)
    return found


def whole(meter: Meter) -> None:
    meter.count(Counted(Reported((20, 0), (0, 0, 3_000)), {"image_tokens": 3_000}))
    meter.finish = "stop"


def partly(meter: Meter) -> None:
    meter.count(Counted(Reported((20, 0), (0, 0, 3_000)), {"image_tokens": 3_000}))


def beyond(meter: Meter) -> None:
    meter.count(Counted(Reported((20, 0), (0, 0, 900_000)), {}))
    meter.finish = "stop"


def unreported(meter: Meter) -> None:
    meter.finish = "stop"


@pytest.fixture
def money() -> CreditsWorld:
    return CreditsWorld()


def stored(gallery: Gallery, id: str) -> Fields:
    found = gallery.documents.get(f"tasks/{id}")
    assert found is not None
    return found.fields


def charges(money: CreditsWorld) -> list[Entry]:
    return [entry for entry in money.entries("alice") if entry.amount < 0]


def lease_is_over(money: CreditsWorld) -> None:
    money.clock.advance(us=LEASE_US + 1)


@contextmanager
def failing(gallery: Gallery, failure: BaseException, *, after: bool = False, times: int = 1) -> Iterator[None]:
    """The next `times` commits fail: before they are written, or when they are written and nobody hears of it."""
    assert isinstance(gallery.documents, MemoryDocuments)
    left = [times]

    def fail(_: object) -> None:
        if left[0]:
            left[0] -= 1
            raise failure

    if after:
        gallery.documents.after_commit.append(fail)
    else:
        gallery.documents.before_commit.append(fail)
    yield
    gallery.documents.after_commit.clear()
    gallery.documents.before_commit.clear()


def ends(money: CreditsWorld, gallery: Gallery, task: Task, ending: Ending) -> None:
    """Lets a call end so, in the way that this ending happens."""
    if ending is Ending.SETTLEMENT_FAILED:
        with failing(gallery, Unavailable("no answer"), times=SETTLE_TRIES), pytest.raises(Unavailable):
            gallery.end(task, Ending.COMPLETED)
    if ending in ABANDONED:
        lease_is_over(money)
        assert gallery.sweep() == 1
    elif ending is Ending.RESERVATION_LOST:
        lease_is_over(money)
        money.credits.expire_due()
        gallery.end(task, Ending.COMPLETED)
    else:
        gallery.end(task, ending)


@pytest.mark.parametrize("measure", [whole, partly, beyond, unreported])
@pytest.mark.parametrize(("ending", "mode"), CELLS)
def test_every_line_of_the_table_is_what_is_charged(
    money: CreditsWorld, ending: Ending, mode: Mode, measure: Callable[[Meter], None]
) -> None:
    """T-1, T-2, T-3, T-5: entry, document and account agree with the table, for chats, agents and images."""
    gallery = Gallery(money, mode)
    task = gallery.begin("one")
    measure(task.meter)
    measured, said = task.meter.measured(), rule(ending, mode)
    ends(money, gallery, task, ending)
    by_basis = {
        "nothing": 0,
        "delivered": min(measured.delivered_price, measured.reported_price or measured.delivered_price),
        "usage": measured.delivered_price if measured.reported_price is None else measured.reported_price,
    }
    cost = min(by_basis[said["basis"]], task.grant.reserved)
    fields = stored(gallery, "one")
    assert (fields["state"], fields["cost"], fields["reason"]) == ("ended", cost, said["reason"])
    assert [-entry.amount for entry in charges(money)] == ([cost] if cost else [])
    assert [entry.draft.reason for entry in charges(money)] == ([said["reason"]] if cost else [])
    account = money.audit("alice")
    assert (account.reserved, account.balance) == (0, 1_000_000_000 - cost)


DEARER: Policy = {
    **default_policy(),
    **{(Ending.CRASHED, mode): Rule(Payer.USER, Basis.DELIVERED, "crashed_partly") for mode in Mode},
}
"""A table that charges for what is known to have been delivered before a crash."""


class TestTheTableDecides:
    """Not the code: another line is another price."""

    def crashed(self, money: CreditsWorld) -> Gallery:
        gallery = Gallery(money, policy=DEARER)
        gallery.begin("one")
        gallery.documents.commit([Merge("tasks/one", {"delivered": 123})])
        lease_is_over(money)
        return gallery

    def test_what_a_crash_costs(self, money: CreditsWorld) -> None:
        gallery = self.crashed(money)
        assert gallery.sweep() == 1
        assert (stored(gallery, "one")["cost"], stored(gallery, "one")["reason"]) == (123, "crashed_partly")
        [entry] = charges(money)
        assert (entry.amount, entry.draft.reason, entry.draft.usage) == (
            -123,
            "crashed_partly",
            {"model": "image", "task": "image"},
        )
        assert money.audit("alice").reserved == 0

    def test_what_a_dead_attempt_costs_that_another_replaces(self, money: CreditsWorld) -> None:
        gallery = self.crashed(money)
        dead = gallery.documents.get("tasks/one")
        assert dead is not None
        gallery.orphans.give_up(gallery.orphan(dead))
        whole((second := gallery.begin("one", attempt=2, replaces=dead.version)).meter)
        settled = gallery.end(second, Ending.COMPLETED)
        assert [-entry.amount for entry in charges(money)] == [123, settled.cost]
        assert money.audit("alice").reserved == 0


class TestAnAttempt:
    def test_that_is_repeated_is_refused_and_spends_nothing(self, money: CreditsWorld) -> None:
        """T-6: the ledger answers an equal reserve with the first outcome; whoever repeats it may not use that."""
        gallery = Gallery(money)
        task = gallery.begin("one")
        with pytest.raises(CallInProgress) as caught:
            gallery.begin("one")
        assert caught.value.fields["task_id"] == "one"
        assert money.audit("alice").reserved == task.grant.reserved

    def test_that_follows_another_has_a_reservation_of_its_own(self, money: CreditsWorld) -> None:
        """T-11: both are resolved, and the second is charged though the first was not."""
        gallery = Gallery(money)
        gallery.end(gallery.begin("one"), Ending.VENDOR_FAILED_BEFORE)
        found = gallery.documents.get("tasks/one")
        assert found is not None
        second = gallery.begin("one", attempt=2, replaces=found.version)
        whole(second.meter)
        assert stored(gallery, "one")["reservation_id"] == "one.2"
        assert gallery.end(second, Ending.COMPLETED).cost > 0
        assert (len(charges(money)), money.audit("alice").reserved) == (1, 0)

    def test_that_follows_one_which_moved_is_refused(self, money: CreditsWorld) -> None:
        gallery = Gallery(money)
        gallery.end(gallery.begin("one"), Ending.VENDOR_FAILED_BEFORE)
        with pytest.raises(CallInProgress):
            gallery.begin("one", attempt=2, replaces=Version(1))
        assert money.audit("alice").reserved == 0

    def test_that_ends_late_leaves_the_one_that_took_its_place_alone(self, money: CreditsWorld) -> None:
        """T-11, T-40."""
        gallery = Gallery(money)
        slow = gallery.begin("one")
        whole(slow.meter)
        lease_is_over(money)
        dead = gallery.documents.get("tasks/one")
        assert dead is not None
        gallery.orphans.give_up(gallery.orphan(dead))
        second = gallery.begin("one", attempt=2, replaces=dead.version)
        late = gallery.end(slow, Ending.COMPLETED)
        assert (late.cost, late.reason) == (0, "reservation_lost")
        assert (stored(gallery, "one")["state"], stored(gallery, "one")["attempt"]) == ("running", 2)
        whole(second.meter)
        assert gallery.end(second, Ending.COMPLETED).cost == -charges(money)[0].amount > 0


class TestAStoreThatFails:
    @pytest.mark.parametrize("after", [False, True], ids=["not written", "not heard of"])
    def test_while_settling_is_asked_again_and_charges_once(self, money: CreditsWorld, after: bool) -> None:
        """T-6, T-7."""
        gallery = Gallery(money)
        task = gallery.begin("one")
        whole(task.meter)
        with failing(gallery, Unavailable("no answer"), after=after, times=SETTLE_TRIES - 1):
            settled = gallery.end(task, Ending.COMPLETED)
        assert gallery.pauses == ([1] if after else [*range(1, SETTLE_TRIES)])
        assert [-entry.amount for entry in charges(money)] == [settled.cost]
        assert stored(gallery, "one")["cost"] == settled.cost > 0
        assert money.audit("alice").reserved == 0

    def test_three_times_in_a_row_loses_no_settlement(self, money: CreditsWorld) -> None:
        """T-9: a store that fails for a moment gives no answer away."""
        gallery = Gallery(money)
        task = gallery.begin("one")
        whole(task.meter)
        with failing(gallery, Unavailable("no answer"), after=False, times=3):
            assert gallery.end(task, Ending.COMPLETED).cost > 0

    def test_at_every_try_makes_the_call_the_sweeps(self, money: CreditsWorld) -> None:
        """T-9: nothing is known of it until its lease is over, and then it is free."""
        gallery = Gallery(money)
        task = gallery.begin("one")
        with failing(gallery, Unavailable("no answer"), after=False, times=SETTLE_TRIES), pytest.raises(Unavailable):
            gallery.end(task, Ending.COMPLETED)
        assert (gallery.sweep(), stored(gallery, "one")["state"]) == (0, "running")
        lease_is_over(money)
        assert (gallery.sweep(), gallery.told) == (1, ["one"])
        assert (stored(gallery, "one")["cost"], money.audit("alice").reserved) == (0, 0)


class Crash(BaseException):
    """The process is gone."""


class TestACrash:
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("step", ["reserve", "settle", "sweep"])
    def test_at_any_commit_leaves_nothing_reserved_and_charges_what_is_recorded(
        self, money: CreditsWorld, step: str, after: bool
    ) -> None:
        """T-7, T-9, T-38."""
        gallery = Gallery(money)
        money.credits.account("alice")

        tasks: list[Task] = []

        def doing(now: str, work: Callable[[], object]) -> None:
            with failing(gallery, Crash(), after=after, times=step == now), suppress(Crash):
                work()

        doing("reserve", lambda: tasks.append(gallery.begin("one")))
        if step == "settle":
            whole(tasks[0].meter)
            doing("settle", lambda: gallery.end(tasks[0], Ending.COMPLETED))
        lease_is_over(money)
        doing("sweep", gallery.sweep)
        gallery.sweep()
        assert money.audit("alice").reserved == 0
        found = gallery.documents.get("tasks/one")
        if (step, after) == ("reserve", False):
            assert found is None
            return
        assert found is not None
        assert (found.fields["state"], found.fields["cost"]) == ("ended", -sum(e.amount for e in charges(money)))
        assert found.fields["reason"] == ("completed" if (step, after) == ("settle", True) else "crashed")


class TestAnAttemptThatWasGivenUp:
    """T-11: a new attempt resolves the dead one's reservation, and then does not come to reserve."""

    def test_is_ended_by_the_sweep_all_the_same(self, money: CreditsWorld) -> None:
        gallery = Gallery(money)
        gallery.begin("img_1")
        lease_is_over(money)
        [found] = gallery.documents.query(gallery.overdue(""))
        gallery.orphans.give_up(gallery.orphan(found))
        assert gallery.sweep() == 1
        assert stored(gallery, "img_1")["state"] == "ended"
        assert gallery.sweep() == 0, "what is ended keeps no place in front of others"

    def test_is_left_alone_when_the_new_attempt_was_faster(self, money: CreditsWorld) -> None:
        """The sweep read the dead attempt's document; it may end that one only."""
        gallery = Gallery(money)
        gallery.begin("img_1")
        lease_is_over(money)
        stale = Gallery(money)

        def begun_again(found: Document) -> Orphan:
            gallery.orphans.give_up(gallery.orphan(found))
            gallery.begin("img_1", attempt=2, replaces=found.version)
            return gallery.orphan(found)

        stale.orphan = begun_again  # type: ignore[method-assign, assignment]  # the sweep has read the document by then
        assert stale.sweep() == 0
        assert stale.told == []
        assert stored(gallery, "img_1")["state"] == "running"
