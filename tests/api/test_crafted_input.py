"""No crafted date, limit, amount, cursor or name gives a 500, whatever parameter of a route it is sent as (T-126)."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app.api.paging import Cursors
from app.api.reference import openapi
from app.kit.money import credits
from support.credits_world import deposit
from support.world import World

TIMES: Final = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000001Z",
    "0001-01-30T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "2026-11-21t08:30:00.123456789z",
    "2016-12-31T23:59:60Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T00:00:00-23:59",
    "0001-01-01T00:00:00+23:59",
    "0000-00-00T00:00:00Z",
    "2026-11-21T24:00:00Z",
)
NUMBERS: Final = (
    *("0", "1", "-1", "100", "101", str(2**31), str(2**53), str(2**63), str(-(2**63) - 1), "9" * 400),
    *("1e3", "1.5", "-0", "0.000001", "9007199254.740991", "9007199254.740992", "NaN", "Infinity", "٣", "1_0"),
)
TEXTS: Final = ("", " ", ".", "..", "__x__", "a/b", "\0", "\ud83e\udd96", "z" * 2000, "true", "null", "[]", "[" * 500)
POSITIONS: Final = (0, 1, -1, 2**63 - 1, 2**63, -(2**63), 10**400, 1.5, True, None, "", "op_1", "a/b", "f" * 64, *TIMES)
BY_KIND: Final = {"date-time": TIMES, "cursor": (), "integer": NUMBERS}
CALLERS: Final = ("alice", "ada")


@dataclass(frozen=True)
class Asked:
    """An operation of the document, and what it may be asked."""

    path: str
    parameters: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return self.path


def kinds_of(schema: Mapping[str, Any]) -> Iterator[str]:
    """Formats and types in a parameter's schema."""
    for one in (schema, *schema.get("anyOf", ())):
        yield from (str(one[name]) for name in ("format", "type") if name in one)


def choices_of(schema: Mapping[str, Any]) -> list[str]:
    """The values that the document itself names."""
    return [str(value) for one in (schema, *schema.get("anyOf", ())) for value in one.get("enum", ())]


class Village:
    """A backend in which something has happened; it is only read."""

    def __init__(self) -> None:
        self.world = World()
        self.callers = {"alice": self.world.client("alice")}
        self.callers["ada"] = self.world.client(self.world.user("ada", role="admin"))
        self.world.system.credits.service.post("alice", deposit("one", credits(5)))
        self.document = openapi.document(self.world.app)

    def bodies(self) -> dict[str, Mapping[str, Any]]:
        """The properties of the body of every POST, by its path."""
        found = {}
        for path, item in self.document["paths"].items():
            content = item.get("post", {}).get("requestBody", {}).get("content", {})
            if "application/json" in content:
                found[path] = self.resolved(content["application/json"]["schema"])["properties"]
        return found

    def operations(self) -> list[Asked]:
        """Every GET that takes a query."""
        found = []
        for path, item in self.document["paths"].items():
            parameters = tuple(item.get("get", {}).get("parameters", ()))
            if any(parameter["in"] == "query" for parameter in parameters):
                found.append(Asked(path, parameters))
        return found

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A parameter's schema; the document keeps enumerations apart."""
        reference = schema.get("$ref")
        return self.document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema

    def get(self, asked: Asked, values: Mapping[str, str], by: str, accept: str) -> TestResponse:
        """The answer to this question."""
        path = asked.path
        for parameter in asked.parameters:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", _quoted(values.get(parameter["name"], "a")))
        names = [parameter["name"] for parameter in asked.parameters if parameter["in"] == "query"]
        query = urlencode({name: values[name] for name in names if name in values}, errors="surrogatepass")
        return self.callers[by].get(f"{path}?{query}", headers={"Accept": accept})

    def post(self, path: str, body: Mapping[str, object], by: str) -> TestResponse:
        """The answer to this body; whatever the path names is called `a`."""
        return self.callers[by].post(
            re.sub(r"{\w+}", "a", path), data=json.dumps(body), content_type="application/json"
        )


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


VILLAGE = Village()
OPERATIONS = VILLAGE.operations()
BODIES = VILLAGE.bodies()
BOUNDED: Final = settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LISTS = ("history", "explain", "validate-chain", "conversations", "messages", "operations", "sagas", "audit", "dead")


