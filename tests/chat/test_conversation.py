"""The window and the prompt: always within bounds, never without the newest turns, and no turn is blank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat import conversation as conversations
from app.chat.branching.tree import Tree
from app.chat.conversation import MOST_BYTES, MOST_TURNS, SHORTENED, Conversation, Exchange, fit, titled
from app.chat.prompting import prompt, texts
from app.kit.clock import to_rfc3339
from app.kit.stores.documents import Merge, Value, list_field
from app.models.catalogue import load
from app.models.faults import PromptTooLong
from app.models.tokens import likely
from support.chat_world import ChatWorld

MODELS = [model for model in load() if model.can("text")]
said = st.builds(lambda text, times: f"{text}." * times, st.text(max_size=50), st.sampled_from([1, 40, 40, 800]))
exchanges = st.lists(st.tuples(said, said), max_size=40).map(
    lambda found: [Exchange(f"m{number}", *texts) for number, texts in enumerate(found)]
)


def made(window: tuple[Exchange, ...] = (), system_prompt: str = "") -> Conversation:
    return Conversation(
        "c", "", None, system_prompt, "buffer", to_rfc3339(0), to_rfc3339(0), window=window, tree=Tree()
    )


@given(exchanges, st.integers(0, 100_000))
def test_a_window_is_within_both_bounds_and_in_order(found: list[Exchange], most: int) -> None:
    kept = fit(found, most_bytes=most)
    assert len(kept) <= MOST_TURNS
    assert sum(one.size for one in kept) <= most
    ids = [one.message_id for one in found]
    places = [ids.index(one.message_id) for one in kept]
    assert places == sorted(places)
    for one in kept:
        was = found[ids.index(one.message_id)]
        assert one == was or SHORTENED in one.question + one.answer


@given(exchanges)
def test_what_fits_is_whole(found: list[Exchange]) -> None:
    recent = found[-MOST_TURNS:]
    assert [*fit(found, most_bytes=sum(one.size for one in recent))] == recent


@given(exchanges, st.integers(0, 100_000))
def test_of_ordinary_turns_the_newest_stay(found: list[Exchange], most: int) -> None:
    """The oldest go, and no turn between two others."""
    ordinary = [one for one in found if one.size <= most // 8]
    kept = fit(ordinary, most_bytes=most)
    assert [*kept] == ordinary[len(ordinary) - len(kept) :]
    if len(kept) < min(len(ordinary), MOST_TURNS):
        assert sum(one.size for one in ordinary[len(ordinary) - len(kept) - 1 :]) > most


class TestALongTurn:
    def test_does_not_erase_what_was_said_before_it(self) -> None:
        before = [Exchange(f"m{number}", "My name is Ada.", "Hello Ada.") for number in range(5)]
        long = Exchange("long", "Read this: " + "word " * 30_000 + "Whom is it about?", "About nobody.")
        after = Exchange("after", "And my name?", "Ada.")
        conversation = made()
        for exchange in (*before, long, after):
            conversation = conversation.after(exchange, to_rfc3339(1))
        *first, shortened, last = conversation.window
        assert (first, last) == (before, after)
        assert shortened.question.startswith("Read this: word")
        assert shortened.question.endswith("Whom is it about?")
        assert (shortened.question.count(SHORTENED), shortened.answer) == (1, "About nobody.")

    def test_is_marked_once_however_often_it_is_shortened(self) -> None:
        conversation = made().after(Exchange("long", "é" * 60_000, "ü" * 60_000), to_rfc3339(1))
        for number in range(40):
            conversation = conversation.after(Exchange(f"m{number}", "word " * 1_000, "Yes."), to_rfc3339(1))
            for one in conversation.window:
                assert one.question.count(SHORTENED) <= 1
                assert one.answer.count(SHORTENED) <= 1

    def test_does_not_erase_what_a_small_model_recalls(self) -> None:
        small = next(model for model in MODELS if model.id == "small")
        before, after = Exchange("a", "My name is Ada.", "Hello Ada."), Exchange("c", "And my name?", "Ada.")
        long = Exchange("b", "word " * 18_000, "No.")
        shown = texts(prompt(made((before, long, after)), "x" * small.context_tokens, (), small))
        assert "My name is Ada." in shown
        assert any(SHORTENED in text for text in shown)


class TestABlankTurn:
    """Vendors refuse a request with a blank message, so one of them would end the whole conversation."""

    @pytest.mark.parametrize("blank", ["", " ", "\n\t\u3000"])
    def test_never_enters_a_window(self, blank: str) -> None:
        once = made().after(Exchange("a", "Hi", "Hello"), to_rfc3339(1))
        assert once.after(Exchange("b", "Well?", blank), to_rfc3339(2)).window == once.window
        assert once.after(Exchange("b", blank, "Well?"), to_rfc3339(2)).window == once.window

    @pytest.mark.parametrize(
        "bad",
        [{"message_id": "b", "question": "Well?", "answer": " \n"}, {"message_id": "b", "question": "Well?"}, "b"],
    )
    def test_that_a_window_holds_already_is_not_sent(self, bad: Value) -> None:
        fields = conversations.write(made((Exchange("a", "Hi", "Hello"),)))
        fields["window"] = [*list_field(fields, "window"), bad]
        read = conversations.read("c", fields)
        assert read is not None
        assert [one.message_id for one in read.window] == ["a"]
        assert all(text.strip() for text in texts(prompt(read, "Go on", (), MODELS[0])))


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
def test_a_prompt_fits_the_model_in_practice_with_room_for_an_answer(
    found: list[Exchange], question: str, system_prompt: str, model: object
) -> None:
    """By more tokens than a text has in practice."""
    chosen = next(one for one in MODELS if one is model)
    shown = prompt(made(tuple(found), system_prompt), question, (), chosen)
    assert likely(texts(shown)) + 16 <= chosen.context_tokens
    assert shown[-1].text == question
    assert [message.role for message in shown[:1]] == (["system"] if system_prompt else [shown[0].role])
    recalled = [message.text for message in shown[bool(system_prompt) : -1]]
    asked = [text for one in found for text in (one.question, one.answer)]
    assert all(text in asked or SHORTENED in text for text in recalled)


def test_a_question_that_surely_does_not_fit_is_refused() -> None:
    small = next(model for model in MODELS if model.id == "small")
    try:
        prompt(made(), "a b " * (small.context_tokens // 2), (), small)
    except PromptTooLong as refused:
        assert refused.fields["model"] == "small"
    else:
        raise AssertionError("it was taken")


def test_a_long_question_is_taken_in_every_script() -> None:
    """T-117: 40,000 Chinese characters are 120,000 bytes, and fewer than 60,000 tokens."""
    small = next(model for model in MODELS if model.id == "small")
    asked = "总账把每一次价值的变动记录为一条永不更改的分录。" * 1_700
    assert len(asked) > 40_000
    assert prompt(made(), asked, (), small)[-1].text == asked


def test_a_turn_that_is_recorded_again_stands_in_the_window_once() -> None:
    """A record whose acknowledgement is lost is made again; later prompts must not pay for it twice."""
    once = Conversation("cnv_1", "", None, "", "buffer", "2026", "2026").after(Exchange("msg_1", "Hi", "Hello"), "2026")
    assert once.after(Exchange("msg_1", "Hi", "Hello"), "2026").window == once.window


def test_an_answer_leaves_fields_of_a_conversation_that_this_version_does_not_know(world: ChatWorld) -> None:
    """T-105: a newer version that runs beside this one during a deploy, or an operator, put them there."""
    conversation = world.conversation()
    path = f"users/alice/conversations/{conversation.id}"
    world.documents.commit([Merge(path, {"theirs": {"version": 1}})])
    world.answered(conversation)
    stored = world.documents.get(path)
    assert stored is not None and len(list_field(stored.fields, "window")) == 1
    assert stored.fields["theirs"] == {"version": 1}
