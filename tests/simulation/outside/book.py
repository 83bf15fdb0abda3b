"""The price book of the simulated backend as plain data, for its auditor and for the vendors, who know their own."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

PATH: Final = Path(__file__).with_name("book.toml")
VENDORS: Final = Path(__file__).with_name("model_vendors.toml")
_RAW: Final = tomllib.loads(PATH.read_text())["models"]
_ENTRIES: Final = tomllib.loads(VENDORS.read_text())["vendors"]
PLATFORM: Final = "platform"
HOSTS: Final = {"models.example": PLATFORM, **{f"{id}.example": id for id in _ENTRIES}}
"""By the host that is asked, whose it is."""
KEYS: Final = {id: f"key-of-{id}" for id in (PLATFORM, *_ENTRIES) if id != "west"}
"""By vendor, the key that it takes."""
VARIABLES: Final = {
    "AI_PLATFORM_BASE_URL": "https://models.example/v1",
    "AI_PLATFORM_API_KEY": KEYS[PLATFORM],
    **{entry["key"]: KEYS[id] for id, entry in _ENTRIES.items() if id in KEYS},
    "MODEL_CATALOGUE": str(PATH),
    "MODEL_VENDORS": str(VENDORS),
}
"""What the deployment is told of them. The book is named so that it is read once per process."""


@dataclass(frozen=True)
class Priced:
    """One model that answers with text. Prices are micro-credits per million tokens; `figures` are as in the book."""

    id: str
    vendor_id: str
    dialect: str
    prices: dict[str, int]
    context_tokens: int
    max_output_tokens: int
    provider: str
    capabilities: list[str]
    vendor: str = PLATFORM
    image_input_tokens: int = 0
    figures: list[dict[str, object]] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """The dearest that a token of the prompt can be."""
        return max(self.prices["input"], self.prices["cached_input"], self.prices.get("cache_write", 0))

    @property
    def write(self) -> int:
        """The dearest that a token of the answer can be."""
        return max(self.prices["output"], self.prices["reasoning"])

    @property
    def closed(self) -> bool:
        """Whether nobody has a key of its vendor, so that it is never asked."""
        return self.vendor not in KEYS

    def of(self, names: frozenset[str]) -> bool:
        """Whether it is of a provider or vendor with one of these names."""
        return self.provider in names or self.vendor in names

    def chain(self, without: frozenset[str] = frozenset()) -> "list[Priced]":
        """Who may answer in its place, in order; `without`: nobody of these providers and vendors."""
        found = [BOOK[name] for name in self.fallbacks]
        return [one for one in found if not one.closed and not one.of(without)]


def _priced(id: str, raw: dict[str, object]) -> Priced:
    known = Priced.__dataclass_fields__.keys() - {"id"}
    return Priced(id, **cast(dict[str, object], {name: raw[name] for name in known if name in raw}))  # type: ignore[arg-type]


BOOK: Final = {id: _priced(id, raw) for id, raw in _RAW.items() if "text" in raw["capabilities"]}
"""By the name that users ask for."""
OPEN: Final = {id: one for id, one in BOOK.items() if not one.closed}
BY_VENDOR: Final = {one.vendor_id: one for one in BOOK.values()}
DIALECTS: Final = {one.vendor_id: one.dialect for one in BOOK.values()}
STRANGERS: Final = {
    one.vendor_id: next(other.vendor_id for other in [*BOOK.values()][::-1] if other.vendor != one.vendor)
    for one in OPEN.values()
}
"""By model, a model of another vendor: two vendors may have a model of one name."""
