"""Analytics: each entry counts once, however often it is asked for; rebuilt rollups equal those that were kept."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.credits.core.commands import Settle
from app.credits.core.entry import Reference
from app.credits.usage.analytics import Analyst, Analytics, UsagePeriod
from app.kit.errors import Conflict, Invalid
from app.kit.optimistic import Contended
from app.kit.stores.documents import Write
from support.clock import no_pause
from support.credits_world import DAY, MINUTE, CreditsWorld, deposit, reserve
from support.memory import MemoryDocuments
from support.world import World

HOUR = 60 * MINUTE


class Desk:
    """An account that spends, and the analyst of its usage."""

    def __init__(self) -> None:
        self.money = CreditsWorld()
        self.analyst = self.money.credits.analyst
        self.spent = 0

    @property
    def documents(self) -> MemoryDocuments:
        assert isinstance(self.money.documents, MemoryDocuments)
        return self.money.documents

    def spend(self, amount: int, *, model: str = "small", conversation: str = "cnv_1", tokens: int = 10) -> None:
        self.spent += 1
        id = f"r{self.spent}"
        self.money.credits.reserve("alice", reserve(id, amount))
        usage = {
            "model": model,
            "task": "chat",
            "conversation": conversation,
            "tokens": {"input": tokens, "cached_input": tokens, "output": 2 * tokens},
        }
        self.money.credits.settle("alice", Settle(id, amount, Reference("message", id), usage=usage))

    def ask(self, days: int = 40, *, by: str = "day") -> Analytics:
        now = self.money.clock.now_us() + 1
        period = UsagePeriod(now - days * DAY, now, by)  # type: ignore[arg-type]  # a text that the table below names
        account = self.money.credits.account("alice")
        return self.analyst.analyse("alice", period, available=account.available(now))


def test_charges_are_added_up_by_time_model_and_conversation() -> None:
    desk = Desk()
    desk.spend(500, model="small", conversation="cnv_1")
    desk.spend(700, model="large", conversation="cnv_2")
    desk.money.clock.advance(minutes=60 * 24)
    desk.spend(300, model="small", conversation="cnv_1", tokens=5)
    found = desk.ask()
    assert (found.total.cost, found.total.charges, found.total.input, found.total.output) == (1500, 3, 25, 50)
    assert {model: usage.cost for model, usage in found.by("model").items()} == {"large": 700, "small": 800}
    assert [usage.cost for usage in found.by("start").values()] == [1200, 300]
    assert [(each.conversation_id, each.cost, each.messages) for each in found.conversations] == [
        ("cnv_1", 800, 2),
        ("cnv_2", 700, 1),
    ]
    assert found.movements == {"grant": 1_000_000_000, "settle": -1500}
    assert found.complete
    assert found.total.cost_per_1k_tokens == 1500 * 1000 // 100


def test_an_account_that_did_nothing_has_nothing_to_tell() -> None:
    found = Desk().ask()
    assert (found.total.charges, found.lines, found.conversations) == (0, (), ())
    assert (found.burn_rate, found.days_left, found.total.cost_per_charge) == (0, None, None)


def test_asking_again_counts_nothing_twice() -> None:
    desk = Desk()
    for _ in range(120):
        desk.spend(10)
    first = desk.ask()
    writes = desk.documents.writes
    again = desk.ask()
    assert desk.documents.writes == writes, "nothing new is nothing to write"
    assert replace(again, sequence=0) == replace(first, sequence=0)
    assert first.total.charges == 120


def test_two_who_ask_at_once_count_each_entry_once() -> None:
    desk = Desk()
    for _ in range(70):
        desk.spend(10)
    rival = Analyst(desk.documents, desk.money.credits.ledger, desk.money.clock, no_pause)
    meddled: list[bool] = []

    def first_the_rival(_: object) -> None:
        if not meddled:
            meddled.append(True)
            rival.catch_up("alice")

    desk.documents.before_commit.append(first_the_rival)
    assert desk.ask().total.charges == 70
    assert desk.money.pauses == 1


def test_a_crash_between_batches_loses_and_doubles_nothing() -> None:
    desk = Desk()
    for _ in range(130):
        desk.spend(10)
    commits: list[Sequence[Write]] = []

    def crash_at_second(writes: Sequence[Write]) -> None:
        commits.append(writes)
        if len(commits) == 2:
            raise RuntimeError("the function was killed")

    desk.documents.before_commit.append(crash_at_second)
    with pytest.raises(RuntimeError):
        desk.ask()
    assert desk.ask().total.charges == 130


def test_endless_conflict_is_told() -> None:
    desk = Desk()
    desk.spend(10)

    def always(_: object) -> None:
        raise Conflict("somebody else")

    desk.documents.before_commit.append(always)
    with pytest.raises(Contended):
        desk.ask()


def test_a_long_backlog_is_worked_off_by_several_who_ask() -> None:
    desk = Desk()
    for _ in range(120):
        desk.spend(1)
    told = [desk.analyst.catch_up("alice", batches=1) for _ in range(4)]
    assert [(cursor.sequence, complete) for cursor, complete in told] == [
        (50, False),
        (100, False),
        (121, False),
        (121, True),
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab"), st.integers(0, 50)), max_size=40))
def test_rebuilt_equals_kept(steps: list[tuple[int, str, int]]) -> None:
    desk = Desk()
    for amount, conversation, hours in steps:
        desk.spend(amount, conversation=conversation)
        desk.money.clock.advance(minutes=60 * hours)
        desk.analyst.catch_up("alice")
    kept = desk.ask(300)
    cursor = desk.analyst.rebuild("alice")
    assert cursor.generation == 2
    assert desk.ask(300) == kept
    left = [path for path in desk.documents.all() if "/000001-" in path]
    assert left == [], "the old generation is gone"


def test_burn_rate_and_days_left_come_from_the_last_week() -> None:
    desk = Desk()
    desk.spend(700_000_000)
    assert (desk.ask().burn_rate, desk.ask().days_left) == (100_000_000, 3)
    desk.money.clock.advance(minutes=60 * 24 * 9)
    assert (desk.ask().burn_rate, desk.ask().days_left) == (0, None)


@pytest.mark.parametrize(("by", "days"), [("hour", 32), ("day", 367), ("month", 3661), ("day", 0)])
def test_a_period_has_an_end_and_a_bound(by: str, days: int) -> None:
    with pytest.raises(Invalid):
        Desk().ask(days, by=by) if days else UsagePeriod(5, 5, "day")


class TestOverHttp:
    def test_json_and_csv_say_the_same(self) -> None:
        world = World()
        alice = world.client("alice")
        credits = world.system.credits.service
        credits.account("alice")
        credits.store.apply("alice", deposit("pay_1", 5_000_000))
        credits.reserve("alice", reserve("r", 1_500_000))
        usage = {"model": "small", "task": "chat", "tokens": {"input": 500, "output": 250}}
        credits.settle("alice", Settle("r", 1_500_000, Reference("message", "m"), usage=usage))
        world.clock.advance(seconds=1)
        told = alice.get("/v1/credits/analytics").json
        assert told is not None
        assert told["total"]["cost"] == "1.5"
        assert told["total"]["cost_per_1k_tokens"] == "2"
        assert told["movements"] == {"deposit": "5", "grant": "1000", "settle": "-1.5"}
        assert told["efficiency"] == {"tokens_per_credit": 500, "cached_input_percent": 0}
        text = alice.get("/v1/credits/analytics", headers={"Accept": "text/csv"}).get_data(as_text=True)
        (row,) = csv.DictReader(io.StringIO(text))
        assert (row["model"], row["cost"], row["input_tokens"]) == ("small", "1.5", "500")

    def test_a_models_name_is_no_formula_in_the_csv(self) -> None:
        world = World()
        alice = world.client("alice")
        credits = world.system.credits.service
        credits.reserve("alice", reserve("r", 1_500_000))
        credits.settle(
            "alice", Settle("r", 1, Reference("message", "m"), usage={"model": "\N{FULLWIDTH EQUALS SIGN}1+1"})
        )
        world.clock.advance(seconds=1)
        text = alice.get("/v1/credits/analytics", headers={"Accept": "text/csv"}).get_data(as_text=True)
        (row,) = csv.DictReader(io.StringIO(text))
        assert row["model"] == "'\N{FULLWIDTH EQUALS SIGN}1+1"

    def test_a_period_without_sense_is_refused(self) -> None:
        alice = World().client("alice")
        query = {"from": "2027-01-02T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
        assert alice.get("/v1/credits/analytics", query_string=query).status_code == 422
        assert alice.get("/v1/credits/analytics", query_string={"granularity": "week"}).status_code == 422
