"""Budgets of API keys: no race, no window and no step of the clock passes them, and they move no credits."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.credits.core import budgets
from app.credits.core.budgets import Limit, Line, Spender, Window
from app.credits.core.commands import Extend
from app.credits.core.rejections import BudgetExceeded
from app.credits.public import Credits
from app.kit.clock import minutes
from app.kit.money import from_decimal
from app.kit.stores.documents import Merge
from support.credits_world import CreditsWorld, deposit, reserve, settle
from support.vendor import Vendor, vendor, vendor_process
from support.world import Caller, World

__all__ = ["vendor", "vendor_process"]

LENGTHS: dict[Window, int] = {"1h": minutes(60), "24h": minutes(60 * 24), "30d": minutes(60 * 24 * 30)}
ASKED = {"model": "small", "messages": [{"role": "user", "content": "What is a ledger?"}]}
COMPLETIONS = "/v1/openai/chat/completions"


NEARLY = st.sampled_from([0.08, 0.95, 0.99, 1.0])
"""Parts of a window after which a charge is about to leave it."""


def spender(*limits: tuple[Window, int]) -> Spender:
    return Spender("key_a", tuple(Limit(window, amount) for window, amount in limits))


class TestAWindow:
    @given(
        window=st.sampled_from(["1h", "24h", "30d"]),
        calls=st.lists(st.tuples(st.floats(0, 1.5) | NEARLY, st.integers(1, 400) | st.just(1000)), max_size=60),
    )
    def test_never_holds_more_than_the_budget(self, window: Window, calls: list[tuple[float, int]]) -> None:
        """Wherever it begins; and what lies thirteen twelfths of a window back counts no more."""
        who, length, now_us = spender((window, 1000)), LENGTHS[window], minutes(60 * 24 * 365)
        lines: budgets.Lines = ()
        charges: list[tuple[int, int]] = []
        for wait, amount in calls:
            now_us += int(wait * length)
            try:
                free = budgets.left(lines, who, held=0, at_least=amount, at_us=now_us)
            except BudgetExceeded:
                assert sum(one for at, one in charges if at > now_us - length * 13 // 12) + amount > 1000
                continue
            assert free is not None and free >= amount
            lines = budgets.charged(budgets.used(lines, who, now_us), "key_a", amount, now_us)
            charges.append((now_us, amount))
            assert sum(one for at, one in charges if at > now_us - length) <= 1000

    def test_says_when_the_oldest_part_is_free_again(self) -> None:
        line = Line("key_a", Limit("1h", 100)).charged(70, minutes(60)).charged(20, minutes(90))
        assert line.resets_us == minutes(125)
        assert (line.at(minutes(125) - 1).spent, line.at(minutes(125)).spent) == (90, 20)

    def test_total_is_for_ever(self) -> None:
        line = Line("key_a", Limit("total", 100)).charged(70, 0).charged(20, minutes(60 * 24 * 4000))
        assert (line.at(minutes(60 * 24 * 9000)).spent, line.resets_us) == (90, None)

    def test_is_read_as_it_was_written(self) -> None:
        for line in (Line("key_a", Limit("24h", 5)), Line("key_a", Limit("1h", 5), ((3, 1), (7, 2)))):
            assert Line.parse(line.text()) == line

    def test_that_is_not_used_goes_when_there_are_too_many(self) -> None:
        lines: budgets.Lines = ()
        for number in range(budgets.MOST_LINES + 5):
            lines = budgets.used(lines, Spender(f"key_{number}", (Limit("total", 1),)), 0)
        assert [lines[0].api_key, len(lines)] == ["key_5", budgets.MOST_LINES]


class TestAnAccount:
    def world(self) -> CreditsWorld:
        world = CreditsWorld(bonus=0)
        world.credits.post("zoe", deposit("pay_1", 10_000))
        return world

    def test_bounds_what_a_key_reserves_by_all_of_its_budgets(self) -> None:
        bank = self.world().credits
        who = spender(("1h", 300), ("total", 500))
        first = bank.reserve("zoe", replace(reserve("a", 200), spender=who))
        second = bank.reserve("zoe", replace(reserve("b", 200), at_least=1, spender=who))
        assert (first.amount, second.amount) == (200, 100)
        with pytest.raises(BudgetExceeded) as refused:
            bank.reserve("zoe", replace(reserve("c", 1), spender=who))
        told = {name: refused.value.fields[name] for name in ("window", "held", "spent", "limit", "budget")}
        assert told == {"window": "1h", "held": "0.0003", "spent": "0", "limit": "0.0003", "budget": "api_key"}
        assert bank.reserve("zoe", reserve("its owner", 5_000)).amount == 5_000

    def test_gives_back_what_was_not_charged(self) -> None:
        world = self.world()
        bank, who = world.credits, spender(("24h", 300))
        bank.reserve("zoe", replace(reserve("a", 300), spender=who))
        bank.settle("zoe", settle("a", 120))
        assert bank.reserve("zoe", replace(reserve("b", 300), at_least=1, spender=who)).amount == 180
        bank.release("zoe", "b", "unused")
        assert bank.reserve("zoe", replace(reserve("c", 300), at_least=1, spender=who)).amount == 180
        world.audit("zoe")

    def test_counts_a_charge_once_whose_acknowledgement_was_lost(self) -> None:
        bank, who = self.world().credits, spender(("24h", 300))
        bank.reserve("zoe", replace(reserve("a", 300), spender=who))
        for _ in range(2):
            bank.settle("zoe", settle("a", 120))
        assert [line.spent for line in bank.account("zoe").budgets] == [120]

    def test_bounds_an_extension_as_well(self) -> None:
        bank, who = self.world().credits, spender(("24h", 300))
        bank.reserve("zoe", replace(reserve("a", 200), spender=who))
        assert bank.extend("zoe", Extend("a", 1_000_000, to_amount=300)).amount == 300
        with pytest.raises(BudgetExceeded):
            bank.extend("zoe", Extend("a", 1_000_000, to_amount=301))

    def test_bounds_what_a_call_begins_with_and_each_step_by_which_that_grows(self) -> None:
        """The other parts of the account are not the key's; what is left of its budget is taken, and no more."""
        bank = CreditsWorld().credits
        asked = replace(reserve("a", 10_000, 10), spender=spender(("total", 320)), expected=5_000, share=32)
        assert bank.reserve("zoe", asked).amount == 10
        assert bank.extend("zoe", Extend("a", 1, to_amount=10_000, at_least=200, share=2)).amount == 200
        assert bank.extend("zoe", Extend("a", 1, to_amount=10_000, at_least=201)).amount == 320
        with pytest.raises(BudgetExceeded):
            bank.extend("zoe", Extend("a", 1, to_amount=10_000, at_least=321))

    def test_keeps_the_count_of_a_running_call_however_many_keys_are_used_meanwhile(self) -> None:
        """Without it the call would hold, and be charged, beyond its budget."""
        bank = self.world().credits
        bank.reserve("zoe", replace(reserve("a", 200), spender=spender(("24h", 300))))
        for number in range(budgets.MOST_LINES + 1):
            other = Spender(f"key_{number}", (Limit("24h", 300),))
            bank.reserve("zoe", replace(reserve(f"other {number}", 1), spender=other))
            bank.release("zoe", f"other {number}", "unused")
        with pytest.raises(BudgetExceeded):
            bank.extend("zoe", Extend("a", 1_000_000, to_amount=301))

    def test_that_loses_its_counts_loses_no_credit(self) -> None:
        """The budgets begin anew, and that is all."""
        world = self.world()
        bank, who = world.credits, spender(("total", 300))
        bank.reserve("zoe", replace(reserve("a", 300), spender=who))
        bank.settle("zoe", settle("a", 300))
        with pytest.raises(BudgetExceeded):
            bank.reserve("zoe", replace(reserve("b", 1), spender=who))
        world.documents.commit([Merge("accounts/zoe", {"budgets": []})])
        world.audit("zoe")
        assert bank.account("zoe").balance == 9_700
        assert bank.reserve("zoe", replace(reserve("b", 1), spender=who)).amount == 1


