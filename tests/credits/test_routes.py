"""The credit routes over HTTP, in memory."""

import base64
import csv
import hashlib
import io
import json
from dataclasses import replace

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from app.credits.balance_mirror import mirror_path
from app.credits.core.account import AccountStatus, LotSource
from app.credits.core.commands import Grant
from app.credits.core.entry import Reference
from app.credits.proofs.signing import KeyRing
from app.kit.canonical import canonical
from app.kit.money import credits as whole
from app.kit.stores.documents import Merge, Replace
from app.ports import Identity
from support.credits_world import deposit, reserve, settle
from support.world import Caller, World


class Bank:
    """Credits in a world, and clients in front of them."""

    def __init__(self) -> None:
        self.world = World()
        self.credits = self.world.system.credits.service

    def client(self, uid: str = "alice", **claims: str) -> Caller:
        principal = self.world.user(uid, **claims)  # type: ignore[arg-type]  # roles are texts here
        return self.world.client(principal)

    def spend(self, uid: str, id: str, amount: int) -> str:
        self.credits.reserve(uid, reserve(id, amount))
        entry = self.credits.settle(uid, settle(id, amount)).entry
        assert entry is not None
        return entry.id


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def alice(bank: Bank) -> Caller:
    return bank.client()


class TestBalance:
    def test_of_a_new_user_is_the_welcome_bonus(self, alice: Caller) -> None:
        assert alice.get("/v1/credits/balance").json == {
            "balance": "1000",
            "reserved": "0",
            "available": "1000",
            "debt": "0",
            "sequence": 1,
            "low": False,
            "updated_at": "2027-01-15T08:00:00.000000Z",
        }

    def test_tells_posted_held_and_available_apart(self, bank: Bank, alice: Caller) -> None:
        """T-28"""
        bank.credits.reserve("alice", reserve("r", 2_500_000))
        told = alice.get("/v1/credits/balance").json
        assert told is not None
        assert (told["balance"], told["reserved"], told["available"]) == ("1000", "2.5", "997.5")

    def test_needs_a_token(self, bank: Bank) -> None:
        nobody = bank.world.client(None)
        assert nobody.get("/v1/credits/balance").status_code == 401
        assert nobody.get("/v1/credits/keys").status_code == 200


class TestReservations:
    def test_are_made_listed_and_released(self, alice: Caller) -> None:
        made = alice.post("/v1/credits/reserve", json={"amount": "12.5", "purpose": "test"})
        assert made.status_code == 201
        told = made.json
        assert told is not None
        assert (told["amount"], told["captured"], told["state"]) == ("12.5", "0", "open")
        body = {"reservation_id": told["id"]}
        first = alice.post("/v1/credits/release-reservation", json=body)
        again = alice.post("/v1/credits/release-reservation", json=body)
        assert first.status_code == again.status_code == 200
        assert first.json == again.json
        listed = alice.get("/v1/credits/reservations").json
        assert listed is not None
        assert [item["state"] for item in listed["items"]] == ["released"]

    def test_too_large_says_what_is_missing(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(900))
        refused = alice.post("/v1/credits/reserve", json={"amount": "150", "purpose": "test"})
        assert refused.status_code == 402
        told = refused.json
        assert told is not None
        assert (told["code"], told["required"]) == ("insufficient_credits", "150")
        assert (told["available"], told["shortfall"]) == ("100", "50")
        assert told["payment_options"]

    def test_with_a_key_are_made_once(self, bank: Bank, alice: Caller) -> None:
        headers = {"Idempotency-Key": "k"}
        answers = [
            alice.post("/v1/credits/reserve", json={"amount": "5", "purpose": "test"}, headers=headers)
            for _ in range(2)
        ]
        assert answers[0].json == answers[1].json
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert bank.credits.account("alice").reserved == whole(5)

    def test_captured_are_closed(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(5))
        refused = alice.post("/v1/credits/release-reservation", json={"reservation_id": "r"})
        assert (refused.status_code, (refused.json or {})["code"]) == (409, "reservation_closed")

    def test_of_another_are_not_found(self, bank: Bank, alice: Caller) -> None:
        bank.credits.reserve("bob", reserve("r", whole(5)))
        assert alice.post("/v1/credits/release-reservation", json={"reservation_id": "r"}).status_code == 404

    @pytest.mark.parametrize("amount", ["0", "-1", "1e3", 5, "1.0000001", ""])
    def test_take_only_plain_amounts(self, alice: Caller, amount: object) -> None:
        """T-41"""
        refused = alice.post("/v1/credits/reserve", json={"amount": amount, "purpose": "test"})
        assert refused.status_code == 422


