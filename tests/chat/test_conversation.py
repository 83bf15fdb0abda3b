"""The window and the prompt: always within bounds, always the newest turns, always whole ones."""

from hypothesis import given
from hypothesis import strategies as st

from app.chat import conversation as conversations
from app.chat.conversation import MOST_BYTES, MOST_TURNS, Conversation, Exchange, fit, titled
from app.chat.prompting import prompt, texts
from app.kit.clock import to_rfc3339
from app.models.catalogue import load
from app.models.faults import PromptTooLong
from app.models.tokens import upper_bound

MODELS = [model for model in load() if model.can("text")]
exchanges = st.lists(
    st.builds(
        Exchange,
        st.just("m"),
        st.text(max_size=50).map(lambda text: text * 40),
        st.text(max_size=50).map(lambda text: text * 40),
    ),
    max_size=40,
)


def made(window: tuple[Exchange, ...] = (), system_prompt: str = "") -> Conversation:
    return Conversation("c", "", None, system_prompt, "buffer", to_rfc3339(0), to_rfc3339(0), window=window)


@given(exchanges, st.integers(0, 100_000))
def test_what_fits_is_the_longest_tail_within_both_bounds(found: list[Exchange], most: int) -> None:
    kept = fit(found, most_bytes=most)
    assert len(kept) <= MOST_TURNS
    assert sum(one.size for one in kept) <= most
    assert [*kept] == found[len(found) - len(kept) :]
    if len(kept) < min(len(found), MOST_TURNS):
        assert sum(one.size for one in found[len(found) - len(kept) - 1 :]) > most


@given(exchanges)
def test_a_conversation_survives_its_document(found: list[Exchange]) -> None:
    conversation = made()
    for exchange in found:
        conversation = conversation.after(exchange, to_rfc3339(1))
        assert sum(one.size for one in conversation.window) <= MOST_BYTES
    assert conversations.read("c", conversations.write(conversation)) == conversation


def test_a_buried_conversation_reads_as_none_and_has_no_place_in_a_list() -> None:
    fields = conversations.tombstone(to_rfc3339(0))
    assert conversations.read("c", fields) is None
    assert "updated_at" not in fields


@given(st.text())
def test_a_title_is_one_short_line(question: str) -> None:
    title = titled(question)
    assert len(title) <= 60
    assert title == title.strip()
    assert "\n" not in title


@given(exchanges, st.text(max_size=2000), st.text(max_size=200), st.sampled_from(MODELS))
def test_a_prompt_surely_fits_the_model_with_room_for_an_answer(
    found: list[Exchange], question: str, system_prompt: str, model: object
) -> None:
    """T-10: by the same upper bound that the reservation is made with."""
    chosen = next(one for one in MODELS if one is model)
    shown = prompt(made(tuple(found), system_prompt), question, (), chosen)
    assert upper_bound(texts(shown)) + 16 <= chosen.context_tokens
    assert shown[-1].text == question
    assert [message.role for message in shown[:1]] == (["system"] if system_prompt else [shown[0].role])
    recalled = [message.text for message in shown[bool(system_prompt) : -1]]
    asked = [text for one in found for text in (one.question, one.answer)]
    assert recalled == asked[len(asked) - len(recalled) :]


def test_a_question_that_may_not_fit_is_refused() -> None:
    small = next(model for model in MODELS if model.id == "small")
    try:
        prompt(made(), "x" * small.context_tokens, (), small)
    except PromptTooLong as refused:
        assert refused.fields["model"] == "small"
    else:
        raise AssertionError("it was taken")


def test_a_turn_that_is_recorded_again_stands_in_the_window_once() -> None:
    """A record whose acknowledgement is lost is made again; later prompts must not pay for it twice."""
    once = Conversation("cnv_1", "", None, "", "buffer", "2026", "2026").after(Exchange("msg_1", "Hi", "Hello"), "2026")
    assert once.after(Exchange("msg_1", "Hi", "Hello"), "2026").window == once.window
