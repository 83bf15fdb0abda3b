"""What was charged, read back from the real store and verified without the app: hashes, links, signatures, receipts."""

import base64
import hashlib
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.jwk import KeySet, OKPKey

from e2e import node
from e2e.documents import Documents
from e2e.person import Json, Person
from support.suite import RunningSuite

GENESIS = "0" * 64


@pytest.fixture
def spent(hurried: Person) -> Person:
    """Someone with a welcome entry and three paid answers, one of which holds letters beyond ASCII."""
    conversation = hurried.begin()
    for content in ("What is a ledger?", "Schön, und was ist 2 + 2? 🧾", "Thank you."):
        assert hurried.ask(conversation, content).status_code == 200
    return hurried


def stored(documents: Documents, person: Person) -> list[Json]:
    """The entries as Firestore holds them, in the order of their names."""
    return documents.children(f"accounts/{person.uid}/entries")


def hashed_bytes(entry: Json) -> bytes:
    """RFC 8785 for what an entry may hold (text, integers, null, ASCII keys), in the standard library's words."""
    body = {name: value for name, value in entry.items() if name not in ("hash", "signature")}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpadded(text: object) -> bytes:
    """base64url as JOSE writes it."""
    return base64.urlsafe_b64decode(str(text) + "=" * (-len(str(text)) % 4))


class TestReadBack:
    def test_every_entry_is_byte_for_byte_what_was_hashed(self, documents: Documents, spent: Person) -> None:
        """T-52: write, read back from Firestore, hash again; times and amounts came back exactly."""
        entries = stored(documents, spent)
        assert len(entries) == 4
        for entry in entries:
            assert hashlib.sha256(hashed_bytes(entry)).hexdigest() == entry["hash"]

    def test_every_entry_names_its_predecessor(self, documents: Documents, spent: Person) -> None:
        """T-53: the sequence orders entries, not the time."""
        entries = stored(documents, spent)
        assert [entry["sequence"] for entry in entries] == [1, 2, 3, 4]
        assert [entry["prev_hash"] for entry in entries] == [GENESIS, *(entry["hash"] for entry in entries[:-1])]
        assert documents.read(f"accounts/{spent.uid}")["head_hash"] == entries[-1]["hash"]

    def test_every_entry_is_balanced_and_adds_up(self, documents: Documents, spent: Person) -> None:
        balance = 0
        for entry in stored(documents, spent):
            postings = entry["postings"]
            assert isinstance(postings, list)
            assert sum(posting["amount"] for posting in postings) == 0
            balance += int(str(entry["amount"]))
            assert entry["balance_after"] == balance
        assert documents.read(f"accounts/{spent.uid}")["balance"] == balance

    def test_a_charge_keeps_price_book_usage_and_request(self, documents: Documents, person: Person) -> None:
        """T-50, T-4: a charge can be recomputed from what stands in its entry, and found by its request."""
        answer = person.call(
            "POST",
            f"/v1/chat/conversations/{person.begin()}/messages",
            {"content": "What is a ledger?"},
            {"X-Request-Id": "trace-of-the-charge"},
        ).json()
        entry = stored(documents, person)[-1]
        assert (entry["id"], entry["kind"]) == (answer["transaction_id"], "settle")
        assert entry["reference"] == {"type": "message", "id": answer["message_id"]}
        assert entry["request_id"] == "trace-of-the-charge"
        assert entry["price_book"] == person.get("/v1/models")["price_book"]
        usage = entry["usage"]
        assert isinstance(usage, dict)
        assert usage["vendor"]["completion_tokens"] == answer["usage"]["output_tokens"]
        assert usage["tokens"] == {
            "input": answer["usage"]["input_tokens"],
            "output": answer["usage"]["output_tokens"],
        }

    def test_nothing_hashed_names_a_person(self, documents: Documents, spent: Person) -> None:
        """T-57: neither the e-mail nor anything that was said."""
        for entry in stored(documents, spent):
            text = hashed_bytes(entry).decode()
            assert spent.user.email not in text
            assert "Thank you" not in text


