"""Whoever lacks credits that running answers hold is told to wait; any other lack is told as one."""

from dataclasses import replace

import pytest

from app.credits.core.entry import Reference
from app.credits.core.rejections import InsufficientCredits
from app.kit.money import credits
from support.credits_world import CreditsWorld, deposit, reserve, settle

BONUS = credits(1000)


@pytest.mark.parametrize(
    ("spent", "answers", "set_aside", "told"),
    [
        (997, 2, 0, (429, "credits_held_by_running_answers", "2")),
        (997, 0, 2, (402, "insufficient_credits", None)),
        (998, 1, 0, (402, "insufficient_credits", None)),
        (996, 1, 2, (402, "insufficient_credits", None)),
        (995, 2, 1, (429, "credits_held_by_running_answers", "2")),
    ],
)
def test_says_when_running_answers_hold_what_it_needs(
    world: CreditsWorld, spent: int, answers: int, set_aside: int, told: tuple[int, str, str | None]
) -> None:
    """Three are asked for. Only what comes back by itself makes it worth to wait: not what the user set aside."""
    world.credits.reserve("alice", reserve("spent", credits(spent)))
    world.credits.settle("alice", settle("spent", credits(spent)))
    if answers:
        world.credits.reserve("alice", reserve("answer", credits(answers)))
    if set_aside:
        aside = replace(reserve("aside", credits(set_aside)), reference=Reference("reservation", "aside"))
        world.credits.reserve("alice", aside)
    with pytest.raises(InsufficientCredits) as refused:
        world.credits.reserve("alice", reserve("next", credits(3)))
    refusal = refused.value
    assert (refusal.status, refusal.code, refusal.fields.get("held")) == told
    assert ("retry_after_s" in refusal.fields) == (refusal.status == 429)


def test_does_not_count_on_what_is_frozen_or_expired_when_it_comes_back(world: CreditsWorld) -> None:
    world.credits.reserve("alice", reserve("spent", BONUS))
    world.credits.settle("alice", settle("spent", BONUS))
    world.credits.post("alice", deposit("p", credits(5)))
    world.credits.reserve("alice", reserve("answer", credits(4)))
    world.credits.freeze_lots("alice", "p", frozen=True)
    with pytest.raises(InsufficientCredits) as refused:
        world.credits.reserve("alice", reserve("next", credits(3)))
    assert refused.value.code == "insufficient_credits"