class TestAKey:
    @pytest.fixture
    def world(self, vendor: Vendor) -> World:
        return World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})

    def made(self, world: World, **budgets: str) -> tuple[dict[str, Any], Caller]:
        listed = [{"window": window.lstrip("_"), "credits": amount} for window, amount in budgets.items()]
        answer = world.client("alice").post("/v1/keys", json={"name": "ci", "budgets": listed})
        assert answer.status_code == 201, answer.text
        key = {**(answer.json or {})}
        return key, Caller(world.system.edge, key["key"])

    def budgets(self, world: World) -> list[dict[str, Any]]:
        [key] = (world.client("alice").get("/v1/keys").json or {})["items"]
        return [*key["budgets"]]

    def spent(self, world: World) -> int:
        listed = (world.client("alice").get("/v1/credits/history?limit=100").json or {})["items"]
        return -sum(from_decimal(one["amount"]) for one in listed if one["amount"].startswith("-"))

    def test_shows_what_counts(self, world: World) -> None:
        _, program = self.made(world, total="1", _24h="0.5")
        answer = program.post(COMPLETIONS, json=ASKED).json
        assert answer is not None
        day, total = self.budgets(world)
        assert (day["window"], total["window"]) == ("24h", "total")
        assert day["spent"] == total["spent"] == answer["usage"]["cost"]
        assert (day["held"], total["resets_at"], day["resets_at"] is None) == ("0", None, False)

    def test_is_refused_by_name_when_its_budget_is_spent(self, world: World, vendor: Vendor) -> None:
        _, program = self.made(world, total="0.000001")
        refused = program.post(COMPLETIONS, json=ASKED)
        assert (refused.status_code, (refused.json or {})["error"]["code"]) == (402, "budget_exceeded")
        conversation = (program.post("/v1/chat/conversations", json={"model": "small"}).json or {})["id"]
        path = f"/v1/chat/conversations/{conversation}/messages"
        refused = program.post(path, json={"content": "Hi"})
        assert refused.status_code == 402
        told = refused.json or {}
        assert (told["code"], told["budget"], told["window"]) == ("budget_exceeded", "api_key", "total")
        assert (vendor.requests(), self.spent(world)) == ([], 0)
        assert world.client("alice").post(path, json={"content": "Hi"}).status_code == 200

    def test_takes_other_budgets_within_a_minute(self, world: World) -> None:
        key, program = self.made(world)
        assert program.post(COMPLETIONS, json=ASKED).status_code == 200
        few = {"budgets": [{"window": "1h", "credits": "0.000001"}]}
        assert world.client("alice").patch(f"/v1/keys/{key['id']}", json=few).status_code == 200
        world.clock.advance(seconds=60)
        assert program.post(COMPLETIONS, json=ASKED).status_code == 402
        assert world.client("alice").patch(f"/v1/keys/{key['id']}", json={"budgets": []}).status_code == 200
        world.clock.advance(seconds=60)
        assert program.post(COMPLETIONS, json=ASKED).status_code == 200

    def test_has_one_budget_for_each_window(self, world: World) -> None:
        twice = [{"window": "1h", "credits": "1"}] * 2
        refused = world.client("alice").post("/v1/keys", json={"name": "ci", "budgets": twice})
        assert refused.status_code == 422

    @pytest.mark.parametrize("usual", ["3072", "16"])
    def test_never_spends_more_however_many_ask_at_once(self, vendor: Vendor, usual: str) -> None:
        """1,000 completions at once on a budget of some, also where each begins with little and holds more and more."""
        world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url, "USUAL_ANSWER_TOKENS": usual})
        _, program = self.made(world, total="0.02")
        with ThreadPoolExecutor(32) as pool:
            answers = [*pool.map(lambda _: program.post(COMPLETIONS, json=ASKED).status_code, range(1000))]
        assert {*answers} <= {200, 402, 503}
        spent, [budget] = self.spent(world), self.budgets(world)
        assert 0 < spent <= from_decimal("0.02")
        assert (from_decimal(budget["spent"]), budget["held"]) == (spent, "0")


