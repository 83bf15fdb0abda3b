"""The billing table: strict to load, pure to apply."""

import re

import pytest

from app.kit.errors import InvariantViolation
from app.metering.billing import PATH, Basis, Charge, Ending, Mode, Payer, Priced, charge, default_policy, load

POLICY = default_policy()
PRICED = Priced(usage=900, delivered=700, reserved=1000)


class TestTheTable:
    def test_has_a_cell_for_every_ending_and_mode(self) -> None:
        assert set(POLICY) == {(ending, mode) for ending in Ending for mode in Mode}

    def test_the_house_pays_exactly_what_nobody_is_charged_for(self) -> None:
        for rule in POLICY.values():
            assert (rule.payer is Payer.HOUSE) == (rule.basis is Basis.NOTHING)

    @pytest.mark.parametrize(
        "damage",
        [
            ("version = 1", "version = 2"),
            ("[completed]", "[finished]"),
            ('basis = "usage", reason = "completed"', 'basis = "all", reason = "completed"'),
            ('payer = "user", basis = "usage", reason = "completed"', 'payer = "user", basis = "usage"'),
            ('payer = "user", basis = "usage", reason = "completed"', 'payer = "house", basis = "usage", reason = "x"'),
            ('reason = "completed"', 'reason = "not a word"'),
            ('image = { payer = "house"', 'video = { payer = "house"'),
            ("[reservation_lost]", "[reservation_gone]"),
        ],
    )
    def test_is_refused_when_it_is_damaged(self, damage: tuple[str, str]) -> None:
        text = PATH.read_text()
        assert damage[0] in text
        with pytest.raises(InvariantViolation):
            load(text.replace(*damage, 1))

    @pytest.mark.parametrize(
        ("endings", "line", "why"),
        [
            (["crashed"], 'any = { payer = "user", basis = "delivered", reason = "crashed" }', "settlement_failed"),
            (
                ["settlement_failed"],
                'any = { payer = "house", basis = "nothing", reason = "lost" }',
                "settlement_failed",
            ),
            (["reservation_lost"], 'any = { payer = "user", basis = "usage", reason = "lost" }', "reservation_lost"),
            (
                ["crashed", "settlement_failed"],
                'json = { payer = "house", basis = "nothing", reason = "other" }\n'
                'any = { payer = "house", basis = "nothing", reason = "crashed" }',
                "crashed.json",
            ),
        ],
    )
    def test_promises_nothing_for_a_call_that_nobody_settled_that_cannot_be_kept(
        self, endings: list[str], line: str, why: str
    ) -> None:
        text = PATH.read_text()
        for ending in endings:
            text = re.sub(rf"^\[{ending}\]\nany = .*$", f"[{ending}]\n{line}", text, flags=re.MULTILINE)
        with pytest.raises(InvariantViolation, match=why):
            load(text)


class TestCharging:
    @pytest.mark.parametrize("mode", Mode)
    @pytest.mark.parametrize(
        "ending",
        [
            Ending.CANCELLED_BEFORE,
            Ending.CLIENT_GONE_BEFORE,
            Ending.VENDOR_FAILED_BEFORE,
            Ending.VENDOR_FAILED_AFTER,
            Ending.CRASHED,
            Ending.SETTLEMENT_FAILED,
            Ending.RESERVATION_LOST,
            Ending.MODERATION,
            Ending.CACHE_HIT,
        ],
    )
    def test_nothing_when_nothing_useful_reached_the_caller(self, ending: Ending, mode: Mode) -> None:
        """T-3, T-25, T-26"""
        assert charge(POLICY, ending, mode, PRICED).amount == 0

    @pytest.mark.parametrize("ending", [Ending.COMPLETED, Ending.LENGTH])
    def test_the_vendors_usage_when_the_answer_is_whole(self, ending: Ending) -> None:
        assert charge(POLICY, ending, Mode.STREAM, PRICED).amount == 900

    @pytest.mark.parametrize("ending", [Ending.CANCELLED_AFTER, Ending.CLIENT_GONE_AFTER, Ending.BUDGET])
    def test_what_was_delivered_when_a_stream_stops_early(self, ending: Ending) -> None:
        """T-1, T-2: more than nothing, and less than the whole."""
        assert charge(POLICY, ending, Mode.STREAM, PRICED).amount == 700
        assert charge(POLICY, ending, Mode.STREAM, Priced(None, 700, 1000)).amount == 700
        assert charge(POLICY, ending, Mode.STREAM, Priced(600, 700, 1000)).amount == 600

    def test_a_usage_of_zero_is_not_a_missing_one(self) -> None:
        """T-5"""
        assert charge(POLICY, Ending.COMPLETED, Mode.JSON, Priced(0, 700, 1000)).amount == 0
        assert charge(POLICY, Ending.COMPLETED, Mode.JSON, Priced(None, 700, 1000)).amount == 700

    def test_never_more_than_is_reserved(self) -> None:
        """T-2"""
        assert charge(POLICY, Ending.COMPLETED, Mode.JSON, Priced(2000, 700, 1000)) == Charge(1000, "completed")

    def test_never_gives_credits(self) -> None:
        """T-23"""
        with pytest.raises(InvariantViolation):
            charge(POLICY, Ending.COMPLETED, Mode.JSON, Priced(-1, 700, 1000))

    def test_every_charge_has_a_reason(self) -> None:
        for ending, mode in POLICY:
            assert charge(POLICY, ending, mode, PRICED).reason
