"""What a statement says, what a verifier says of it, and what is never signed."""

import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from app.credits import verify
from app.credits.core.account import Account, Lot, LotSource
from app.credits.core.entry import EntryDraft, Kind, LotLine, Reference, seal
from app.credits.ledger import document
from app.credits.proofs.sealing import SealedLink
from app.credits.proofs.signing import KeyRing
from app.credits.statements.audit import MAX_ENTRIES, PART, AuditPeriod, StatementRefused
from app.credits.statements.export import ExportVerdict, parse_statements, verify_export, verify_statements
from app.credits.statements.table import verify_csv
from app.kit.clock import from_rfc3339, to_rfc3339
from app.kit.stores.documents import Create, Merge, Replace
from support.credits_world import CreditsWorld, reserve, settle
from support.hostile import rechain
from support.tampering import Export, Json, honest, in_parts, refit, resigned
from support.world import World


def _verdict(world: CreditsWorld, export: Export) -> ExportVerdict:
    return verify_export(json.loads(json.dumps(export)), world.credits.ledger.keys)


class TestAVerdict:
    """T-119: it says how much of the account the file holds, and how much of that a checkpoint seals."""

    def test_of_a_whole_and_sealed_account_is_covered(self, world: CreditsWorld) -> None:
        verdict = _verdict(world, honest(world, "alice"))
        assert (verdict.period, verdict.checkpoint) == ("covered", "covered")
        assert "whole account" in verdict.sentence()

    def test_of_one_that_moved_on_since_it_was_sealed_is_covered_in_part(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        _spend(world, "later")
        verdict = _verdict(world, world.credits.signed_audit("alice", AuditPeriod()))
        assert (verdict.valid, verdict.period, verdict.checkpoint) == (True, "covered", "part")

    def test_of_one_without_a_checkpoint_says_that_a_cut_would_not_show(self, world: CreditsWorld) -> None:
        export = honest(world, "alice")
        export["report"].update(coverage=None, entries=export["report"]["entries"][:5])
        refit(export["report"])
        verdict = _verdict(world, resigned(export, world.signer))
        assert (verdict.valid, verdict.checkpoint) == (True, "not covered")
        assert "would not show" in verdict.sentence()

    @pytest.mark.parametrize(
        ("first", "last", "entries", "period", "checkpoint"),
        [
            (5, None, 11, "part", "covered"),
            (None, 5, 6, "part", "not covered"),
            (3, 5, 3, "part", "not covered"),
            (0, -1, 16, "covered", "covered"),
        ],
    )
    def test_of_a_period_is_a_part(
        self, world: CreditsWorld, first: int | None, last: int | None, entries: int, period: str, checkpoint: str
    ) -> None:
        times = [from_rfc3339(each["created_at"]) for each in honest(world, "alice")["report"]["entries"]]
        chosen = AuditPeriod(*(None if index is None else times[index] for index in (first, last)))
        verdict = _verdict(world, world.credits.signed_audit("alice", chosen))
        assert (verdict.valid, verdict.entries) == (True, entries), verdict
        assert (verdict.period, verdict.checkpoint) == (period, checkpoint)

    def test_of_a_period_behind_the_last_checkpoint_is_not_covered(self, world: CreditsWorld) -> None:
        """The checkpoint seals the entry before the first one of the file."""
        honest(world, "alice")
        world.clock.advance(minutes=1)
        since = world.clock.now_us()
        _spend(world, "later")
        verdict = _verdict(world, world.credits.signed_audit("alice", AuditPeriod(from_us=since)))
        assert (verdict.valid, verdict.entries) == (True, 1), verdict
        assert (verdict.period, verdict.checkpoint) == ("part", "not covered")

    def test_of_an_account_that_is_sealed_meanwhile_is_valid(
        self, world: CreditsWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was sealed is read before the account, or the account of before would look as if its tail was cut."""
        honest(world, "alice")
        evidence, messages = world.credits.checkpoints.evidence, iter(["meanwhile"])

        def sealed_meanwhile(uid: str) -> SealedLink | None:
            for message in messages:
                _spend(world, message)
                world.credits.checkpoints.seal()
            return evidence(uid)

        monkeypatch.setattr(world.credits.checkpoints, "evidence", sealed_meanwhile)
        assert _verdict(world, world.credits.signed_audit("alice", AuditPeriod())).valid

    def test_of_an_empty_account_is_that_there_is_nothing(self) -> None:
        world = CreditsWorld(bonus=0)
        world.credits.account("alice")
        verdict = _verdict(world, world.credits.signed_audit("alice", AuditPeriod()))
        assert (verdict.valid, verdict.entries) == (True, 0)
        assert (verdict.period, verdict.checkpoint) == ("covered", "not covered")


class TestAnEmptyPeriod:
    """T-125: a statement's balances are the account's, also where nothing happened."""

    def test_after_the_last_entry_opens_and_closes_with_the_balance(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        export = world.credits.signed_audit("alice", AuditPeriod(from_us=world.clock.now_us() + 1))
        report: Json = export["report"]
        balance = world.account("alice").balance
        assert balance > 0
        assert (report["opening_balance"], report["closing_balance"], report["entries"]) == (balance, balance, [])
        verdict = _verdict(world, export)
        assert (verdict.valid, verdict.period, verdict.checkpoint) == (True, "not covered", "covered")

    def test_before_the_first_entry_opens_and_closes_with_nothing(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        export = world.credits.signed_audit("alice", AuditPeriod(to_us=1))
        report: Json = export["report"]
        assert (report["opening_balance"], report["closing_balance"], report["entries"]) == (0, 0, [])
        assert _verdict(world, export).period == "not covered"

    def test_between_two_entries_has_the_balance_between_them(self, world: CreditsWorld) -> None:
        one, two = honest(world, "alice")["report"]["entries"][3:5]
        between = AuditPeriod(from_rfc3339(one["created_at"]) + 1, from_rfc3339(two["created_at"]) - 1)
        export = world.credits.signed_audit("alice", between)
        report: Json = export["report"]
        assert (report["opening_balance"], report["closing_balance"]) == (one["balance_after"], one["balance_after"])
        assert _verdict(world, export).valid


def _settled_twice(report: Json) -> None:
    report["entries"][6]["key"] = report["entries"][5]["key"]


def _same_id(report: Json) -> None:
    report["entries"][6]["id"] = report["entries"][5]["id"]


def _from_an_empty_lot(report: Json) -> None:
    report["entries"][5]["lots"][0]["id"] = "lot_99"


def _of_another_origin(report: Json) -> None:
    report["entries"][5]["lots"][0]["payment_id"] = "pay_9"


def _a_grant_that_takes(report: Json) -> None:
    report["entries"][5]["kind"] = "grant"


def _a_charge_that_gives(report: Json) -> None:
    report["entries"][0]["kind"] = "settle"


def _before_the_period(report: Json) -> None:
    report["from"] = report["entries"][3]["created_at"]


def _after_the_period(report: Json) -> None:
    report["to"] = report["entries"][3]["created_at"]


class TestALieOfAnInsider:
    """T-119: chained and signed with the real key, and told by name nevertheless."""

    @pytest.mark.parametrize(
        ("lie", "check", "sequence"),
        [
            (_settled_twice, "twice", 7),
            (_same_id, "twice", 7),
            (_from_an_empty_lot, "fold", 6),
            (_of_another_origin, "fold", 6),
            (_a_grant_that_takes, "kind", 6),
            (_a_charge_that_gives, "kind", 1),
            (_before_the_period, "period", 1),
            (_after_the_period, "period", 5),
        ],
    )
    def test_in_the_entries(self, world: CreditsWorld, lie: Callable[[Json], None], check: str, sequence: int) -> None:
        export = honest(world, "alice")
        lie(export["report"])
        rechain(export, world.signer)
        refit(export["report"])
        verdict = _verdict(world, resigned(export, world.signer))
        assert (verdict.check, verdict.sequence) == (check, sequence)

    @pytest.mark.parametrize(
        ("change", "check"),
        [
            ({"totals": {}}, "totals"),
            ({"closing_balance": 5}, "closing"),
            ({"opening_balance": 5}, "opening"),
            (
                {"verification": {"valid": True, "entries": 1, "first_bad_sequence": None, "check": None}},
                "verification",
            ),
            ({"part": {"number": 0, "last": True}}, "part"),
            ({"format": 1}, "shape"),
        ],
    )
    def test_in_the_sums(self, world: CreditsWorld, change: dict[str, Json], check: str) -> None:
        export = honest(world, "alice")
        export["report"].update(change)
        assert _verdict(world, resigned(export, world.signer)).check == check

    def test_about_what_is_left_of_a_lot(self, world: CreditsWorld) -> None:
        export = honest(world, "alice")
        left, *_, other = export["report"]["closing"]["lots"]
        left["remaining"] -= 1
        other["remaining"] += 1
        assert _verdict(world, resigned(export, world.signer)).check == "closing"

    def test_with_a_key_whose_time_was_over_when_the_statement_was_made(self, world: CreditsWorld) -> None:
        """T-102"""
        export, (key,) = honest(world, "alice"), world.credits.keys()["keys"]
        ended = {**key, "not_after": export["report"]["entries"][-1]["created_at"]}
        export["report"].update(coverage=None, made_at=to_rfc3339(world.clock.now_us() + 1))
        verdict = verify_export(resigned(export, world.signer), KeyRing.from_jwks({"keys": [ended]}))
        assert (verdict.check, verdict.sequence) == ("key", None)


class TestWhatDoesNotVerify:
    """T-102: is signed in no statement, whatever its period."""

    @pytest.mark.parametrize("since", [None, 0, 3])
    def test_an_altered_entry(self, world: CreditsWorld, since: int | None) -> None:
        times = [from_rfc3339(each["created_at"]) for each in honest(world, "alice")["report"]["entries"]]
        world.documents.commit([Merge(document.entry_path("alice", 2), {"reason": "altered"})])
        period = AuditPeriod() if since is None else AuditPeriod(from_us=times[since])
        with pytest.raises(StatementRefused) as refused:
            world.credits.signed_audit("alice", period)
        assert (refused.value.sequence, refused.value.check) == (2, "hash")
        with pytest.raises(StatementRefused):
            world.credits.audit_csv("alice", period)

    def test_a_cut_tail_with_the_account_put_back(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        before = world.documents.get("accounts/alice")
        assert before is not None
        honest(world, "alice")
        world.documents.commit([Replace("accounts/alice", before.fields)])
        with pytest.raises(StatementRefused) as refused:
            world.credits.signed_audit("alice", AuditPeriod(to_us=world.clock.now_us()))
        assert refused.value.check == "checkpoint"

    def test_an_account_with_another_balance(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        world.documents.commit([Merge("accounts/alice", {"balance": 1})])
        with pytest.raises(StatementRefused) as refused:
            world.credits.signed_audit("alice", AuditPeriod())
        assert refused.value.check == "head"

    def test_an_account_that_is_ahead_of_its_entries(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        world.documents.commit([Merge("accounts/alice", {"sequence": 99})])
        with pytest.raises(StatementRefused) as refused:
            world.credits.signed_audit("alice", AuditPeriod())
        assert refused.value.check == "missing"


class TestALongAccount:
    """T-119: is exported whole, in parts that verify alone and together."""

    def test_of_more_entries_than_a_statement_holds(self) -> None:
        world = World()
        credits, count = world.system.credits.service, MAX_ENTRIES + 1
        _fill(world, "alice", count)
        credits.checkpoints.seal()
        alice = world.client("alice")
        for media_type in ("application/json", "text/csv"):
            refused = alice.get("/v1/credits/audit", headers={"Accept": media_type})
            assert (refused.status_code, (refused.json or {})["code"]) == (422, "period_too_long")
        answer = alice.get("/v1/credits/audit", headers={"Accept": "application/x-ndjson"})
        assert answer.content_type == "application/x-ndjson"
        parts = parse_statements(answer.text)
        assert len(parts) == len(answer.text.splitlines()) == MAX_ENTRIES // PART + 1
        whole = verify_statements(parts, credits.ledger.keys)
        assert (whole.valid, whole.entries, whole.period, whole.checkpoint) == (True, count, "covered", "covered")

    def test_is_valid_in_each_part_and_in_what_goes_on_without_a_gap(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        parts, keys = [*in_parts(world, "alice", 4)], world.credits.ledger.keys
        assert [len(part["report"]["entries"]) for part in parts] == [4, 4, 4, 4]
        alone = [verify_export(part, keys) for part in parts]
        assert [(each.valid, each.period) for each in alone] == [(True, "part")] * 4
        assert verify_statements(parts[:-1], keys).period == "part"
        assert verify_statements(parts[2:], keys).period == "part"
        assert verify_statements(parts, keys).period == "covered"
        assert verify_statements([parts[0], *parts[2:]], keys).check == "part"
        assert verify_statements([parts[0], parts[0]], keys).check == "part"
        assert all(verify_statements(pair, keys).valid for pair in pairwise(parts))

    def test_that_does_not_verify_is_looked_at_before_all_others(self, world: CreditsWorld) -> None:
        """T-102: whoever finds it, in whatever form the statement was asked for."""
        honest(world, "alice")
        world.documents.commit([Merge(document.entry_path("alice", 3), {"reason": "altered"})])
        with pytest.raises(StatementRefused):
            list(world.credits.signed_parts("alice", AuditPeriod()))
        assert world.credits.checkpoints.breaches.suspected(10) == ["alice"]

    def test_does_not_end_as_if_it_were_whole_when_its_end_does_not_verify(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        last = world.account("alice").sequence
        world.documents.commit([Merge(document.entry_path("alice", last), {"reason": "altered"})])
        parts = in_parts(world, "alice", 4)
        seen = [next(parts), next(parts)]
        with pytest.raises(StatementRefused):
            seen.extend(parts)
        assert verify_statements(seen, world.credits.ledger.keys).period == "part"


_SAVED: dict[str, Callable[[str], bytes]] = {
    "line ends of Unix": lambda text: text.replace("\r\n", "\n").encode(),
    "no quotes": lambda text: text.replace('"', "").encode(),
    "no quotes behind a byte order mark": lambda text: text.replace('"', "").encode("utf-8-sig"),
    "semicolons": lambda text: text.replace('","', '";"').encode(),
    "tabs": lambda text: text.replace('","', "\t").replace('"', "").encode(),
    "UTF-16": lambda text: text.replace('","', "\t").replace('"', "").encode("utf-16"),
}


def _on_the_command_line(world: CreditsWorld, data: bytes) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as told:
        statement, keys = Path(folder) / "statement.csv", Path(folder) / "keys.json"
        statement.write_bytes(data)
        keys.write_text(json.dumps(world.credits.keys()))
        return verify.main([str(statement), str(keys)]), told.getvalue()


class TestACsv:
    """T-125: names account and period in the bytes that are signed, and is verified from the file alone."""

    def test_names_account_and_period_and_balances(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        now = world.clock.now_us()
        text = world.credits.audit_csv("alice", AuditPeriod(from_us=now + 1, to_us=now + 2))
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [row["record"] for row in rows] == ["opening", "closing", "signature"]
        assert {(row["account"], row["from"], row["to"]) for row in rows} == {
            ("alice", to_rfc3339(now + 1), to_rfc3339(now + 2))
        }
        assert rows[0]["balance_after"] == rows[1]["balance_after"] != "0"
        verdict = verify_csv(text.encode(), world.credits.ledger.keys)
        assert (verdict.valid, verdict.account, verdict.first) == (True, "alice", to_rfc3339(now + 1))

    def test_is_valid_whatever_its_signature_begins_with(self, world: CreditsWorld) -> None:
        """One signature in 64 begins with a minus, which is defused like a formula."""
        honest(world, "-abc")
        signatures = set()
        for later in range(300):
            text = world.credits.audit_csv("-abc", AuditPeriod(to_us=world.clock.now_us() + 1 + later))
            verdict = verify_csv(text.encode(), world.credits.ledger.keys)
            assert (verdict.valid, verdict.account) == (True, "-abc")
            *_, last = csv.DictReader(io.StringIO(text, newline=""))
            signatures.add(last["reason"].startswith("'-"))
        assert signatures == {False, True}

    @pytest.mark.parametrize(
        ("old", "new", "check"),
        [
            ('"alice"', '"bob"', "report_hash"),
            ('"entry"', '"Entry"', "report_hash"),
            ('"signature","', '"sig","', "shape"),
            ("\r\n", "\n", "saved"),
        ],
    )
    def test_that_was_changed_is_not_valid(self, world: CreditsWorld, old: str, new: str, check: str) -> None:
        honest(world, "alice")
        text = world.credits.audit_csv("alice", AuditPeriod()).replace(old, new)
        assert verify_csv(text.encode(), world.credits.ledger.keys).check == check

    def test_may_have_a_byte_order_mark_in_front(self, world: CreditsWorld) -> None:
        """Spreadsheets read UTF-8 only with one, and their "CSV UTF-8" begins with one."""
        honest(world, "alice")
        data = b"\xef\xbb\xbf" + world.credits.audit_csv("alice", AuditPeriod()).encode()
        assert _on_the_command_line(world, data)[0] == 0
        assert _on_the_command_line(world, data.replace(b'"alice"', b'"bob"'))[0] == 1

    @pytest.mark.parametrize("saved", _SAVED.values(), ids=_SAVED)
    def test_that_another_program_saved_is_told_so_and_what_to_do(
        self, world: CreditsWorld, saved: Callable[[str], bytes]
    ) -> None:
        honest(world, "alice")
        status, told = _on_the_command_line(world, saved(world.credits.audit_csv("alice", AuditPeriod())))
        assert status == 1
        assert "not the bytes that were signed" in told
        assert "download it again" in told

    def test_that_is_cut_is_told_so(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        text = world.credits.audit_csv("alice", AuditPeriod())
        status, told = _on_the_command_line(world, text[: text.index('"signature"')].encode())
        assert (status, "does not end with its row" in told) == (1, True)

    def test_of_another_signer_or_another_time_is_not_valid(self, world: CreditsWorld) -> None:
        honest(world, "alice")
        data, (key,) = world.credits.audit_csv("alice", AuditPeriod()).encode(), world.credits.keys()["keys"]
        ended = KeyRing.from_jwks({"keys": [{**key, "not_after": "2020-01-01T00:00:00.000000Z"}]})
        assert verify_csv(data, ended).check == "key"
        assert verify_csv(data, KeyRing({})).check == "report_signature"


def _spend(world: CreditsWorld, id: str) -> None:
    world.credits.reserve("alice", reserve(id, 2_000_000))
    world.credits.settle("alice", settle(id, 1))


def _fill(world: CreditsWorld | World, uid: str, count: int) -> None:
    """An account with so many entries, written as the ledger would have written them."""
    credits, now = world.system.credits.service, world.clock.now_us()
    lot = LotLine("lot_1", count, "paid", None, "pay_1")
    draft = EntryDraft(
        account=uid,
        sequence=1,
        kind=Kind.DEPOSIT,
        amount=count,
        counterpart="rail:stripe",
        lots=(lot,),
        debt=0,
        balance_after=count,
        key="deposit:pay_1",
        input="",
        reference=Reference("payment", "pay_1"),
        at_us=now,
    )
    spent = replace(draft, kind=Kind.SETTLE, amount=-1, counterpart="platform:revenue", lots=(replace(lot, amount=-1),))
    charges = accumulate(
        range(2, count + 1),
        lambda before, n: replace(
            before, sequence=n, key=f"settle:{n}", balance_after=before.balance_after - 1, at_us=now + n
        ),
        initial=replace(spent, balance_after=count),
    )
    next(charges)
    entries = seal([draft, *charges], "0" * 64, credits._signer)
    last = entries[-1]
    account = Account(
        uid,
        now,
        now + count,
        balance=last.balance_after,
        sequence=count,
        head_hash=last.hash,
        lots=(Lot("lot_1", LotSource.PAID, last.balance_after, 1, payment_id="pay_1"),),
        version=1,
    )
    places = [Create(document.entry_path(uid, entry.sequence), entry.fields()) for entry in entries]
    for start in range(0, count, 400):
        _documents(world).commit(places[start : start + 400])
    _documents(world).commit([Create(document.account_path(uid), document.write(account))])


def _documents(world: CreditsWorld | World) -> Json:
    return world.documents
