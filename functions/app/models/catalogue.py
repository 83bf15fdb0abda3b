"""Which models exist, what they can do and what they cost: one data file, fully checked before it is used.

A model is found by its exact id and by nothing else: no prefix, no family, no default price (T-18, T-19). Refuses to
know accounts, HTTP and how a price becomes a charge.
"""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from app.kit.deployment import LONGEST_REQUEST_S
from app.kit.errors import Failure, Rejection
from app.kit.tables import Table
from app.models.measured import figures
from app.models.measured.figures import NONE, Figures
from app.models.vendors.vendor import PLATFORM, Dialect

Capability = Literal["text", "vision", "tools", "reasoning", "embedding", "image"]
Bucket = Literal["input", "cached_input", "cache_write", "output", "reasoning", "image"]
"""A kind of token with a price of its own. `cache_write` costs as much as `input` where a model gives it no price."""

_OTHER_APIS: Final = {
    "anthropic": "the Messages API",
    "gemini": "generateContent",
    "bedrock": "Converse",
    "cohere": "its v2 chat API",
}
"""Dialects of APIs that are no chat completions."""

PriceClass = Literal["economy", "standard", "premium"]
BUCKETS: Final[tuple[Bucket, ...]] = get_args(Bucket)

_BANDS: Final[Mapping[PriceClass, tuple[int, int]]] = {
    "economy": (400_000, 160_000_000),
    "standard": (4_000_000, 1_600_000_000),
    "premium": (40_000_000, 16_000_000_000),
}
"""Least and greatest micro-credits per million tokens (USD 0.01-4, 0.1-40, 1-400). Each is 400 wide: a thousandfold
slip, such as a price per 1,000 tokens, always leaves its band (T-22)."""

_MAX_CONTEXT: Final = 10_000_000


class BadCatalogue(Failure):
    """The price book is wrong and was not loaded. The message says where and why."""


class UnknownModel(Rejection):
    """No model has exactly this id."""

    status = 422
    code = "model_unknown"
    title = "Unknown model"


class ModelNotOffered(Rejection):
    """The model is in the catalogue, but this deployment has no key of its vendor."""

    status = 422
    code = "model_not_offered"
    title = "This model is not offered"


class UnsuitableModel(Rejection):
    """The model exists, but cannot do this."""

    status = 422
    code = "model_unsuitable"
    title = "Unsuitable model"


@dataclass(frozen=True, slots=True)
class Tier:
    """Prices of whole requests with more than `above_input_tokens` of input (T-21)."""

    above_input_tokens: int
    prices: Mapping[Bucket, int]