class TestHistory:
    def test_comes_newest_first_in_pages(self, bank: Bank, alice: Caller) -> None:
        """T-53"""
        for index in range(5):
            bank.credits.post("alice", deposit(f"p{index}", whole(1)))
        seen, cursor = [], ""
        while True:
            page = alice.get(f"/v1/credits/history?limit=2{cursor}").json
            assert page is not None
            seen += [item["sequence"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == [6, 5, 4, 3, 2, 1]

    def test_is_filtered(self, bank: Bank, alice: Caller) -> None:
        bank.credits.account("alice")
        bank.world.clock.advance(minutes=10)
        bank.credits.post("alice", deposit("p1", whole(1)))
        bank.world.clock.advance(minutes=10)
        bank.credits.post("alice", deposit("p2", whole(2)))

        def found(query: str) -> list[int]:
            page = alice.get(f"/v1/credits/history?{query}").json
            assert page is not None
            return [item["sequence"] for item in page["items"]]

        assert found("kind=deposit") == [3, 2]
        assert found("reference=p1") == [2]
        assert found("from=2027-01-15T08:05:00Z&to=2027-01-15T08:15:00Z") == [2]
        assert found("from=2027-01-15T08:20:00Z") == [3]
        assert found("to=2027-01-15T08:00:00Z&kind=grant") == [1]
        assert found("from=2028-01-01T00:00:00Z") == []

    def test_has_debits_that_name_what_they_were_for(self, bank: Bank, alice: Caller) -> None:
        """T-50"""
        bank.spend("alice", "r", whole(1))
        page = alice.get("/v1/credits/history?kind=settle").json
        assert page is not None
        assert page["items"][0]["reference"] == {"type": "message", "id": "msg_1"}

    def test_is_also_csv(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", 1_250_000)
        answer = alice.get("/v1/credits/history", headers={"Accept": "text/csv"})
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["amount"] for row in rows] == ["-1.25", "1000"]

    def test_is_no_formula_in_a_spreadsheet(self, bank: Bank, alice: Caller) -> None:
        reference = Reference("campaign", "\N{ZERO WIDTH SPACE}=HYPERLINK(1)")
        bank.credits.post("alice", Grant("gift", 7, LotSource.BONUS, "\r=1+1", reference))
        text = alice.get("/v1/credits/history", headers={"Accept": "text/csv"}).text
        row = next(csv.DictReader(io.StringIO(text, newline="")))
        assert (row["reason"], row["reference_id"]) == ("'\r=1+1", "'\N{ZERO WIDTH SPACE}=HYPERLINK(1)")

    @pytest.mark.parametrize("query", ["cursor=x", "from=yesterday", "limit=0", "kind=theft", "surprise=1"])
    def test_refuses_what_makes_no_sense(self, alice: Caller, query: str) -> None:
        assert alice.get(f"/v1/credits/history?{query}").status_code == 422


class TestProofs:
    def test_of_one_entry(self, bank: Bank, alice: Caller) -> None:
        id = bank.spend("alice", "r", whole(1))
        bank.spend("alice", "s", whole(1))
        told = alice.get(f"/v1/credits/verify/{id}").json
        assert told is not None
        assert told["valid"]
        assert set(told["checks"]) >= {"hash", "signature", "previous", "next", "postings"}
        body = {name: value for name, value in told["entry"].items() if name not in ("hash", "signature")}
        assert hashlib.sha256(canonical(body)).hexdigest() == told["entry"]["hash"]

    def test_of_anothers_entry_are_not_found(self, bank: Bank, alice: Caller) -> None:
        assert alice.get(f"/v1/credits/verify/{bank.spend('bob', 'r', 1)}").status_code == 404

    def test_of_anothers_entry_that_was_pasted_into_the_account_are_not_valid(self, bank: Bank, alice: Caller) -> None:
        """T-125"""
        stranger = bank.spend("bob", "r", whole(1))
        bank.spend("alice", "r", whole(1))
        pasted = bank.world.documents.get("accounts/bob/entries/000000000002")
        before = bank.world.documents.get("accounts/bob/entries/000000000001")
        assert pasted is not None and before is not None
        put: list[Replace | Merge] = [
            Replace("accounts/alice/entries/000000000002", pasted.fields),
            Merge("accounts/alice", {"head_hash": pasted.fields["hash"]}),
            Merge("accounts/alice/entries/000000000001", {"hash": before.fields["hash"]}),
        ]
        bank.world.documents.commit(put)
        told = alice.get(f"/v1/credits/verify/{stranger}").json
        assert told is not None
        assert not told["valid"]
        assert {name for name, holds in told["checks"].items() if not holds} == {"account"}

    def test_of_an_entry_that_is_none_any_more_are_not_valid(self, bank: Bank, alice: Caller) -> None:
        id = bank.spend("alice", "r", whole(1))
        path = "accounts/alice/entries/000000000002"
        bank.world.documents.commit([Replace(path, {"id": id, "sequence": "two", "key_id": 7})])
        told = alice.get(f"/v1/credits/verify/{id}").json
        assert told is not None
        assert (told["valid"], told["public_key"]) == (False, None)

    def test_of_the_whole_chain(self, bank: Bank, alice: Caller) -> None:
        for index in range(5):
            bank.spend("alice", f"r{index}", 7)
        told = alice.get("/v1/credits/validate-chain").json
        assert told is not None
        assert (told["valid"], told["entries"], told["next_cursor"]) == (True, 6, None)

    @pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 renames it; every library knows the old name
    def test_of_a_receipt_by_any_jose_library(self, bank: Bank, alice: Caller) -> None:
        id = bank.spend("alice", "r", whole(1))
        receipt = alice.get(f"/v1/credits/receipts/{id}").text
        keys = alice.get("/v1/credits/keys").json
        assert keys is not None
        verified = jws.deserialize_compact(receipt, OKPKey.import_key(keys["keys"][0]), algorithms=["EdDSA"])
        assert json.loads(verified.payload)["id"] == id

    def test_of_an_audit_as_a_whole(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(1))
        told = alice.get("/v1/credits/audit").json
        assert told is not None
        report = told["report"]
        assert (report["opening_balance"], report["closing_balance"]) == (0, whole(999))
        assert report["totals"] == {"grant": whole(1000), "settle": -whole(1)}
        assert report["verification"]["valid"]
        hashed = hashlib.sha256(canonical(report)).digest()
        keys = KeyRing.from_jwks(alice.get("/v1/credits/keys").json)
        assert keys.verifies(told["key_id"], told["signature"], hashed)

    def test_of_an_audit_as_csv(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(1))
        answer = alice.get("/v1/credits/audit", headers={"Accept": "text/csv"})
        keys = KeyRing.from_jwks(alice.get("/v1/credits/keys").json)
        hashed = hashlib.sha256(answer.data).digest()
        assert keys.verifies(answer.headers["X-Ledger-Key-Id"], answer.headers["X-Ledger-Signature"], hashed)

    def test_of_an_audit_of_a_part_starts_at_its_opening_balance(self, bank: Bank, alice: Caller) -> None:
        bank.credits.account("alice")
        bank.world.clock.advance(minutes=10)
        bank.spend("alice", "r", whole(1))
        told = alice.get("/v1/credits/audit?from=2027-01-15T08:05:00Z").json
        assert told is not None
        assert told["report"]["opening_balance"] == whole(1000)
        assert told["report"]["verification"] == {
            "valid": True,
            "entries": 1,
            "first_bad_sequence": None,
            "check": None,
        }

    def test_of_inclusion_in_the_last_checkpoint(self, bank: Bank, alice: Caller) -> None:
        """T-55"""
        bank.spend("alice", "r", whole(1))
        assert alice.get("/v1/credits/checkpoint").status_code == 404
        bank.credits.checkpoints.seal()
        told = alice.get("/v1/credits/checkpoint").json
        assert told is not None
        assert (told["valid"], told["seal"]["sequence"], told["checkpoint"]["size"]) == (True, 2, 1)

    def test_of_anothers_audit_is_for_administrators(self, bank: Bank, alice: Caller) -> None:
        bank.credits.account("bob")
        assert alice.get("/v1/credits/audit?uid=bob").status_code == 403
        admin = bank.client("root", role="admin")
        assert admin.get("/v1/credits/audit?uid=bob").status_code == 200
        assert admin.get("/v1/credits/audit?uid=nobody").status_code == 404


class TestTheMirror:
    def test_is_repaired_from_the_source(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(1))
        first = alice.post("/v1/credits/sync-balance").json
        assert first is not None
        assert (first["mirror_was"], first["repaired"]) == (None, True)
        again = alice.post("/v1/credits/sync-balance").json
        assert again is not None
        assert not again["repaired"]
        bank.world.realtime.update({f"{mirror_path('alice')}/balance": "99999"})
        forged = alice.post("/v1/credits/sync-balance").json
        assert forged is not None
        assert (forged["mirror_was"]["balance"], forged["repaired"]) == ("99999", True)
        assert bank.world.realtime.get(mirror_path("alice")) == bank.credits.balance("alice")


class TestBeingShort:
    def test_is_told_before_it_happens(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(960))
        told = alice.get("/v1/credits/low-balance-check").json
        assert told is not None
        assert (told["low"], told["threshold"], told["available"]) == (True, "50", "40")
        assert told["recommended_packages"][0]["credits"] == "500"

    def test_is_told_at_the_users_own_threshold(self, bank: Bank, alice: Caller) -> None:
        assert alice.put("/v1/credits/low-balance-threshold", json={"threshold": "2000"}).status_code == 200
        told = alice.get("/v1/credits/low-balance-check").json
        assert told is not None
        assert (told["low"], told["threshold"]) == (True, "2000")
        assert alice.put("/v1/credits/low-balance-threshold", json={"threshold": "-1"}).status_code == 422

    def test_of_an_amount(self, bank: Bank, alice: Caller) -> None:
        told = alice.post("/v1/credits/check-insufficient", json={"amount": "1200"}).json
        assert told is not None
        assert (told["sufficient"], told["shortfall"], told["packages"][0]["id"]) == (False, "200", "credits-500")


def test_receipts_are_three_parts_of_base64url(bank: Bank, alice: Caller) -> None:
    header, payload, signature = alice.get(f"/v1/credits/receipts/{bank.spend('alice', 'r', 1)}").text.split(".")
    for part in (header, payload, signature):
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class TestReplay:
    def test_tells_the_balance_as_it_was(self, bank: Bank, alice: Caller) -> None:
        bank.credits.account("alice")
        bank.world.clock.advance(minutes=10)
        bank.spend("alice", "r", whole(1))
        told = alice.get("/v1/credits/balance?at=2027-01-15T08:05:00Z").json
        assert told is not None
        assert (told["balance"], told["sequence"], told["at"]) == ("1000", 1, "2027-01-15T08:05:00.000000Z")
        assert alice.get("/v1/credits/balance?at=2020-01-15T08:05:00Z").json == {
            "at": "2020-01-15T08:05:00.000000Z",
            "balance": "0",
            "sequence": 0,
            "transaction_id": None,
            "hash": None,
        }

    def test_explains_the_balance_as_a_sum(self, bank: Bank, alice: Caller) -> None:
        bank.spend("alice", "r", whole(1))
        told = alice.get("/v1/credits/explain").json
        assert told is not None
        assert (told["balance"], told["brought_forward"]) == ("999", "0")
        assert [term["amount"] for term in told["terms"]] == ["-1", "1000"]
        assert alice.get(told["terms"][0]["receipt"]).status_code == 200


class TestStatus:
    def test_is_changed_by_an_administrator_who_says_why(self, bank: Bank) -> None:
        bank.credits.account("alice")
        alice, root = bank.client(), bank.client("root", role="admin")
        body = {"uid": "alice", "status": "suspended", "reason": "card testing"}
        assert alice.post("/v1/credits/status", json=body).status_code == 403
        headers = {"Idempotency-Key": "k"}
        made = root.post("/v1/credits/status", json=body, headers=headers)
        assert made.status_code == 200
        told = {name: value for name, value in (made.json or {}).items() if name != "at"}
        named = {"was": "active", "status": "suspended", "reason": "card testing", "by": "root"}
        assert told == {"account": "alice", **named}
        bank.world.ports.clock.advance(minutes=26 * 60)
        assert root.post("/v1/credits/status", json=body, headers=headers).json == made.json
        assert bank.credits.account("alice").status is AccountStatus.SUSPENDED
        for change in ({"status": "active"}, {"reason": "another one"}):
            bank.world.ports.clock.advance(minutes=26 * 60)
            other = root.post("/v1/credits/status", json={**body, **change}, headers=headers)
            assert other.status_code == 422

    @pytest.mark.parametrize("was", AccountStatus)
    def test_goes_anywhere_but_to_itself_or_out_of_closed(self, bank: Bank, was: AccountStatus) -> None:
        root = bank.client("root", role="admin")
        for now in AccountStatus:
            uid = f"to-{now.value}"
            bank.credits.account(uid)
            bank.credits.set_status(uid, was, "test")
            asked = root.post("/v1/credits/status", json={"uid": uid, "status": now.value, "reason": "test"})
            allowed = now is not was and was is not AccountStatus.CLOSED
            assert asked.status_code == (200 if allowed else 409)
            assert bank.credits.account(uid).status is (now if allowed else was)

    def test_of_nobody_is_not_found(self, bank: Bank) -> None:
        body = {"uid": "nobody", "status": "frozen", "reason": "test"}
        assert bank.client("root", role="admin").post("/v1/credits/status", json=body).status_code == 404


class TestCorrections:
    def test_are_for_two_administrators(self, bank: Bank) -> None:
        bank.credits.account("alice")

        def client(uid: str, role: str) -> Caller:
            principal = bank.world.user(uid, role=role)  # type: ignore[arg-type]  # roles are texts here
            return bank.world.client(principal)

        root, second, alice = client("root", "admin"), client("second", "admin"), client("alice", "user")
        body = {"uid": "alice", "reason": "goodwill", "amount": "2.5"}
        assert alice.post("/v1/credits/corrections", json=body).status_code == 403
        made = root.post("/v1/credits/corrections", json=body)
        assert made.status_code == 201
        path = f"/v1/credits/corrections/{(made.json or {})['id']}"
        assert root.post(f"{path}/approve").status_code == 403
        approved = second.post(f"{path}/approve").json
        assert approved is not None
        assert (approved["state"], approved["decided_by"]) == ("approved", "second")
        assert root.get(path).json == approved
        assert bank.credits.account("alice").balance == whole(1000) + 2_500_000
        assert root.post("/v1/credits/repair", json={"uid": "alice"}).json == {
            "repaired": False,
            "balance_was": "1002.5",
            "balance": "1002.5",
            "sequence": 2,
            "status": "active",
            "lost": [],
        }

    @pytest.mark.parametrize("status", AccountStatus)
    def test_of_an_account_whose_status_is_lost_name_one(self, bank: Bank, status: AccountStatus) -> None:
        bank.credits.account("alice")
        bank.world.ports.documents.commit([Merge("accounts/alice", {"status": "gone"})])
        root = bank.world.client(bank.world.user("root", role="admin"))
        assert root.post("/v1/credits/repair", json={"uid": "alice"}).status_code == 409
        assert root.post("/v1/credits/repair", json={"uid": "alice", "status": "none"}).status_code == 422
        repaired = root.post("/v1/credits/repair", json={"uid": "alice", "status": status.value})
        assert (repaired.status_code, (repaired.json or {})["status"]) == (200, status.value)

    def test_sent_twice_under_one_key_are_one(self, bank: Bank) -> None:
        bank.credits.account("alice")
        root = bank.world.client(bank.world.user("root", role="admin"))
        second = bank.world.client(bank.world.user("second", role="admin"))
        headers = {"Idempotency-Key": "k"}
        body = {"uid": "alice", "reason": "goodwill", "amount": "2.5"}
        made, again = (root.post("/v1/credits/corrections", json=body, headers=headers) for _ in range(2))
        assert (again.json, again.headers["Idempotent-Replayed"]) == (made.json, "true")
        other = root.post("/v1/credits/corrections", json={**body, "amount": "3"}, headers=headers)
        assert (other.status_code, (other.json or {})["code"]) == (422, "idempotency_key_reused")
        path = f"/v1/credits/corrections/{(made.json or {})['id']}"
        for action in ("approve", "reject"):
            first, repeat = (second.post(f"{path}/{action}", headers={"Idempotency-Key": action}) for _ in range(2))
            assert (repeat.status_code, repeat.json) == (first.status_code, first.json)
            assert repeat.headers["Idempotent-Replayed"] == "true"
        repairs = [
            root.post("/v1/credits/repair", json={"uid": "alice"}, headers={"Idempotency-Key": "r"}) for _ in "ab"
        ]
        assert repairs[1].headers["Idempotent-Replayed"] == "true"

    def test_of_one_key_are_one_when_the_answer_was_lost(self, bank: Bank) -> None:
        """The proposal's own id comes from the key, so it is kept once after the record of the key is gone."""
        bank.credits.account("alice")
        root = bank.world.client(bank.world.user("root", role="admin"))
        body = {"uid": "alice", "reason": "goodwill", "amount": "2.5"}
        ids = []
        for _ in range(2):
            made = root.post("/v1/credits/corrections", json=body, headers={"Idempotency-Key": "k"})
            ids.append((made.json or {})["id"])
            bank.world.ports.clock.advance(minutes=26 * 60)
        assert ids[0] == ids[1]


class TestTheWelcomeBonus:
    def test_is_there_already_where_the_first_touch_grants_it(self, alice: Caller) -> None:
        refused = alice.post("/v1/credits/welcome-bonus", json={"device_fingerprint": "abcdefgh"})
        assert (refused.status_code, (refused.json or {})["code"]) == (409, "bonus_already_granted")
        assert (alice.get("/v1/credits/balance").json or {})["balance"] == "1000"

    def test_is_claimed_when_the_evidence_came_later(self, bank: Bank) -> None:
        people = {"bob": Identity("bob", "password", None, "bob@web.de")}
        bank.world = World(variables={"WELCOME_BONUS_CHECKS": "on"})
        bank.world.ports.identities = people.__getitem__
        bob = bank.client("bob")
        body = {"device_fingerprint": "abcdefgh"}
        refused = bob.post("/v1/credits/welcome-bonus", json=body)
        assert refused.status_code == 403
        assert (refused.json or {})["code"] == "bonus_not_eligible"
        assert (refused.json or {})["reason"] == "verify_email"
        people["bob"] = replace(people["bob"], email_verified=True)
        granted = bob.post("/v1/credits/welcome-bonus", json=body)
        assert granted.status_code == 201
        assert ((granted.json or {})["kind"], (granted.json or {})["amount"]) == ("grant", "1000")
        assert bob.post("/v1/credits/welcome-bonus", json=body).status_code == 409