@st.composite
def cursors(draw: st.DrawFn) -> str:
    """Of some list, with any position; or no cursor at all."""
    cursor = Cursors(draw(st.sampled_from(LISTS)), lambda _: (0,), draw(st.sampled_from([("alice",), ("ada", None)])))
    head = json.loads(base64.urlsafe_b64decode(cursor.write((0,)) + "=="))[:3]
    parts = [*head, *draw(st.lists(st.sampled_from(POSITIONS), max_size=6))]
    text = draw(st.sampled_from([json.dumps(parts, separators=(",", ":")), *TEXTS, "9" * 5000]))
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


@st.composite
def questions(draw: st.DrawFn, asked: Asked) -> dict[str, str]:
    """A value, fitting or not, for some of the parameters."""
    values = {}
    for parameter in asked.parameters:
        if not parameter.get("required") and draw(st.booleans()):
            continue
        schema = VILLAGE.resolved(parameter.get("schema", {}))
        kinds = [kind for kind in kinds_of(schema) if kind in BY_KIND]
        fitting = [st.sampled_from(BY_KIND[kind]) for kind in kinds if BY_KIND[kind]]
        fitting += [st.sampled_from(choices_of(schema))] if choices_of(schema) else []
        fitting += [cursors()] if "cursor" in kinds else []
        odd = st.sampled_from((*TIMES, *NUMBERS, *TEXTS))
        # Mostly what fits: what does not is refused before anybody counts with it.
        values[parameter["name"]] = draw(st.one_of([*fitting, *fitting, *fitting, odd]))
    return values


@pytest.mark.parametrize("asked", OPERATIONS, ids=str)
@BOUNDED
@given(data=st.data())
def test_no_question_breaks_a_route(asked: Asked, data: st.DataObject) -> None:
    values = data.draw(questions(asked))
    accept = data.draw(st.sampled_from(["application/json", "text/csv"]))
    for by in CALLERS:
        answer = VILLAGE.get(asked, values, by, accept)
        assert answer.status_code < 500, (by, values, answer.text)


@st.composite
def bodies(draw: st.DrawFn, properties: Mapping[str, Any]) -> dict[str, object]:
    """A value, fitting or not, for most members of a body."""
    body: dict[str, object] = {}
    for name, given_schema in properties.items():
        schema = VILLAGE.resolved(given_schema)
        kinds = set(kinds_of(schema))
        texts: list[st.SearchStrategy[object]] = [st.sampled_from(TIMES)] if "date-time" in kinds else []
        texts += [cursors()] if "cursor" in kinds else []
        texts += [st.sampled_from(choices_of(schema))] if choices_of(schema) else []
        texts += [st.sampled_from(["a", *NUMBERS])] if "string" in kinds and not texts else []
        numbers: list[st.SearchStrategy[object]] = [st.sampled_from([1, *POSITIONS])] if "integer" in kinds else []
        odd: st.SearchStrategy[object] = st.sampled_from((*POSITIONS, *TEXTS, *NUMBERS))
        if draw(st.integers(0, 9)):
            body[name] = draw(st.one_of([*texts, *texts, *numbers, *numbers, *texts, odd]))
    return body


@pytest.mark.parametrize("path", BODIES)
@BOUNDED
@given(data=st.data())
def test_no_body_breaks_a_route(path: str, data: st.DataObject) -> None:
    """The vendor of these worlds answers nobody, so 503 is right where one is asked."""
    body = data.draw(bodies(BODIES[path]))
    for by in CALLERS:
        answer = VILLAGE.post(path, body, by)
        assert answer.status_code in (503, *range(200, 500)), (by, body, answer.text)


def test_every_route_with_a_query_is_asked() -> None:
    assert "/v1/orchestration/events/replay" in BODIES
    assert {"/v1/credits/analytics", "/v1/credits/history", "/v1/orchestration/operations"} <= {
        asked.path for asked in OPERATIONS
    }


@pytest.mark.parametrize("granularity", ["hour", "day", "month"])
@pytest.mark.parametrize("at", TIMES[:4])
def test_a_period_that_ends_at_the_beginning_of_time_is_answered(granularity: str, at: str) -> None:
    """By default it begins 30 days before it ends, which may be before the year 1."""
    answer = VILLAGE.callers["alice"].get(f"/v1/credits/analytics?granularity={granularity}&to={at}")
    assert answer.status_code in (200, 422), answer.text