def bank() -> Credits:
    """In which zoe has 10,000 micro-credits."""
    world = CreditsWorld(bonus=0)
    world.credits.post("zoe", deposit("pay_1", 10_000))
    return world.credits


class TestTwoKeys:
    """Of one account: neither counts for the other."""

    def test_are_charged_apart(self) -> None:
        lines: budgets.Lines = ()
        for key in ("key_a", "key_b"):
            lines = budgets.used(lines, Spender(key, (Limit("total", 100),)), 0)
        lines = budgets.charged(lines, "key_a", 70, 0)
        assert {line.api_key: line.spent for line in lines} == {"key_a": 70, "key_b": 0}

    def test_are_bounded_apart_while_they_run_and_after(self) -> None:
        credits, a, b = bank(), *(Spender(key, (Limit("24h", 300),)) for key in ("key_a", "key_b"))
        credits.reserve("zoe", replace(reserve("a", 300), spender=a))
        assert credits.reserve("zoe", replace(reserve("b", 300), spender=b)).amount == 300
        credits.settle("zoe", settle("a", 300))
        credits.settle("zoe", settle("b", 10))
        assert credits.reserve("zoe", replace(reserve("b2", 300), at_least=1, spender=b)).amount == 290
        with pytest.raises(BudgetExceeded):
            credits.reserve("zoe", replace(reserve("a2", 1), spender=a))


def test_an_extension_goes_by_the_budget_of_the_last_call() -> None:
    credits = bank()
    for id, amount in (("a", 300), ("b", 1000)):
        credits.reserve("zoe", replace(reserve(id, 100), spender=Spender("key_a", (Limit("24h", amount),))))
    assert credits.extend("zoe", Extend("b", 1_000_000, to_amount=900)).amount == 900
    with pytest.raises(BudgetExceeded):
        credits.extend("zoe", Extend("b", 1_000_000, to_amount=901))


def test_counts_what_was_charged_and_not_what_was_asked_beyond_the_hold() -> None:
    credits = bank()
    credits.reserve("zoe", replace(reserve("a", 100), spender=Spender("key_a", (Limit("24h", 300),))))
    credits.settle("zoe", settle("a", 250))
    [line] = credits.account("zoe").budgets
    assert (line.spent, credits.account("zoe").balance) == (100, 9_900)


def test_bounds_another_answer_to_the_same_question(vendor: Vendor) -> None:
    """Regenerating is a door of its own."""
    world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})
    alice = world.client("alice")
    made = alice.post("/v1/keys", json={"name": "ci", "budgets": [{"window": "total", "credits": "0.000001"}]})
    conversation = (alice.post("/v1/chat/conversations", json={"model": "small"}).json or {})["id"]
    said = alice.post(f"/v1/chat/conversations/{conversation}/messages", json={"content": "Hi"}).json or {}
    program = Caller(world.system.edge, (made.json or {})["key"])
    refused = program.post(f"/v1/chat/messages/{said['message_id']}/regenerate", json={})
    assert (refused.status_code, (refused.json or {})["code"]) == (402, "budget_exceeded")
