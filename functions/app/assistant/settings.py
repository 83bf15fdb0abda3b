"""What a deployment decides about the path that messages take."""

from typing import TYPE_CHECKING, NamedTuple, cast, get_args

from app.kit.environment import BadSetting, Environment

if TYPE_CHECKING:
    from app.assistant.routing import RouteRule


class AssistantSettings(NamedTuple):
    """`rules` are the operator's, which count before a user's of the same priority. `usual_output`: output tokens that
    are reserved for before an answer begins of which nobody knows how long it will be. `quote_s`: how long the price of
    a message binds, in seconds.
    """

    rules: "tuple[RouteRule, ...]" = ()
    usual_output: int = 3072
    quote_s: int = 300

    @classmethod
    def read(cls, env: Environment) -> "AssistantSettings":
        """Reads `task=route@priority`, separated by commas; the priority may be left out. Raises `BadSetting`."""
        rules = tuple(_rule(word.strip()) for word in env.text("ROUTING_RULES", "").split(",") if word.strip())
        usual = env.whole("USUAL_ANSWER_TOKENS", 3072, at_least=16, at_most=16_384)
        return cls(rules, usual, env.whole("QUOTE_SECONDS", 300, at_least=10, at_most=86_400))


def _rule(word: str) -> "RouteRule":
    # Late: without rules of an operator no function loads the router at its start.
    from app.assistant.classify.classification import Route
    from app.assistant.routing import MOST_PRIORITY, RouteRule
    from app.models.measured.tasks import TASKS

    task, _, rest = word.partition("=")
    route, at, priority = rest.partition("@")
    number = priority if at else "0"
    whole = number.isascii() and number.isdigit() and int(number) <= MOST_PRIORITY
    if task not in TASKS or route not in get_args(Route) or not whole:
        raise BadSetting(
            f"ROUTING_RULES should hold rules such as research=agent@10: a task ({', '.join(TASKS)}), quick or agent, "
            f"and a priority up to {MOST_PRIORITY}; it holds {word!r}"
        )
    return RouteRule(task, cast(Route, route), int(number))
