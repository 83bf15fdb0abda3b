"""Schemathesis reads the document and tries every operation with data that fits and data that does not.

Bounded and the same each time: a handful of examples for each operation. What it looks for: a 5xx, a status, header,
media type or body that the document does not name, input that does not fit and is accepted all the same.
"""

from collections.abc import Mapping
from typing import Any

import schemathesis
from flask_openapi import OpenAPI
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.api.app import Edges, create_app
from app.api.edge import Edge
from app.api.idempotency import Idempotency
from app.api.reference import openapi
from support.shop import Shop
from support.world import World

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
WORLD = World()
SHOP_APP = create_app([Shop(Idempotency(WORLD.documents, WORLD.clock)).routes()], Edges(WORLD.tokens))

bounded = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def read(app: OpenAPI) -> schemathesis.BaseSchema:
    """The document over the application itself; no socket."""
    schema = schemathesis.openapi.from_dict({**openapi.document(app), "servers": [{"url": "/"}]})
    schema.app = Edge(app, ids=WORLD.ids)
    return schema


def signed_in(uid: str, role: Any = "user") -> Mapping[str, str]:
    return {"Authorization": f"Bearer {WORLD.tokens.issue(WORLD.user(uid, role=role))}"}


everything = read(WORLD.app)
shop = read(SHOP_APP)
USER, ADMIN = signed_in("alice"), signed_in("root", "admin")


@everything.parametrize()
@bounded
def test_every_operation_keeps_its_word_to_an_admin(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers=dict(ADMIN), checks=CHECKS)


@everything.parametrize()
@bounded
def test_every_operation_keeps_its_word_to_a_user(case: schemathesis.Case[Any]) -> None:
    # A caller without the right is refused before the input is checked.
    checks = [check for check in CHECKS if check is not negative_data_rejection]
    case.call_and_validate(headers=dict(USER), checks=checks)


@everything.parametrize()
@bounded
def test_every_operation_keeps_its_word_to_nobody(case: schemathesis.Case[Any]) -> None:
    checks = [check for check in CHECKS if check is not negative_data_rejection]
    case.call_and_validate(headers={"Authorization": ""}, checks=checks)


@shop.exclude(path_regex="bug|fault|conflict").parametrize()
@bounded
def test_the_edge_keeps_its_word(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers=dict(ADMIN), checks=CHECKS)