@dataclass(frozen=True, slots=True)
class Model:
    """One model. Prices are micro-credits per million tokens; token figures are the vendor's limits.

    `vendor` is the id of who is asked, and `vendor_id` what that vendor calls the model. `dialect` is None where it is
    the vendor's, until `app.models.vendors.reading.offered` fills it in.
    `image_input_tokens` is the most that one picture can count as, whatever its bytes (T-17). `prompt_overhead_tokens`
    is what the vendor's chat template adds to each prompt beyond 8 tokens a message and 16 a request. `limit_field` is
    the name under which the vendor takes the output limit. `first_token_seconds` and `silence_seconds` are how long it
    is waited for where that differs from the deployment's settings (0: it does not).
    """

    id: str
    name: str
    vendor_id: str
    provider: str
    capabilities: frozenset[Capability]
    context_tokens: int
    dialect: Dialect | None
    price_class: PriceClass
    prices: Mapping[Bucket, int]
    max_output_tokens: int = 0
    image_input_tokens: int = 0
    prompt_overhead_tokens: int = 0
    limit_field: str = "max_tokens"
    also_answers_as: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    fallbacks: tuple[str, ...] = ()
    first_token_seconds: int = 0
    silence_seconds: int = 0
    vendor: str = PLATFORM
    figures: Figures = NONE

    def can(self, *wanted: Capability) -> bool:
        """Whether the model has all of these capabilities."""
        return self.capabilities.issuperset(wanted)

    def of_any(self, names: Collection[str]) -> bool:
        """Whether its provider, or the vendor that is asked for it, is among these."""
        return self.provider in names or self.vendor in names


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models of one version of the price book. Those in `closed` are shown, and never asked."""

    version: str
    models: Mapping[str, Model]
    _by_vendor_id: Mapping[tuple[str, str], Model] = field(repr=False)
    closed: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def get(self, id: str) -> Model:
        """The model with exactly this id.

        Raises:
            UnknownModel: there is none. Nothing is guessed from a similar name.
            ModelNotOffered: there is one, and it is closed.
        """
        found = self.models.get(id)
        if found is None:
            raise UnknownModel("There is no model of this name.", model=id[:80], known=sorted(self.models))
        if id in self.closed:
            raise ModelNotOffered("This model is not offered here; choose another one.", model=id)
        return found

    def answering_as(self, vendor_id: str, vendor: str = PLATFORM) -> Model | None:
        """The model that this vendor calls by exactly this name, or None."""
        return self._by_vendor_id.get((vendor, vendor_id))

    def chain(self, model: Model) -> tuple[Model, ...]:
        """The models that may answer: `model` first, then its fallbacks in order, without those that are closed."""
        return (model, *(self.models[id] for id in model.fallbacks if id not in self.closed))

    def over(self, models: Mapping[str, Model], closed: frozenset[str]) -> "Catalogue":
        """The same version of the book with these models in place of its own, of which those in `closed` are."""
        return replace(self, models=models, _by_vendor_id=_vendor_ids(models), closed=closed)

    def default(self, *needed: Capability) -> Model:
        """The first open model that has all of these capabilities; raises UnsuitableModel when none has."""
        for model in self:
            if model.id not in self.closed and model.can(*needed):
                return model
        raise UnsuitableModel("No model of the catalogue can do this.", needed=[*needed])


BUNDLED: Final = Path(__file__).with_name("catalogue.toml")


def load(path: Path = BUNDLED) -> Catalogue:
    """Reads and checks a price book.

    Raises:
        BadCatalogue: the first thing that is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"MODEL_CATALOGUE: {path} cannot be read: {error}") from error
    return parse(text)


def parse(text: str) -> Catalogue:
    """Like `load`, from the file's text."""
    try:
        raw: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadCatalogue(f"the price book is not TOML: {error}") from error
    table = Table("price book", raw, BadCatalogue)
    version = table.text("version")
    models = {id: _model(id, one) for id, one in table.tables("models")}
    table.nothing_but("version", "models")
    if not models:
        raise BadCatalogue("the price book has no models")
    if "auto" in models:
        raise BadCatalogue("models.auto: whoever asks for `auto` has a model chosen, so no model is called so")
    _check_fallbacks(models)
    return Catalogue(version, models, _vendor_ids(models))


def _model(id: str, table: Table) -> Model:
    price_class = cast(PriceClass, table.one_of("price_class", get_args(PriceClass)))
    model = Model(
        id=id,
        name=table.text("name"),
        vendor_id=table.text("vendor_id"),
        provider=table.text("provider"),
        capabilities=frozenset(cast("list[Capability]", table.words("capabilities", get_args(Capability)))),
        context_tokens=table.whole("context_tokens", 1, _MAX_CONTEXT),
        max_output_tokens=table.whole("max_output_tokens", 0, _MAX_CONTEXT, default=0),
        image_input_tokens=table.whole("image_input_tokens", 0, 1_000_000, default=0),
        prompt_overhead_tokens=table.whole("prompt_overhead_tokens", 0, 100_000, default=0),
        limit_field=table.one_of("limit_field", ("max_tokens", "max_completion_tokens"), default="max_tokens"),
        dialect=dialect_of(table) if "dialect" in table else None,
        price_class=price_class,
        prices=_prices(table.table("prices"), price_class),
        also_answers_as=tuple(table.words("also_answers_as", default=())),
        tiers=_tiers(table, price_class),
        fallbacks=tuple(table.words("fallbacks", default=())),
        first_token_seconds=table.whole("first_token_seconds", 0, LONGEST_REQUEST_S, default=0),
        silence_seconds=table.whole("silence_seconds", 0, LONGEST_REQUEST_S, default=0),
        vendor=table.text("vendor", default=PLATFORM),
        figures=figures.read(f"models.{id}", table.rows("figures"), BadCatalogue),
    )
    table.nothing_but(*Model.__dataclass_fields__)
    _check_capabilities(model)
    return model


