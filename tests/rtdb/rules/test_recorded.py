"""The engine gives every result that was recorded from the real service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, JsonValue

from rtdb.rules.world import Given, evaluate, merged, read, write
from rtdb_emulator.rules import QuerySpec, RulesError, Ruleset
from rtdb_emulator.rules.errors import ExpressionError, RuleFailure

RECORDED = Path(__file__).parent / "recorded"
UID = "recorded-user"
ANONYMOUS: JsonValue = {
    "uid": UID,
    "provider": "anonymous",
    "token": {"firebase": {"sign_in_provider": "anonymous", "identities": {}}},
}


class RecordedExpression(BaseModel):
    rule: str
    user: str
    valid: bool = Field(alias="isValid")
    fails: bool = Field(False, alias="failAtRuntime")
    value: bool | None = Field(None, alias="evaluateTo")
    wildcards: dict[str, str] = Field({}, alias="wildchildren")
    data: JsonValue = None
    query: dict[str, JsonValue] = {}

    def spec(self) -> QuerySpec:
        order = {"orderByValue": "$value", "orderByPriority": "$priority"}
        found = [name for key, name in order.items() if self.query.get(key)]
        limit = self.query.get("limitToLast")
        return QuerySpec(
            order_by=str(self.query.get("orderByChild") or (found[0] if found else "$key")),
            start_at=_scalar(self.query.get("startAt")),
            end_at=_scalar(self.query.get("endAt")),
            equal_to=_scalar(self.query.get("equalTo")),
            limit_to_last=limit if isinstance(limit, int) else None,
        )


class RecordedExpressions(BaseModel):
    users: dict[str, JsonValue]
    tests: list[RecordedExpression]


class RecordedDecision(BaseModel):
    description: str
    operation: str
    path: str = Field(alias="opPath")
    signed_in: bool = Field(alias="authPresent")
    production: str
    new: JsonValue = Field(None, alias="newData")
    before: JsonValue = Field(None, alias="mockData")
    seed: dict[str, JsonValue] = {}


class RecordedRules(BaseModel):
    id: str
    rules: JsonValue
    cases: list[RecordedDecision]


def _scalar(value: JsonValue) -> bool | int | float | str | None:
    assert not isinstance(value, list | dict)
    return value


def _expressions() -> RecordedExpressions:
    return RecordedExpressions.model_validate_json((RECORDED / "expressions.json").read_text())


def _decisions() -> Iterator[tuple[RecordedRules, RecordedDecision]]:
    text = (RECORDED / "decisions.json").read_text().replace("<UID>", UID)
    for item in json.loads(text):
        rules = RecordedRules.model_validate(item)
        yield from ((rules, case) for case in rules.cases)


def _documents(kind: str) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = json.loads((RECORDED / "documents.json").read_text())[kind]
    return found


USERS = _expressions().users
EXPRESSIONS = _expressions().tests
DECISIONS = list(_decisions())


def test_nothing_recorded_got_lost() -> None:
    assert len(EXPRESSIONS) == 186
    assert len(DECISIONS) == 96
    assert len(_documents("valid")) + len(_documents("invalid")) == 24


@pytest.mark.parametrize("case", EXPRESSIONS, ids=lambda case: f"{case.rule} as {case.user}")
def test_an_expression_does_what_was_recorded(case: RecordedExpression) -> None:
    given = Given(
        auth=USERS[case.user],
        root=case.data,
        query=case.spec(),
        names=case.wildcards,
        kind=".read",
    )
    if not case.valid:
        with pytest.raises(ExpressionError):
            evaluate(case.rule, given)
    elif case.fails:
        with pytest.raises(RuleFailure):
            evaluate(case.rule, given)
    else:
        assert evaluate(case.rule, given) is case.value


@pytest.mark.parametrize(
    ("rules", "case"), DECISIONS, ids=[f"{rules.id}: {case.description}" for rules, case in DECISIONS]
)
def test_a_request_is_decided_as_production_did(rules: RecordedRules, case: RecordedDecision) -> None:
    ruleset = Ruleset.parse(json.dumps({"rules": rules.rules}))
    root: JsonValue = None
    for path, value in {**case.seed, case.path: case.before}.items():
        root = merged(root, tuple(path.strip("/").split("/")), value)
    given = Given(auth=ANONYMOUS if case.signed_in else None, root=root)
    if case.operation == "read":
        decision = read(ruleset, case.path, given)
    else:
        decision = write(ruleset, {case.path: case.new}, given)
    assert decision.allowed is (case.production == "ALLOW"), decision.reason


@pytest.mark.parametrize("name", _documents("valid"))
def test_a_document_that_was_accepted_is_accepted(name: str) -> None:
    Ruleset.parse(json.dumps(_documents("valid")[name]))


@pytest.mark.parametrize("name", _documents("invalid"))
def test_a_document_that_was_refused_is_refused(name: str) -> None:
    with pytest.raises(RulesError):
        Ruleset.parse(json.dumps(_documents("invalid")[name]))
