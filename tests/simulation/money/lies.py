"""What an insider may write into a statement, and which check of docs/verification.md names it.

Each lie changes a report and says the check and the entry at which a verifier must stop, or None where the report gives
no occasion for it. Afterwards everything is chained and signed anew with the ledger's own key.
"""

import random
from collections.abc import Callable
from typing import Final

from support.tampering import Json

Stop = tuple[str, int | None]
Lie = Callable[[Json, random.Random], Stop | None]


def _settled_twice(report: Json, chance: random.Random) -> Stop | None:
    return _same(report, chance, "key")


def _same_id(report: Json, chance: random.Random) -> Stop | None:
    return _same(report, chance, "id")


def _same(report: Json, chance: random.Random, name: str) -> Stop | None:
    if len(report["entries"]) < 2:
        return None
    first, second = sorted(chance.sample(range(len(report["entries"])), 2))
    report["entries"][second][name] = report["entries"][first][name]
    return "twice", report["entries"][second]["sequence"]


def _from_an_empty_lot(report: Json, chance: random.Random) -> Stop | None:
    """What was spent comes from a lot that has nothing."""
    taking = [one for one in report["entries"] if any(line["amount"] < 0 for line in one["lots"])]
    if not taking:
        return None
    entry = chance.choice(taking)
    next(line for line in entry["lots"] if line["amount"] < 0)["id"] = "lot_none"
    return "fold", entry["sequence"]


def _of_another_payment(report: Json, chance: random.Random) -> Stop | None:
    taking = [one for one in report["entries"] if any(line["amount"] < 0 for line in one["lots"])]
    if not taking:
        return None
    entry = chance.choice(taking)
    next(line for line in entry["lots"] if line["amount"] < 0)["payment_id"] = "of nobody"
    return "fold", entry["sequence"]


def _a_charge_that_is_a_gift(report: Json, chance: random.Random) -> Stop | None:
    taking = [one for one in report["entries"] if one["amount"] < 0]
    if not taking:
        return None
    entry = chance.choice(taking)
    entry["kind"] = "grant"
    return "kind", entry["sequence"]


def _one_left_out(report: Json, chance: random.Random) -> Stop | None:
    if len(report["entries"]) < 3:
        return None
    gone = report["entries"].pop(chance.randrange(1, len(report["entries"]) - 1))
    return "sequence", gone["sequence"]


def _cut_at_the_end(report: Json, _: random.Random) -> Stop | None:
    """Only the checkpoint tells."""
    if len(report["entries"]) < 2 or report["coverage"]["seal"]["sequence"] != report["head"]["sequence"]:
        return None
    gone = report["entries"].pop()
    return "sealed_head", gone["sequence"]


def _of_somebody_else(report: Json, _: random.Random) -> Stop | None:
    report["account"] = "mallory"
    return ("account", report["entries"][0]["sequence"]) if report["entries"] else None


def _posted_elsewhere(report: Json, chance: random.Random) -> Stop | None:
    entry = chance.choice(report["entries"])
    entry["postings"][1]["amount"] += 1
    return "postings", entry["sequence"]


def _more_than_its_lots(report: Json, chance: random.Random) -> Stop | None:
    entry = chance.choice([one for one in report["entries"] if one["lots"]])
    entry["lots"][0]["amount"] += 1
    return "lots", entry["sequence"]


def _another_balance(report: Json, chance: random.Random) -> Stop | None:
    entry = chance.choice(report["entries"])
    entry["balance_after"] += 1
    return "balance", entry["sequence"]


def _back_in_time(report: Json, chance: random.Random) -> Stop | None:
    entry = chance.choice(report["entries"][1:])
    entry["created_at"] = "2020-01-01T00:00:00.000000Z"
    return "time", entry["sequence"]


def _before_its_period(report: Json, chance: random.Random) -> Stop | None:
    first, *others = report["entries"]
    later = [one for one in others if one["created_at"] > first["created_at"]]
    report["from"] = chance.choice(later)["created_at"]
    return "period", first["sequence"]


IN_ENTRIES: Final[tuple[Lie, ...]] = (
    _settled_twice,
    _same_id,
    _from_an_empty_lot,
    _of_another_payment,
    _a_charge_that_is_a_gift,
    _one_left_out,
    _of_somebody_else,
    _posted_elsewhere,
    _more_than_its_lots,
    _another_balance,
    _back_in_time,
    _before_its_period,
)
"""Behind each of them the sums are made to fit again, and there is no checkpoint."""


def _another_total(report: Json, chance: random.Random) -> Stop | None:
    report["totals"][chance.choice(sorted(report["totals"]))] += 1
    return "totals", None


def _closes_with_more(report: Json, _: random.Random) -> Stop | None:
    report["closing_balance"] += 1
    return "closing", None


def _another_lot(report: Json, chance: random.Random) -> Stop | None:
    if not report["closing"]["lots"]:
        return None
    chance.choice(report["closing"]["lots"])["remaining"] += 1
    return "closing", None


def _opens_with_more(report: Json, _: random.Random) -> Stop | None:
    report["opening_balance"] += 1
    return "opening", None


def _another_count(report: Json, _: random.Random) -> Stop | None:
    report["verification"]["entries"] += 1
    return "verification", None


def _says_it_is_not_valid(report: Json, _: random.Random) -> Stop | None:
    report["verification"]["valid"] = False
    return "verification", None


def _part_of_nothing(report: Json, _: random.Random) -> Stop | None:
    report["part"]["number"] = 0
    return "part", None


def _longer_than_it_is(report: Json, _: random.Random) -> Stop | None:
    report["head"]["sequence"] += 1
    return "head", report["entries"][-1]["sequence"] + 1


def _another_leaf(report: Json, _: random.Random) -> Stop | None:
    report["coverage"]["seal"]["salt"] += "x"
    return "seal", None


def _another_size(report: Json, _: random.Random) -> Stop | None:
    report["coverage"]["checkpoint"]["size"] += 1
    return "checkpoint", None


IN_THE_REST: Final[tuple[Lie, ...]] = (
    _another_total,
    _closes_with_more,
    _another_lot,
    _opens_with_more,
    _another_count,
    _says_it_is_not_valid,
    _part_of_nothing,
    _longer_than_it_is,
    _another_leaf,
    _another_size,
)
OF_CHECKPOINTS: Final[tuple[Lie, ...]] = (_another_leaf, _another_size)
CUT: Final[Lie] = _cut_at_the_end
