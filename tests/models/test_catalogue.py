"""The price book refuses everything that could charge a wrong amount."""

from pathlib import Path

import pytest

from app.models import catalogue
from app.models.catalogue import BUNDLED, BadCatalogue, UnknownModel, load, parse

GOOD = """
version = "v1"
[models.one]
name = "One"
vendor_id = "one-1"
provider = "p"
capabilities = ["text"]
context_tokens = 1000
max_output_tokens = 100
dialect = "openai"
price_class = "economy"
prices = { input = 6_250_000, cached_input = 3_125_000, output = 25_000_000, reasoning = 25_000_000 }
"""


def with_change(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


class TestTheBundledBook:
    @pytest.mark.parametrize("path", [BUNDLED, BUNDLED.with_name("catalogue.openai.toml")])
    def test_loads(self, path: Path) -> None:
        assert load(path).version

    def test_has_what_the_product_needs(self) -> None:
        models = [*load()]
        assert sum(model.can("text") for model in models) >= 2
        for capability in ("vision", "embedding", "image"):
            assert any(model.can(capability) for model in models), capability


class TestAModel:
    @pytest.mark.parametrize("name", ["One", "one-1", "on", "one-1-mini", "one ", ""])
    def test_is_found_by_its_exact_id_alone(self, name: str) -> None:
        """T-18, T-19: no prefix, no vendor's name, no default price."""
        with pytest.raises(UnknownModel):
            parse(GOOD).get(name)

    def test_is_known_by_the_vendors_exact_name(self) -> None:
        """T-20."""
        book = parse(with_change('vendor_id = "one-1"', 'vendor_id = "one-1"\nalso_answers_as = ["one-1-2026"]'))
        assert book.answering_as("one-1") is book.answering_as("one-1-2026") is book.get("one")
        assert book.answering_as("one-1-2025") is None


class TestPrices:
    @pytest.mark.parametrize("price", ["6_250", "6_250_000_000", "0", "-6_250_000", "6250000.0", '"6250000"', "true"])
    def test_a_price_in_another_unit_is_refused(self, price: str) -> None:
        """T-22, T-23, T-41: a thousandfold slip either way, nothing, a negative price, a fraction."""
        with pytest.raises(BadCatalogue, match="input"):
            parse(with_change("input = 6_250_000,", f"input = {price},"))

    @pytest.mark.parametrize("price_class", ["economy", "standard", "premium"])
    def test_every_band_is_narrower_than_the_slip(self, price_class: str) -> None:
        """T-22: a price inside a band leaves it when it is multiplied or divided by a thousand."""
        low, high = catalogue._BANDS[price_class]  # type: ignore[index]  # a name of the parametrisation
        assert high < 1000 * low

    def test_an_unknown_kind_of_token_is_refused(self) -> None:
        """T-16."""
        with pytest.raises(BadCatalogue, match="audio"):
            parse(with_change("input = 6_250_000,", "input = 6_250_000, audio = 6_250_000,"))

    def test_cached_input_is_never_dearer_than_input(self) -> None:
        with pytest.raises(BadCatalogue, match="dearer"):
            parse(with_change("cached_input = 3_125_000", "cached_input = 7_000_000"))

    @pytest.mark.parametrize("bucket", ["cached_input = 3_125_000, ", ", reasoning = 25_000_000"])
    def test_a_text_model_prices_every_kind_that_it_can_report(self, bucket: str) -> None:
        """T-15, T-18."""
        with pytest.raises(BadCatalogue, match="no price for"):
            parse(with_change(bucket, ""))


class TestAFile:
    @pytest.mark.parametrize(
        ("change", "names"),
        [
            (("context_tokens = 1000\n", ""), "context_tokens"),
            (("max_output_tokens = 100", "max_output_tokens = 1001"), "max_output_tokens"),
            (('dialect = "openai"', 'dialect = "klingon"'), "dialect"),
            (('dialect = "openai"', 'dialect = "anthropic"'), "Messages API"),
            (('dialect = "openai"', 'dialect = "gemini"'), "chat completions only"),
            (('capabilities = ["text"]', "capabilities = []"), "capabilities"),
            (('capabilities = ["text"]', 'capabilities = ["text", "vision"]'), "image_input_tokens"),
            (('provider = "p"', 'provider = "p"\nfallbacks = ["two"]'), "fallback"),
            (('provider = "p"', 'provider = "p"\nfallbacks = ["one"]'), "fallback"),
            (('provider = "p"', 'provider = "p"\nsurprise = 1'), "surprise"),
            (('version = "v1"', 'version = "v1"\nsurprise = 1'), "surprise"),
            (('version = "v1"', ""), "version"),
            (("[models.one]", "[models.one"), "TOML"),
        ],
    )
    def test_is_refused_by_name_when_something_is_wrong(self, change: tuple[str, str], names: str) -> None:
        """T-24: a bad book is refused as a whole."""
        with pytest.raises(BadCatalogue, match=names):
            parse(with_change(*change))

    def test_that_is_not_there_names_the_variable(self, tmp_path: Path) -> None:
        with pytest.raises(BadCatalogue, match="MODEL_CATALOGUE"):
            load(tmp_path / "none.toml")

    def test_two_models_never_share_a_vendors_name(self) -> None:
        twice = GOOD + GOOD[GOOD.index("[models.one]") :].replace("[models.one]", "[models.two]")
        with pytest.raises(BadCatalogue, match="one-1"):
            parse(twice)
