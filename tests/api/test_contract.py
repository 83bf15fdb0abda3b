"""Schemathesis reads the document and tries every operation with data that fits and data that does not.

Bounded: a handful of examples for each operation. What it looks for: a 5xx, a status or body that the document does
not know, a header or media type that it does not promise.
"""

from typing import Any

import schemathesis
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

from app.api import openapi
from support.world import World

WORLD = World()
ADMIN = WORLD.user("root", role="admin")
TOKEN = WORLD.tokens.issue(ADMIN)
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]

schema = schemathesis.openapi.from_dict({**openapi.document(WORLD.app), "servers": [{"url": "/"}]})
schema.app = WORLD.services.edge


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_its_word(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)
