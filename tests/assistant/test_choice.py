"""Which model is chosen, by what the user wants, what is known of the models, how they do and what they cost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.assistant.choice import Chosen, ModelsResting, NoModelFits, Offer, choose, read, write
from app.assistant.preferences import Optimize, Preferences
from app.metering.estimate import Lengths, Prompt, estimate
from app.metering.quote import demand, quote
from app.models.catalogue import BadCatalogue, Model, load
from app.models.health import HealthState
from app.models.measured.figures import Figure, Figures
from app.models.measured.figures import read as read_figures
from app.models.pricing import PriceBook

BOOK = PriceBook(load())
SMALL, LARGE, REASONING = (BOOK.catalogue.get(id) for id in ("small", "large", "reasoning"))
"""In the order of their price: small, reasoning, large."""


def measured(model: Model, code: int | None = None, speed: int | None = None) -> Model:
    """The model with figures."""
    quality = {} if code is None else {"code": Figure(code, "a leaderboard")}
    return replace(model, figures=Figures(quality, None if speed is None else Figure(speed, "a page")))  # type: ignore[arg-type]


def offer(model: Model, health: HealthState = "up") -> Offer:
    text = "Write a function that sorts a list."
    quoted = quote(BOOK, model, demand(model, [text]))
    return Offer(estimate(BOOK, quoted, Prompt.of([text]), Lengths(50, 200, 800)), health)


PLAIN = [offer(LARGE), offer(SMALL), offer(REASONING)]
FIGURED = [offer(measured(LARGE, 900, 50)), offer(measured(SMALL, 600, 200)), offer(measured(REASONING, 870, 20))]


@pytest.mark.parametrize(
    ("optimize", "offers", "model", "because"),
    [
        ("cost", PLAIN, "small", "cheapest"),
        ("cost", FIGURED, "small", "cheapest"),
        ("quality", FIGURED, "large", "best_quality"),
        ("speed", FIGURED, "small", "fastest"),
        ("balanced", FIGURED, "reasoning", "balanced"),
        # What nobody measured is not guessed: the operator's order decides.
        ("quality", PLAIN, "large", "quality_unknown"),
        ("speed", PLAIN, "large", "speed_unknown"),
        ("balanced", PLAIN, "large", "quality_unknown"),
        # A model without the figure never goes before one that has it.
        ("quality", [offer(LARGE), offer(measured(SMALL, 1))], "small", "best_quality"),
        ("speed", [offer(LARGE), offer(measured(SMALL, speed=1))], "small", "fastest"),
        ("quality", [offer(LARGE)], "large", "only_one"),
    ],
)
def test_what_the_user_optimizes_decides(optimize: Optimize, offers: list[Offer], model: str, because: str) -> None:
    chosen = choose("code", Preferences(optimize), offers)
    assert (chosen.model, chosen.because) == (model, because)


def test_the_users_default_of_the_task_goes_first() -> None:
    wishes = Preferences("cost", defaults={"code": "large"})
    assert (choose("code", wishes, PLAIN).model, choose("chat", wishes, PLAIN).model) == ("large", "small")


@pytest.mark.parametrize(("health", "model"), [("down", "reasoning"), ("degraded", "reasoning"), ("up", "small")])
def test_a_model_that_is_not_well_is_passed_over(health: HealthState, model: str) -> None:
    offers = [offer(LARGE), offer(SMALL, health), offer(REASONING)]
    chosen = choose("code", Preferences("cost"), offers)
    told = {one.model: one.why_not for one in chosen.alternatives}
    assert (chosen.model, told.get("small")) == (model, None if health == "up" else health)


def test_a_degraded_model_answers_where_no_other_one_can() -> None:
    assert choose("code", Preferences(), [offer(LARGE, "down"), offer(SMALL, "degraded")]).model == "small"


def test_a_default_that_is_down_is_no_default() -> None:
    wishes = Preferences("cost", defaults={"code": "large"})
    assert choose("code", wishes, [offer(LARGE, "down"), offer(SMALL), offer(REASONING)]).model == "small"


def test_a_budget_that_the_whole_answer_fits_is_preferred_to_one_that_cuts_it() -> None:
    """T-1: the best model would be cut off, the next one would not."""
    large = FIGURED[0].estimate
    chosen = choose("code", Preferences("quality"), FIGURED, budget=large.p90 - 1)
    assert chosen.model == "reasoning"
    cheap = FIGURED[1].estimate
    cut = choose("code", Preferences("quality"), FIGURED, budget=cheap.quote.needed)
    assert (cut.model, cut.high) == ("small", cheap.quote.needed)
    assert {one.why_not for one in cut.alternatives} == {"over_budget"}


def test_nobody_is_chosen_where_nobody_may_answer() -> None:
    with pytest.raises(NoModelFits) as refused:
        choose("code", Preferences(excluded_providers=("simulator",)), [*PLAIN], budget=1)
    assert {one["because"] for one in refused.value.fields["left_out"]} == {"excluded_provider"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("budget", [None, 10**9])
def test_whoever_waits_for_models_that_are_down_is_told_for_how_long(budget: int | None) -> None:
    offers = [replace(offer(LARGE, "down"), wait_s=40), replace(offer(SMALL, "down"), wait_s=7)]
    with pytest.raises(ModelsResting) as refused:
        choose("code", Preferences(), offers, budget=budget)
    assert (refused.value.code, refused.value.retry_after_s) == ("model_unavailable", 7)


def test_waiting_for_what_costs_too_much_is_not_advised() -> None:
    """It would be refused all the same when it is up again."""
    with pytest.raises(NoModelFits):
        choose("code", Preferences(), [offer(LARGE, "down"), offer(SMALL)], budget=1)


OFFERS = st.lists(
    st.builds(
        lambda model, code, speed, health: offer(measured(model, code, speed), health),
        st.sampled_from([SMALL, LARGE, REASONING]),
        st.none() | st.integers(0, 1000),
        st.none() | st.integers(1, 500),
        st.sampled_from(["up", "degraded", "down"]),
    ),
    max_size=3,
    unique_by=lambda one: one.model.id,
)


@given(OFFERS, st.sampled_from(["cost", "quality", "speed", "balanced"]), st.none() | st.integers(1, 10**7))
def test_the_choice_may_answer_and_names_all_the_others(
    offers: list[Offer], optimize: Optimize, budget: int | None
) -> None:
    wishes = Preferences(optimize, defaults={"code": "small"})
    try:
        chosen = choose("code", wishes, offers, budget=budget)
    except ModelsResting:
        fitting = [one for one in offers if budget is None or one.estimate.quote.needed <= budget]
        assert {one.health for one in fitting} == {"down"}
        return
    except NoModelFits:
        assert all((budget or 0) < one.estimate.quote.needed for one in offers)
        return
    [taken] = [one for one in offers if one.model.id == chosen.model]
    assert taken.health != "down"
    assert chosen.expected <= chosen.p90 <= chosen.high <= (budget or chosen.high)
    assert taken.estimate.quote.needed <= (budget or chosen.high)
    assert [one.model for one in chosen.alternatives] == [one.model.id for one in offers if one is not taken]
    assert read(write(chosen)) == chosen


def test_a_stored_choice_without_alternatives_is_read() -> None:
    chosen = Chosen("small", "only_one", "chat", True, 1, 2, 3, ())
    assert read(write(chosen)) == chosen


@pytest.mark.parametrize(
    "rows",
    [
        [{"task": "code", "quality": 700}],
        [{"task": "cooking", "quality": 700, "source": "a page"}],
        [{"task": "code", "quality": 1001, "source": "a page"}],
        [{"task": "code", "quality": True, "source": "a page"}],
        [{"task": "code", "quality": 1, "source": "a page"}, {"task": "code", "quality": 2, "source": "a page"}],
        [{"tokens_per_second": -1, "source": "a page"}],
        [{"tokens_per_second": 5, "quality": 3, "source": "a page"}],
        ["fast"],
    ],
)
def test_a_figure_without_a_source_or_a_meaning_is_refused(rows: list[object]) -> None:
    with pytest.raises(BadCatalogue, match=r"models\.x"):
        read_figures("models.x", rows, BadCatalogue)


def test_figures_name_their_source() -> None:
    rows = [{"task": "code", "quality": 700, "source": "a board"}, {"tokens_per_second": 80, "source": "a page"}]
    assert read_figures("m", rows, BadCatalogue) == Figures({"code": Figure(700, "a board")}, Figure(80, "a page"))


def test_a_vendor_is_left_out_like_a_provider() -> None:
    """The same provider's model may be had of several vendors, and the text goes to the vendor."""
    elsewhere = replace(LARGE, vendor="elsewhere")
    wishes = Preferences("cost", excluded_providers=("elsewhere",))
    chosen = choose("code", wishes, [offer(elsewhere), offer(SMALL)])
    assert [(one.model, one.why_not) for one in chosen.alternatives] == [("large", "excluded_provider")]
