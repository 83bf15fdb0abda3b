"""The price book of the simulated backend, read as plain data: by its auditor, and by the vendor who knows its own."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

PATH: Final = Path(__file__).with_name("book.toml")
_RAW: Final = tomllib.loads(PATH.read_text())["models"]


@dataclass(frozen=True)
class Priced:
    """One model that answers with text. Prices are micro-credits per million tokens."""

    id: str
    vendor_id: str
    dialect: str
    prices: dict[str, int]
    context_tokens: int
    max_output_tokens: int
    fallbacks: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """The dearest that a token of the prompt can be."""
        return max(self.prices["input"], self.prices["cached_input"], self.prices.get("cache_write", 0))

    @property
    def write(self) -> int:
        """The dearest that a token of the answer can be."""
        return max(self.prices["output"], self.prices["reasoning"])


def _priced(id: str, raw: dict[str, object]) -> Priced:
    names = ("vendor_id", "dialect", "prices", "context_tokens", "max_output_tokens", "fallbacks")
    return Priced(id, **cast(dict[str, object], {name: raw[name] for name in names if name in raw}))  # type: ignore[arg-type]


BOOK: Final = {id: _priced(id, raw) for id, raw in _RAW.items() if "text" in raw["capabilities"]}
"""By the name that users ask for."""
BY_VENDOR: Final = {one.vendor_id: one for one in BOOK.values()}
DIALECTS: Final = {one.vendor_id: one.dialect for one in BOOK.values()}
