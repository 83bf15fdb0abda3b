"""Every change of an exported account is found, at the entry where it was made."""

import copy
import json
from collections.abc import Mapping

import pytest

from app.credits.proofs.signing import KeyRing
from app.credits.statements.audit import AuditPeriod
from app.credits.statements.export import Unreadable, parse, verify_export
from app.kit.clock import from_rfc3339
from support.credits_world import CreditsWorld
from support.tampering import Export, cases, honest, resigned


class Remembering(KeyRing):
    """Checks each signature once: the entries before a tampered one are the same in thousands of cases."""

    def __init__(self, public: Mapping[str, str]) -> None:
        super().__init__(public)
        self._seen: dict[tuple[str, str, bytes], bool] = {}

    def verifies(self, kid: str, signature: str, message: bytes) -> bool:
        asked = (kid, signature, message)
        if asked not in self._seen:
            self._seen[asked] = super().verifies(*asked)
        return self._seen[asked]


def test_every_way_to_tamper_is_found_at_its_entry() -> None:
    """T-55: more than 6,000 changes, including those of insiders who have the real key and cut the tail."""
    world = CreditsWorld()
    keys = Remembering(world.credits.ledger.keys.public)
    found = 0
    for case in cases(world):
        verdict = verify_export(case.export, keys)
        assert not verdict.valid, f"{case.name} passed"
        assert verdict.sequence in case.sequences, f"{case.name}: stopped at {verdict}"
        found += 1
    assert found >= 6_000


class TestAnHonestExport:
    def test_is_valid(self, world: CreditsWorld) -> None:
        export = honest(world, "alice")
        verdict = verify_export(export, world.credits.ledger.keys)
        assert (verdict.valid, verdict.check) == (True, None)
        kinds = {entry["kind"] for entry in export["report"]["entries"]}
        assert kinds == {"grant", "deposit", "settle", "refund", "clawback", "expiry", "adjust", "reversal"}

    def test_survives_being_written_down_in_another_order(self, world: CreditsWorld) -> None:
        export = honest(world, "alice")
        text = json.dumps(export, indent=3, ensure_ascii=True, sort_keys=True)
        assert verify_export(parse(text), world.credits.ledger.keys).valid

    def test_verifies_for_ever_after_the_key_was_rotated(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        retired = (world.signer.public,)
        fresh = CreditsWorld(world.documents, world.clock, b"\x09" * 32, retired=retired, archive=world.archive)
        again = honest(fresh, "carol")
        assert verify_export(again, fresh.credits.ledger.keys).valid
        assert fresh.credits.validate_chain("alice").valid
        fresh.credits.account("alice")
        only_new = KeyRing({fresh.signer.kid: fresh.signer.public})
        assert not verify_export(honest(world, "dave"), only_new).valid

    @pytest.mark.parametrize("bound", ["not_before", "not_after"])
    def test_is_not_valid_with_a_key_outside_of_its_lifetime(self, world: CreditsWorld, bound: str) -> None:
        """T-102"""
        export, (key,) = honest(world, "alice"), world.credits.keys()["keys"]
        times = [entry["created_at"] for entry in export["report"]["entries"]]
        for at, check in (
            (times[5], "key"),
            (times[0] if bound == "not_before" else "2100-01-01T00:00:00.000000Z", None),
        ):
            verdict = verify_export(export, KeyRing.from_jwks({"keys": [{**key, bound: at}]}))
            assert verdict.check == check

    def test_of_a_part_goes_on_where_the_entries_before_it_ended(self, world: CreditsWorld) -> None:
        entries = honest(world, "alice")["report"]["entries"]
        since = AuditPeriod(from_us=from_rfc3339(entries[5]["created_at"]))
        part: Export = copy.deepcopy(world.credits.signed_audit("alice", since))
        keys = world.credits.ledger.keys
        verdict = verify_export(part, keys)
        assert (verdict.valid, verdict.entries, verdict.period) == (True, len(entries) - 5, "part")
        part["report"]["opening"]["lots"][0]["remaining"] += 1
        part["report"]["opening_balance"] += 1
        assert verify_export(resigned(part, world.signer), keys).check == "balance"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": 1, "a": 2}',
        '{"a": 1.0}',
        '{"a": 1e3}',
        '{"a": -0}',
        '{"a": 9007199254740992}',
        '{"a": NaN}',
        '{"a": 01}',
        '["\t"]',
        "[1,]",
        "[" * 101 + "]" * 101,
        "[" * 5000 + "]" * 5000,
    ],
)
def test_what_two_readers_could_read_differently_is_unreadable(text: str) -> None:
    """T-54"""
    with pytest.raises(Unreadable):
        parse(text)
