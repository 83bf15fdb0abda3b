"""Whether a message takes the quick path or is agent work, and why. Pure.

Agents do not exist yet: the route is told, and the quick path answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from app.assistant.classify.classification import Classification, Route
from app.kit.errors import ensure
from app.kit.stores.documents import Fields, Value, int_field, text_field
from app.models.measured.tasks import TASKS, Task

Ruler = Literal["user", "admin"]
Because = Literal["classified", "unsure", "user_rule", "admin_rule"]
MOST_PRIORITY: Final = 1000


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Messages of this task take this route. Of several rules the one with the highest priority counts."""

    task: Task
    route: Route
    priority: int = 0

    def fields(self) -> dict[str, Value]:
        """As it is stored."""
        return {"task": self.task, "route": self.route, "priority": self.priority}


def read_rule(fields: Fields) -> RouteRule:
    """A stored rule."""
    task, route = text_field(fields, "task"), text_field(fields, "route")
    ensure(task in TASKS and route in get_args(Route), "a stored rule names a task and a route")
    return RouteRule(cast(Task, task), cast(Route, route), int_field(fields, "priority"))


@dataclass(frozen=True, slots=True)
class Routed:
    """The route of a message, and whose word it is."""

    route: Route
    because: Because


def routed(found: Classification, *, user: Sequence[RouteRule] = (), admin: Sequence[RouteRule] = ()) -> Routed:
    """The rule with the highest priority decides, at equal priority the administrator's. Without a rule, the classifier
    does where it is sure; where it is not, the message takes the quick path, which costs less.
    """
    mine, theirs = _first(found.task, user), _first(found.task, admin)
    if theirs is not None and (mine is None or theirs.priority >= mine.priority):
        return Routed(theirs.route, "admin_rule")
    if mine is not None:
        return Routed(mine.route, "user_rule")
    return Routed("quick", "unsure") if found.unsure else Routed(found.route, "classified")


def _first(task: Task, rules: Iterable[RouteRule]) -> RouteRule | None:
    return max((rule for rule in rules if rule.task == task), key=lambda rule: rule.priority, default=None)
