"""Answers depend on the question, the conversation and the instructions, and are right where they can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.model_vendor.responder.conversation import Conversation, Turn
from emulators.model_vendor.responder.knowledge import related, topics
from emulators.model_vendor.responder.respond import respond
from emulators.model_vendor.responder.words import sentences

_PARTS = [
    *("what", "is", "my", "name", "how many", "days", "between", "2024-02-30", "and", "2025-01-01", "5 km", "in"),
    *("miles", "°C", "2 ^ 999", "sqrt", "-", "(", "%", "of", "/ 0", "summarise", ":", "translate", "to German", "'x'"),
    *("list", "0 words", "in 3 sentences", "write code", "why", "it", "or", "ideas", "{subject}", "capital of", "hash"),
]


def talk(*texts: str, system: str = "") -> str:
    """The answer to the last text; user and assistant take turns, the user speaks first."""
    turns = [Turn("system", system)] if system else []
    turns += [Turn("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]
    return respond(Conversation(tuple(turns))).text


class TestSums:
    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("What is 17 * 23?", "17 * 23 = 391."),
            ("0.1 + 0.2", "0.1 + 0.2 = 0.3."),
            ("what's 12.5% of 80?", "12.5% of 80 = 10."),
            ("(3 + 4) * -2", "(3 + 4) * -2 = -14."),
            ("What is 2 to the power of 10?", "2 ^ 10 = 1,024."),
            ("-2 ^ 2", "-2 ^ 2 = -4."),
            ("seven? no: 1,000,000 divided by 3", "1000000 / 3 ≈ 333,333.333333."),
            ("square root of 144", "√144 = 12."),
            ("17 mod 5", "17 mod 5 = 2."),
            ("How much is 20% off 80?", "(1 - 20%) * 80 = 64."),
            ("How much is 12 times 12 plus 1?", "12 * 12 + 1 = 145."),
        ],
    )
    def test_sums_are_exact(self, question: str, answer: str) -> None:
        assert talk(question) == answer

    def test_division_by_zero_is_explained(self) -> None:
        assert "divisor is zero" in talk("What is 5 / 0?")

    @pytest.mark.parametrize("question", ["9^9^9^9", "(" * 500 + "1" + ")" * 500 + "+1", "1" * 1000 + " * 2"])
    def test_hostile_sums_end(self, question: str) -> None:
        assert talk(question)

    @pytest.mark.parametrize("question", ["Call me at 555-123-4567", "What changed in version 3.11.7?"])
    def test_not_every_number_is_a_sum(self, question: str) -> None:
        assert " = " not in talk(question)


class TestUnitsAndDates:
    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("Convert 5 km to miles", "5 km ≈ 3.106856 mi."),
            ("What is 100 °C in Fahrenheit?", "100 °C = 212 °F."),
            ("20 degrees celsius to kelvin", "20 °C = 293.15 K."),
            ("How many minutes are in a day?", "1 day = 1,440 min."),
            ("how many feet in 3 miles", "3 mi = 15,840 ft."),
            ("2 GB in MiB", "2 GB ≈ 1,907.348633 MiB."),
            ("5 kg in km", "kg measures mass and km measures length, so the one cannot become the other."),
            ("How many days are between 2024-01-01 and 2024-03-01?",
             "From 1 January 2024 to 1 March 2024 there are 60 days, that is 8 weeks and 4 days."),
            ("What day of the week was 20 July 1969?", "20 July 1969 is a Sunday."),
            ("What date is 1 month after January 31, 2023?",
             "1 month after 31 January 2023 is Tuesday, 28 February 2023."),
            ("Is 1900 a leap year?",
             "No, 1900 is not a leap year: it is a century year that is not divisible by 400."),
        ],
    )  # fmt: skip
    def test_conversions_are_right(self, question: str, answer: str) -> None:
        assert talk(question) == answer

    def test_today_is_what_the_instructions_say(self) -> None:
        told = talk("What day is it today?", system="You are helpful. Today is 2026-11-21.")
        assert told == "Today is Saturday, 21 November 2026."
        assert "no clock" in talk("What day is it today?")


class TestMemory:
    def test_a_name_is_remembered(self) -> None:
        assert "Ada" in talk("Hi, my name is Ada", "Nice to meet you, Ada!", "What is my name?")
        assert "not told me" in talk("What is my name?")

    def test_the_first_and_the_last_question_are_remembered(self) -> None:
        asked = ("What is DNS?", "A directory.", "What is TLS?", "Encryption.")
        assert "What is DNS?" in talk(*asked, "What did I ask first?")
        assert "What is TLS?" in talk(*asked, "What did I just ask?")
        assert "DNS and TLS" in talk(*asked, "What have we talked about?")

    def test_a_fact_is_remembered(self) -> None:
        assert "teal" in talk("My favourite colour is teal.", "Noted.", "What is my favourite colour?")

    def test_a_follow_up_means_the_last_subject(self) -> None:
        first = talk("What is caching?")
        assert talk("What is caching?", first, "Why?") == talk("Why is caching useful?")
        more = talk("What is caching?", first, "Tell me more")
        assert more != first and not set(sentences(more)) & set(sentences(first))


class TestKnowledge:
    def test_there_are_sixty_topics_and_their_relations_exist(self) -> None:
        known = topics()
        assert len(known) >= 60
        for topic in known.values():
            assert len(related(topic)) == len(topic.related), topic.title
            assert all(facet.strip().endswith((".", "!", "?")) for facet in topic.facets), topic.title

    @pytest.mark.parametrize("topic", sorted(topics()))
    def test_each_topic_is_found_by_its_name(self, topic: str) -> None:
        assert talk(f"What is {topic}?").startswith(topics()[topic].what)

    def test_the_kind_of_question_decides_the_facet(self) -> None:
        ledger = topics()["ledger"]
        assert ledger.why in talk("Why would I use a ledger?")
        assert ledger.how in talk("How does a ledger work?")
        assert ledger.pitfall in talk("What are the pitfalls of a ledger?")
        assert talk("List what I should know about a ledger").count("\n- ") == 5

    def test_a_comparison_speaks_of_both(self) -> None:
        answer = talk("What is the difference between REST and gRPC?")
        assert "Choose REST when" in answer and "choose gRPC when" in answer

    def test_unknown_subjects_get_an_answer_about_them(self) -> None:
        one, other = talk("How do I train a puppy to sit?"), talk("What is the soul of jazz?")
        assert "train a puppy to sit" in one and "jazz" in other and one != other


class TestStyle:
    def test_a_number_of_words_is_kept(self) -> None:
        for wanted in (1, 12, 200, 800):
            assert len(talk(f"Explain Firestore in {wanted} words").split()) == wanted

    def test_one_sentence_is_one_sentence(self) -> None:
        assert len(sentences(talk("What is HTTP?", system="Answer in one sentence."))) == 1
        assert len(sentences(talk("Explain queues in three sentences"))) == 3

    def test_the_question_overrules_the_instructions(self) -> None:
        assert len(talk("What is HTTP? Answer in 5 words.", system="Answer in one sentence.").split()) == 5

    @pytest.mark.parametrize(
        ("system", "expected"),
        [
            ("Always answer in German.", "versteht man"),
            ("Réponds toujours en français.", "le mieux est"),
            ("Please respond in Spanish.", "lo mejor"),
            ("Odpowiadaj po polsku.", "najlepiej zrozumieć"),
        ],
    )
    def test_a_language_is_kept(self, system: str, expected: str) -> None:
        assert expected in talk("What is HTTP?", system=system)

    def test_a_persona_and_fixed_words_are_kept(self) -> None:
        assert "Cicero" in talk("Who are you?", system="You are Cicero, a helpful guide.")
        assert talk("What is HTTP?", system='End every answer with "Cheers!"').endswith("Cheers!")


class TestTextWork:
    def test_a_summary_is_shorter_and_from_the_text(self) -> None:
        story = " ".join(f"The ship number {n} carried grain to harbour {n}. Gulls cried." for n in range(12))
        summary = talk(f"Summarise this text:\n{story}")
        assert len(summary) < len(story) / 2 and "ship" in summary

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("Count the words in: one two three", "The text has 3 words."),
            ('Reverse the string "ledger"', "regdel"),
            ("Sort these numbers: 10, 9, 2", "2, 9, 10"),
            ('Translate "good morning" to German', "guten Morgen"),
            ("How do you say thank you in Polish?", "dziękuję"),
            ('Translate "merci beaucoup" to English', "thank you very much"),
        ],
    )
    def test_small_jobs_are_done(self, question: str, answer: str) -> None:
        assert talk(question) == answer

    def test_code_is_code(self) -> None:
        answer = talk("Write a Python function for the Fibonacci numbers")
        code = answer.split("```")[1].removeprefix("python\n")
        names: dict[str, object] = {}
        exec(compile(code, "snippet", "exec"), names)
        fibonacci = names["fibonacci"]
        assert callable(fibonacci)
        assert [fibonacci(n) for n in range(8)] == [0, 1, 1, 2, 3, 5, 8, 13]


class TestEverydayQuestions:
    @pytest.mark.parametrize(
        ("question", "part"),
        [
            ("What's the capital of France?", "Paris"),
            ("Ottawa is the capital of which country?", "Canada"),
            ("Write a haiku about autumn", "autumn"),
            ("List 5 ideas for a birthday party", "\n5. "),
            ("Write an email to my boss about being late", "this is about being late"),
            ("Who won the election?", "no connection to the outside world"),
            ("Should I buy or rent a house?", "“buy” and “rent a house”"),
        ],
    )
    def test_they_get_a_fitting_answer(self, question: str, part: str) -> None:
        assert part in talk(question)

    def test_a_long_text_does_not_hide_the_question(self) -> None:
        story = "The caravan crossed the desert by night. " * 400
        assert "caravan" in talk(f"Summarise this:\n{story}")
        assert talk(f"{story}\nWhat is 6 * 7?") == "6 * 7 = 42."


class TestManners:
    @given(st.text(max_size=300), st.text(max_size=100))
    def test_no_text_upsets_it(self, question: str, system: str) -> None:
        assert talk(question, system=system) == talk(question, system=system)

    @given(st.lists(st.sampled_from(_PARTS), max_size=12).map(" ".join))
    def test_no_mixture_of_asks_upsets_it(self, question: str) -> None:
        assert talk(question).strip()

    @pytest.mark.parametrize(
        "question", ["Hi", "Thanks!", "Who are you?", "What can you do?", "Bye", "", "???", "asdf"]
    )
    def test_everything_gets_an_answer(self, question: str) -> None:
        assert talk(question).strip()

    def test_the_same_conversation_gets_the_same_answer(self) -> None:
        assert talk("Give me ideas for a garden") == talk("Give me ideas for a garden")
