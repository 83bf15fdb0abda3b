"""What a user wants of models that are chosen for them: one document, written whole. Decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from app.assistant.routing import RouteRule, read_rule
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import Rejection, ensure
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import (
    Create,
    Documents,
    Fields,
    Replace,
    Value,
    as_map,
    int_field,
    list_field,
    map_field,
    optional_text,
    text_field,
)
from app.models.catalogue import Capability, Catalogue, UnsuitableModel
from app.models.measured.tasks import TASKS, Task

Optimize = Literal["cost", "quality", "speed", "balanced"]
MOST_EXCLUDED: Final = 50
MOST_RULES: Final = 20


class UnknownProvider(Rejection):
    """The catalogue has no such provider."""

    status = 422
    code = "provider_unknown"
    title = "Unknown provider"


@dataclass(frozen=True, slots=True)
class Preferences:
    """`defaults` are ids of models by task. `most_per_message` is micro-credits, None for no bound.
    `excluded_providers` are providers or vendors that are sent nothing, not even when another one fails. `updated_at`
    is RFC 3339, None if never written.
    """

    optimize: Optimize = "balanced"
    defaults: Mapping[Task, str] = field(default_factory=dict)
    most_per_message: int | None = None
    excluded_providers: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = ()
    updated_at: str | None = None


def path_of(uid: str) -> str:
    """Where a user's preferences are stored."""
    return f"users/{uid}/preferences/models"


class PreferencesStore:
    """Reads and writes preferences."""

    def __init__(self, documents: Documents, clock: Clock, pause: Pause) -> None:
        self._documents = documents
        self._clock = clock
        self._pause = pause

    def of(self, uid: str) -> Preferences:
        """A user's preferences; the usual ones where none were written."""
        stored = self._documents.get(path_of(uid))
        return Preferences() if stored is None else read(stored.fields)

    def put(self, uid: str, wanted: Preferences) -> Preferences:
        """Writes them over whatever there is; a field that a later version of the code wrote stays."""

        def attempt() -> Preferences:
            stored = self._documents.get(path_of(uid))
            now = to_rfc3339(self._clock.now_us())
            fields = write(wanted) | {"updated_at": now}
            if stored is None:
                self._documents.commit([Create(path_of(uid), fields)])
            else:
                self._documents.commit([Replace(stored.path, fields, stored.version, keep_others=True)])
            return read(fields)

        return optimistic(attempt, pause=self._pause)


def check(wanted: Preferences, catalogue: Catalogue) -> None:
    """Refuses preferences that name what is not there.

    Raises:
        UnknownModel, UnsuitableModel: a default of a task is no model that can do it.
        UnknownProvider: no model of the catalogue is of a provider that is left out.
    """
    for task, id in wanted.defaults.items():
        needed: tuple[Capability, ...] = ("text", "vision") if task == "vision" else ("text",)
        if not catalogue.get(id).can(*needed):
            raise UnsuitableModel("This model cannot answer such messages.", model=id, task=task, needed=[*needed])
    known = {name for model in catalogue for name in (model.provider, model.vendor)}
    for provider in wanted.excluded_providers:
        if provider not in known:
            raise UnknownProvider("No model has this provider or vendor.", provider=provider, known=sorted(known))


def write(preferences: Preferences) -> dict[str, Value]:
    """The document."""
    return {
        "optimize": preferences.optimize,
        "defaults": dict(preferences.defaults.items()),
        "most_per_message": preferences.most_per_message,
        "excluded_providers": [*preferences.excluded_providers],
        "rules": [rule.fields() for rule in preferences.rules],
        "updated_at": preferences.updated_at,
    }


def read(fields: Fields) -> Preferences:
    """The value of a document."""
    optimize = text_field(fields, "optimize")
    ensure(optimize in get_args(Optimize), "stored preferences optimize what is known")
    defaults = map_field(fields, "defaults")
    return Preferences(
        optimize=cast(Optimize, optimize),
        defaults={task: text_field(defaults, task) for task in TASKS if task in defaults},
        most_per_message=None if fields.get("most_per_message") is None else int_field(fields, "most_per_message"),
        excluded_providers=tuple(str(one) for one in list_field(fields, "excluded_providers")),
        rules=tuple(read_rule(as_map(one)) for one in list_field(fields, "rules")),
        updated_at=optional_text(fields, "updated_at"),
    )
