"""The billing table as everybody may read it is the table that charges."""

from typing import Any

from app.api.app import Edges, create_app
from app.metering import routes
from app.metering.billing import PATH, Basis, Ending, Mode, Payer, Policy, default_policy, load
from support.world import TestTokens, World


def told(world: World | None = None) -> dict[str, Any]:
    answer = (world or World()).client(None).get("/v1/billing/policy")
    assert answer.status_code == 200, answer.text
    return {**(answer.json or {})}


def served(policy: Policy) -> dict[str, Any]:
    """What the route tells of another table."""
    app = create_app([routes.routes(policy)], Edges(TestTokens()))
    return dict(app.test_client().get("/v1/billing/policy").get_json())


def test_anybody_reads_every_cell_as_it_is_charged() -> None:
    rows = {(row["ending"], row["mode"]): (row["payer"], row["basis"], row["reason"]) for row in told()["rules"]}
    assert rows == {cell: (rule.payer, rule.basis, rule.reason) for cell, rule in default_policy().items()}
    assert len(rows) == len(Ending) * len(Mode)


def test_another_table_is_told_otherwise() -> None:
    """The words follow the rule: nothing of a cell is written down twice."""
    line = 'any = { payer = "user", basis = "usage", reason = "completed" }'
    free = load(PATH.read_text().replace(line, 'any = { payer = "house", basis = "nothing", reason = "gift" }', 1))
    assert free[Ending.COMPLETED, Mode.JSON].payer is Payer.HOUSE
    found = served(free)
    [row] = [row for row in found["rules"] if (row["ending"], row["mode"]) == ("completed", "json")]
    assert (row["payer"], row["basis"], row["reason"]) == ("house", "nothing", "gift")
    assert row["words"] == f"{found['endings']['completed']}. {found['bases']['nothing']}."


def test_every_ending_and_basis_has_its_words() -> None:
    found = told()
    assert set(found["endings"]) == set(Ending)
    assert set(found["bases"]) == set(Basis)
    assert len({*found["endings"].values()}) == len(Ending)
    assert all(row["words"] for row in found["rules"])