class TestVerification:
    def test_the_routes_find_all_of_it_valid(self, documents: Documents, spent: Person) -> None:
        for entry in stored(documents, spent):
            proof = spent.get(f"/v1/credits/verify/{entry['id']}")
            assert proof["valid"], proof["checks"]
            checks = proof["checks"]
            assert isinstance(checks, dict)
            assert all(checks.values())
            assert proof["entry"] == entry
        spent.nothing_is_held()

    def test_the_published_keys_verify_every_signature(self, documents: Documents, spent: Person) -> None:
        """Ed25519 (RFC 8032) over the hash, under the key that the JWK set names."""
        published = spent.get("/v1/credits/keys")["keys"]
        assert isinstance(published, list)
        keys = {key["kid"]: Ed25519PublicKey.from_public_bytes(unpadded(key["x"])) for key in published}
        for entry in stored(documents, spent):
            key = keys[entry["key_id"]]
            key.verify(unpadded(entry["signature"]), bytes.fromhex(str(entry["hash"])))
            with pytest.raises(InvalidSignature):
                key.verify(unpadded(entry["signature"]), hashlib.sha256(b"another").digest())

    @pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # by RFC 9864, for a name that few verifiers know yet
    def test_a_jose_library_verifies_the_receipts(self, documents: Documents, spent: Person) -> None:
        """RFC 7515 and RFC 8037 in somebody else's implementation, given nothing but the JWK set."""
        published = spent.get("/v1/credits/keys")["keys"]
        assert isinstance(published, list)
        keys = KeySet([OKPKey.import_key(key) for key in published])
        assert {key.kid for key in keys.keys} == {OKPKey.import_key(k).thumbprint() for k in published}
        for entry in stored(documents, spent):
            answer = spent.call("GET", f"/v1/credits/receipts/{entry['id']}")
            assert answer.headers["Content-Type"].startswith("application/jose")
            receipt = jws.deserialize_compact(answer.text, keys, algorithms=["EdDSA", "Ed25519"])
            assert json.loads(receipt.payload) == entry

    def test_another_language_comes_to_the_same_hashes(
        self, suite: RunningSuite, documents: Documents, spent: Person
    ) -> None:
        """T-54: JavaScript's own canonical form, SHA-256 and Ed25519 (WebCrypto) over what Firestore holds."""
        entries = stored(documents, spent)
        verified = node.run(suite, "verify.mjs", entries=entries, keys=spent.get("/v1/credits/keys")["keys"])
        assert verified["hashes"] == [entry["hash"] for entry in entries]
        assert verified["signatures"] == [True] * len(entries)


class TestTampering:
    """Somebody with write access to Firestore goes around the app; each change is found, and where."""

    def found(self, person: Person) -> tuple[object, object]:
        report = person.get("/v1/credits/validate-chain")
        return report["valid"], report["first_bad_sequence"]

    def test_a_changed_amount_is_found_and_its_repair_too(self, documents: Documents, spent: Person) -> None:
        """T-55"""
        victim = stored(documents, spent)[2]
        path = f"accounts/{spent.uid}/entries/{3:012d}"
        documents.change(path, amount=-1)
        assert self.found(spent) == (False, 3)
        proof = spent.get(f"/v1/credits/verify/{victim['id']}")
        checks = proof["checks"]
        assert isinstance(checks, dict)
        assert not proof["valid"] and not checks["hash"]
        documents.change(path, amount=victim["amount"])
        assert self.found(spent) == (True, None)

    def test_an_entry_that_is_hashed_again_but_not_signed_is_found(self, documents: Documents, spent: Person) -> None:
        """T-55: whoever can write but has no key cannot forge."""
        victim = {**stored(documents, spent)[3], "amount": -1}
        documents.change(
            f"accounts/{spent.uid}/entries/{4:012d}",
            amount=-1,
            hash=hashlib.sha256(hashed_bytes(victim)).hexdigest(),
        )
        assert self.found(spent) == (False, 4)
        proof = spent.get(f"/v1/credits/verify/{victim['id']}")
        checks = proof["checks"]
        assert isinstance(checks, dict)
        assert checks["hash"] and not checks["signature"]

    def test_a_cut_off_tail_is_found(self, documents: Documents, spent: Person) -> None:
        """T-55: the account's head names an entry that is gone."""
        documents.delete(f"accounts/{spent.uid}/entries/{4:012d}")
        valid, _ = self.found(spent)
        assert valid is False

    def test_a_balance_that_no_entry_made_is_found(self, documents: Documents, spent: Person) -> None:
        """T-55: credits minted in the account document alone."""
        account = documents.read(f"accounts/{spent.uid}")
        documents.change(f"accounts/{spent.uid}", balance=int(str(account["balance"])) + 1_000_000)
        valid, _ = self.found(spent)
        assert valid is False
