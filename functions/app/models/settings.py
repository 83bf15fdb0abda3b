"""Which model vendor is asked, and at which prices."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.kit.environment import BadSetting, Environment

if TYPE_CHECKING:
    from app.models.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """`catalogue` is the deployment's own price book; None for the one that comes with the project."""

    base_url: str
    api_key: str
    catalogue: "Catalogue | None" = None

    @classmethod
    def read(cls, env: Environment) -> "ModelsSettings":
        """Raises `BadSetting`, also when the price book that is named cannot be used."""
        base_url = env.url("AI_PLATFORM_BASE_URL", "https://api.openai.com/v1")
        if not urlsplit(base_url).hostname:
            raise BadSetting(f"AI_PLATFORM_BASE_URL should name a host, and is {base_url!r}")
        return cls(base_url, env.required("AI_PLATFORM_API_KEY"), _catalogue(env.text("MODEL_CATALOGUE", "")))


def _catalogue(path: str) -> "Catalogue | None":
    if not path:
        return None
    from app.models.catalogue import BadCatalogue, load

    try:
        return load(Path(path))
    except BadCatalogue as error:
        raise BadSetting(f"MODEL_CATALOGUE names a price book that cannot be used: {error}") from error
