"""Which model vendors are asked, and at which prices."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from app.kit.deployment import LONGEST_REQUEST_S
from app.kit.environment import BadSetting, Environment
from app.models.vendors.vendor import PLATFORM, Vendor

if TYPE_CHECKING:
    from app.models.catalogue import Catalogue


class Patience(NamedTuple):
    """Seconds: to connect, of silence before the first text, of silence after it, and between two ticks.

    Comments and hidden reasoning are no silence. A tick is what a caller hears while the vendor is silent.
    """

    connect_s: int = 5
    first_s: int = 60
    idle_s: int = 30
    tick_s: int = 10


class ModelsSettings(NamedTuple):
    """`vendors` are those that a model may name, by id. `catalogue` is the deployment's own price book over them; None
    for the one that comes with the project, whose models are all of the vendor `PLATFORM`. A model that failed
    `circuit_failures` times in a row is left alone.
    """

    vendors: Mapping[str, Vendor]
    catalogue: "Catalogue | None" = None
    patience: Patience = Patience()
    circuit_failures: int = 5

    @property
    def asked(self) -> tuple[Vendor, ...]:
        """The vendors that are asked: those of the models that are offered."""
        models = () if self.catalogue is None else tuple(self.catalogue)
        named = {model.vendor for model in models} if models else {PLATFORM}
        return tuple(one for one in self.vendors.values() if one.id in named and one.configured)

    @classmethod
    def read(cls, env: Environment) -> "ModelsSettings":
        """Raises `BadSetting`, also when a file that is named cannot be used."""
        first_s = env.whole("MODEL_FIRST_TOKEN_SECONDS", 60, at_least=1, at_most=LONGEST_REQUEST_S)
        idle_s = env.whole("MODEL_SILENCE_SECONDS", 30, at_least=1, at_most=LONGEST_REQUEST_S)
        book, own = env.text("MODEL_CATALOGUE", ""), env.text("MODEL_VENDORS", "")
        vendors = _vendors(env, own, others=bool(book or own))
        catalogue = _catalogue(book, vendors)
        if catalogue is None or any(model.vendor == PLATFORM for model in catalogue):
            env.required("AI_PLATFORM_API_KEY")
        return cls(
            vendors=vendors,
            catalogue=catalogue,
            circuit_failures=env.whole("MODEL_CIRCUIT_FAILURES", 5, at_least=2, at_most=1000),
            patience=Patience(first_s=first_s, idle_s=idle_s, tick_s=max(1, min(10, idle_s // 2))),
        )


def _vendors(env: Environment, own: str, *, others: bool) -> dict[str, Vendor]:
    """The vendor of the two settings, and the `others` where a model can name one: their file is read only then."""
    base_url = env.url("AI_PLATFORM_BASE_URL", "https://api.openai.com/v1")
    key = env.credential("AI_PLATFORM_API_KEY")
    platform = Vendor(PLATFORM, "Platform", base_url, key_name="AI_PLATFORM_API_KEY", key=key)
    if not others:
        return {PLATFORM: platform}
    from app.models.vendors.reading import read

    return {PLATFORM: platform, **read(env, own)}


def _catalogue(path: str, vendors: Mapping[str, Vendor]) -> "Catalogue | None":
    if not path:
        return None
    from app.models.catalogue import BadCatalogue, load
    from app.models.vendors.reading import BadVendors, offered

    try:
        return offered(load(Path(path)), vendors)
    except (BadCatalogue, BadVendors) as error:
        raise BadSetting(f"MODEL_CATALOGUE names a price book that cannot be used: {error}") from error
