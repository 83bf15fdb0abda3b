"""Quick or agent: rules with priorities before the classifier, and the quick path where nobody is sure."""

from dataclasses import replace

import pytest

from app.assistant.classify.classification import Classification, Route
from app.assistant.classify.classifier import classify
from app.assistant.routing import Routed, RouteRule, read_rule, routed

RESEARCH = replace(classify("Research the market"), task="research", route="agent", unsure=False)


def rule(route: Route, priority: int = 0) -> RouteRule:
    return RouteRule("research", route, priority)


@pytest.mark.parametrize(
    ("found", "user", "admin", "expected"),
    [
        (RESEARCH, [], [], Routed("agent", "classified")),
        (replace(RESEARCH, unsure=True), [], [], Routed("quick", "unsure")),
        (RESEARCH, [rule("quick")], [], Routed("quick", "user_rule")),
        (replace(RESEARCH, unsure=True), [rule("agent")], [], Routed("agent", "user_rule")),
        (RESEARCH, [], [rule("quick")], Routed("quick", "admin_rule")),
        (RESEARCH, [rule("agent", 5)], [rule("quick", 5)], Routed("quick", "admin_rule")),
        (RESEARCH, [rule("agent", 6)], [rule("quick", 5)], Routed("agent", "user_rule")),
        (RESEARCH, [rule("agent", 1), rule("quick", 2)], [], Routed("quick", "user_rule")),
        (replace(RESEARCH, task="chat"), [rule("quick")], [rule("quick")], Routed("agent", "classified")),
    ],
)
def test_the_rule_with_the_highest_priority_decides(
    found: Classification, user: list[RouteRule], admin: list[RouteRule], expected: Routed
) -> None:
    assert routed(found, user=user, admin=admin) == expected


def test_a_rule_is_read_as_it_was_written() -> None:
    assert read_rule(rule("agent", 7).fields()) == rule("agent", 7)
