"""Canonical bytes: RFC 8785's own examples, and a refusal of what two languages read differently (T-54)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.canonical import canonical, digest
from app.kit.errors import InvariantViolation

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_keys_go_by_utf16_code_units_as_the_rfc_shows() -> None:
    """Section 3.2.3 of RFC 8785: the smiling face sorts before the Hebrew presentation form."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert [letter for letter in canonical(value).decode() if letter.isdigit()] == list("21467153")


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values))
def test_the_order_of_insertion_does_not_matter(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical(value) == canonical(turned)
    assert digest(value) == digest(turned)


@pytest.mark.parametrize("value", [0.5, 1.0, {"a": [1, 2.0]}, 2**53, "\ud800", {1: "key"}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(InvariantViolation):
        canonical(value)