def dialect_of(table: Table) -> Dialect:
    """The field `dialect` of a model or a vendor."""
    other = _OTHER_APIS.get(name := table.text("dialect"))
    if other is not None:
        raise table.refuse(
            f"{table.where}.dialect: {name!r} counts the tokens of {other}, and the gateway speaks chat completions "
            "only. Where this vendor serves those, its dialect is 'openai'."
        )
    return cast(Dialect, table.one_of("dialect", get_args(Dialect)))


def _check_capabilities(model: Model) -> None:
    needed: set[Bucket] = {"input"}
    if model.can("text"):
        needed |= {"cached_input", "output", "reasoning"}
        if not 0 < model.max_output_tokens <= model.context_tokens:
            raise BadCatalogue(f"models.{model.id}: max_output_tokens must lie between 1 and context_tokens")
    if model.can("image"):
        needed |= {"image"}
    if model.can("vision") and not model.image_input_tokens:
        raise BadCatalogue(f"models.{model.id}: a model that sees must say image_input_tokens, the most per picture")
    for where, prices in (("prices", model.prices), *((f"tier {t.above_input_tokens}", t.prices) for t in model.tiers)):
        missing = needed - prices.keys()
        if missing:
            raise BadCatalogue(f"models.{model.id}.{where}: no price for {', '.join(sorted(missing))}")


def _check_fallbacks(models: Mapping[str, Model]) -> None:
    for model in models.values():
        for id in model.fallbacks:
            other = models.get(id)
            if other is None or other is model:
                raise BadCatalogue(f"models.{model.id}: its fallback {id!r} is no other model of this book")
            if not other.can(*model.capabilities) or other.context_tokens < model.context_tokens:
                raise BadCatalogue(f"models.{model.id}: its fallback {id} cannot do all that it can")


def _vendor_ids(models: Mapping[str, Model]) -> dict[tuple[str, str], Model]:
    found: dict[tuple[str, str], Model] = {}
    for model in models.values():
        for name in (model.vendor_id, *model.also_answers_as):
            other = found.setdefault((model.vendor, name), model)
            if other is not model:
                raise BadCatalogue(f"models.{model.id}: {name!r} is the vendor's name of {other.id} already")
    return found


def _tiers(table: Table, price_class: PriceClass) -> tuple[Tier, ...]:
    tiers: list[Tier] = []
    for entry in table.rows("tiers"):
        row = Table(f"{table.where}.tiers", entry, BadCatalogue)
        above = row.whole("above_input_tokens", 1, _MAX_CONTEXT)
        if tiers and above <= tiers[-1].above_input_tokens:
            raise BadCatalogue(f"{row.where}: thresholds must grow")
        tiers.append(Tier(above, _prices(row.table("prices"), price_class)))
        row.nothing_but("above_input_tokens", "prices")
    return tuple(tiers)


def _prices(table: Table, price_class: PriceClass) -> dict[Bucket, int]:
    low, high = _BANDS[price_class]
    where = table.where
    prices: dict[Bucket, int] = {}
    for name, price in table.items():
        if name not in BUCKETS:
            raise BadCatalogue(f"{where}: {name!r} is no bucket; known: {', '.join(BUCKETS)}")
        if type(price) is not int:
            raise BadCatalogue(f"{where}.{name}: a price is a whole number of micro-credits per million tokens")
        if not low <= price <= high:
            raise BadCatalogue(f"{where}.{name}: {price} lies outside of {low}..{high}, the band of {price_class}")
        prices[name] = price
    if prices.get("cached_input", 0) > prices.get("input", 0):
        raise BadCatalogue(f"{where}: cached input is dearer than input")
    return prices
