"""What is hashed of an entry, and that it is RFC 8785."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.credits.core.entry import Entry, hashed_bytes, plain_usage, read
from app.credits.proofs.verification import Link, verify_chain
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from support.credits_world import CreditsWorld, reserve, settle

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.text(st.characters(max_codepoint=127), max_size=12)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


class TestCanonicalBytes:
    @given(st.dictionaries(NAMES.filter(lambda name: name not in ("hash", "signature")), PLAIN, max_size=8))
    def test_are_rfc_8785s(self, body: dict[str, object]) -> None:
        """T-54: the fast way and the library agree on every value that an entry may hold."""
        assert hashed_bytes(body) == canonical(body)

    @pytest.mark.parametrize("text", ["\u2028", "\x00\x1f\x7f", '"\\/', "\ufeff", "zażółć", "🐵", "\ue000", "\u0080"])
    def test_are_rfc_8785s_for_what_escapers_get_wrong(self, text: str) -> None:
        assert hashed_bytes({"a": text}) == canonical({"a": text})

    def test_of_half_a_surrogate_pair_do_not_exist(self) -> None:
        with pytest.raises(InvariantViolation):
            hashed_bytes({"a": "\ud800"})

    def test_leave_hash_and_signature_out(self) -> None:
        assert hashed_bytes({"hash": "x", "signature": "y", "a": 1}) == b'{"a":1}'


class TestUsage:
    @given(st.dictionaries(st.text(), ANYTHING, max_size=5))
    def test_of_any_kind_becomes_what_can_be_hashed(self, usage: dict[str, object]) -> None:
        """T-41, T-54"""
        plain = plain_usage(usage)
        assert plain is not None
        assert hashed_bytes({"usage": plain}) == canonical({"usage": plain})

    def test_that_is_missing_stays_missing(self) -> None:
        """T-5"""
        assert plain_usage(None) is None
        assert plain_usage({"total": None, "input": 0}) == {"total": None, "input": 0}


def test_an_entry_is_read_back_as_it_was_sealed(world: CreditsWorld) -> None:
    world.credits.reserve("alice", reserve("r", 5))
    entry = world.credits.settle("alice", settle("r", 5)).entry
    assert isinstance(entry, Entry)
    assert read(entry.fields()) == entry


def test_an_entry_names_nobody(world: CreditsWorld) -> None:
    """T-57: the account can be erased around its entries, and they still verify."""
    world.credits.reserve("alice", reserve("r", 5))
    world.credits.settle("alice", settle("r", 5))
    stored = list(world.credits.ledger.entries("alice"))
    assert set(stored[0]) == {
        *("format", "id", "account", "sequence", "kind", "amount", "postings", "lots", "debt", "balance_after"),
        *("key", "input", "reference", "request_id", "reason", "description", "price_book", "usage", "by"),
        *("approved_by", "created_at", "prev_hash", "key_id", "hash", "signature"),
    }
    assert verify_chain([dict(entry) for entry in stored], world.credits.ledger.keys, Link("alice")).valid
