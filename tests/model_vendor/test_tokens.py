"""The tokenizer: lossless, never more tokens than bytes, and of a real one's size."""

from hypothesis import example, given
from hypothesis import strategies as st

from emulators.model_vendor import tokens


@given(st.text())
@example("héllo wörld — naïve\n\n\tif x == 1:  pass\r\n")
@example("数据库 データ 데이터 👩‍👩‍👧 12345678")
def test_pieces_join_to_the_text_and_never_outnumber_its_bytes(text: str) -> None:
    pieces = tokens.split(text)
    assert "".join(pieces) == text
    assert tokens.count(text) == len(pieces) <= len(text.encode("utf-8", "surrogatepass"))


def test_english_has_about_1_3_tokens_per_word() -> None:
    text = (
        "A reservation sets credits aside before the model is called. When the answer is complete, the exact cost is "
        "settled and the rest goes back to the account, so that nobody can spend the same credit twice."
    )
    assert 1.15 < tokens.count(text) / len(text.split()) < 1.45


def test_a_prefix_is_found_again_in_whole_blocks() -> None:
    cache = tokens.PrefixCache()
    base = [f"w{number}" for number in range(1500)]
    assert cache.cached_tokens(base, "m") == 0
    assert cache.cached_tokens([*base, "more"], "m") == 1408
    assert cache.cached_tokens([*base[:1300], *["other"] * 200], "m") == 1280
    assert cache.cached_tokens(base, "another model") == 0
    assert cache.cached_tokens(base[:1000], "m") == 0
