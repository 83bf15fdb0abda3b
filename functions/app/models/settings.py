"""Which model vendor is asked, and at which prices."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.kit.deployment import LONGEST_REQUEST_S
from app.kit.environment import BadSetting, Environment

if TYPE_CHECKING:
    from app.models.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to connect, of silence before the first text, of silence after it, and between two ticks.

    Comments and hidden reasoning are no silence. A tick is what a caller hears while the vendor is silent.
    """

    connect_s: int = 5
    first_s: int = 60
    idle_s: int = 30
    tick_s: int = 10


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """`catalogue` is the deployment's own price book; None for the one that comes with the project."""

    base_url: str
    api_key: str
    catalogue: "Catalogue | None" = None
    patience: Patience = Patience()

    @classmethod
    def read(cls, env: Environment) -> "ModelsSettings":
        """Raises `BadSetting`, also when the price book that is named cannot be used."""
        base_url = env.url("AI_PLATFORM_BASE_URL", "https://api.openai.com/v1")
        if not _host(base_url):
            raise BadSetting(f"AI_PLATFORM_BASE_URL should name a host, and is {base_url!r}")
        first_s = env.whole("MODEL_FIRST_TOKEN_SECONDS", 60, at_least=1, at_most=LONGEST_REQUEST_S)
        idle_s = env.whole("MODEL_SILENCE_SECONDS", 30, at_least=1, at_most=LONGEST_REQUEST_S)
        return cls(
            base_url=base_url,
            api_key=env.required("AI_PLATFORM_API_KEY"),
            catalogue=_catalogue(env.text("MODEL_CATALOGUE", "")),
            patience=Patience(first_s=first_s, idle_s=idle_s, tick_s=max(1, min(10, idle_s // 2))),
        )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _catalogue(path: str) -> "Catalogue | None":
    if not path:
        return None
    from app.models.catalogue import BadCatalogue, load

    try:
        return load(Path(path))
    except BadCatalogue as error:
        raise BadSetting(f"MODEL_CATALOGUE names a price book that cannot be used: {error}") from error
