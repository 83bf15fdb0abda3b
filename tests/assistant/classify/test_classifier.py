"""What is said of prompts that come from no source of the training data and are none of its seeds."""

import math

import pytest

from app.assistant.classify.classification import TASKS, Classification
from app.assistant.classify.classifier import classify

PROMPTS = (
    ("chat", False, "What should I pack for a week of hiking in Norway?"),
    ("chat", False, "my brother never pays me back, how do I bring it up"),
    ("chat", False, "Warum schmeckt Tomatensaft im Flugzeug anders?"),
    ("chat", False, "¿Cómo puedo dejar de morderme las uñas?"),
    ("chat", False, "面试的时候应该怎么介绍自己？"),
    ("writing", False, "Write a farewell message to colleagues, three sentences, a little sentimental."),
    ("writing", False, "Reword this so it sounds friendlier: Payment is overdue. Pay now."),
    ("writing", False, "Écris un discours de remerciement pour un départ à la retraite."),
    ("writing", False, "Составь поздравление коллеге с выходом на пенсию."),
    ("writing", False, "运动会开幕式的主持稿，请写得热情一些，大约五百字。"),
    ("reasoning", False, "A tap drips 3 ml every 4 seconds. How many litres are lost in a day?"),
    ("reasoning", False, "Prove that there are infinitely many prime numbers."),
    ("reasoning", False, "Four runners finish a race. Lena beats Omar, Omar beats Pia, Quinn is third. Who won?"),
    ("reasoning", False, "Ein Rechteck hat den Umfang 50 cm und ist 5 cm länger als breit. Wie groß ist es?"),
    ("reasoning", False, "Ana tiene 35 canicas y regala 2/5 a su hermano. ¿Cuántas le quedan?"),
    ("code", False, "Why is this Kotlin coroutine never cancelled?"),
    ("code", False, "Write a C++ function that merges two sorted vectors."),
    ("code", False, "def rotate(matrix):\n    # rotate the matrix by 90 degrees\n    pass\n\ncomplete this function"),
    ("code", False, "Wie kann ich in Bash über alle Dateien eines Ordners iterieren?"),
    ("code", True, "Build a full stack recipe app with Svelte and a Go API, including tests and a Docker setup."),
    ("code", True, "Create a new Vue project for a kanban board with drag and drop, routing and a backend."),
    ("data_analysis", True, "Open orders.csv and plot the number of orders per weekday."),
    ("data_analysis", True, "Fill the missing values in the column income and compute its standard deviation."),
    (
        "data_analysis",
        True,
        "Berechne aus der Tabelle messwerte.xlsx den Mittelwert je Sensor und zeichne ein Diagramm.",
    ),
    ("data_analysis", True, "用pandas读取订单表，按月份统计平均客单价。"),
    ("data_analysis", True, "Train a random forest on churn.csv, report the accuracy and the most important features."),
    ("research", True, "Find peer-reviewed studies from the last five years on sleep and memory and summarise them."),
    ("research", True, "Compare the market shares of the biggest cloud providers this year, with sources."),
    ("research", True, "Look up which museums in Vienna are free this Sunday."),
    ("research", True, "¿Qué dicen las últimas publicaciones científicas sobre el Alzheimer? Incluye las referencias."),
    ("image_generation", False, "Paint an owl wearing a crown, baroque style, candle light"),
    ("image_generation", False, "a lighthouse in a snow globe, macro photography, bokeh"),
    ("image_generation", False, "Zeichne einen Hund, der Fahrrad fährt."),
    ("image_generation", False, "雪の中の赤い鳥居、水彩画風"),
    ("image_generation", False, "un gato negro sobre un tejado bajo la luna llena, acuarela"),
)
WITH_PICTURE = (
    ("vision", "How many chairs are around the table?"),
    ("vision", "Wie heißt die Straße auf dem Schild?"),
    ("vision", "图里的表格第三行写了什么？"),
    ("image_generation", "Replace the sky with a starry night."),
    ("image_generation", "Cambia el fondo por una montaña nevada."),
)


def test_four_of_five_prompts_in_several_languages_are_understood() -> None:
    found = [classify(text, False).task == task for task, _, text in PROMPTS]
    found += [classify(text, True).task == task for task, text in WITH_PICTURE]
    assert sum(found) >= 0.8 * len(found) == 32


def test_most_agent_work_is_routed_to_the_agent_and_most_other_is_not() -> None:
    agent = [classify(text, False).route == "agent" for _, wanted, text in PROMPTS if wanted]
    quick = [classify(text, False).route == "quick" for _, wanted, text in PROMPTS if not wanted]
    assert sum(agent) >= 0.8 * len(agent)
    assert sum(quick) >= 0.9 * len(quick)


def test_the_same_prompt_is_classified_the_same() -> None:
    assert [classify(text, None) for *_, text in PROMPTS] == [classify(text, None) for *_, text in PROMPTS]


@pytest.mark.parametrize("has_image", [True, False, None])
def test_probabilities_sum_to_one_and_begin_with_the_task(has_image: bool | None) -> None:
    for *_, text in PROMPTS:
        found = classify(text, has_image)
        assert {other.task for other in found.alternatives} == set(TASKS)
        assert math.isclose(sum(other.probability for other in found.alternatives), 1, abs_tol=0.001)
        assert found.alternatives[0].task == found.task
        assert found.alternatives[0].probability == found.confidence


def test_an_attached_picture_is_looked_at_or_changed() -> None:
    assert {classify(text, True).task for *_, text in PROMPTS} <= {"vision", "image_generation"}


def test_a_picture_that_is_missing_is_not_looked_at() -> None:
    assert classify("What is in this picture?", None).task == "vision"
    assert classify("What is in this picture?", False).task != "vision"


@pytest.mark.parametrize("text", ["", " \n", "\u2028"])
def test_an_empty_prompt_is_unsure(text: str) -> None:
    assert classify(text, False).unsure
    assert classify(text, True).unsure
    assert (classify(text, False).task, classify(text, True).task) == ("chat", "vision")


def test_case_does_not_matter() -> None:
    assert classify("WRITE A POEM ABOUT RAIN").task == classify("write a poem about rain").task


def test_only_the_beginning_and_the_end_of_a_long_text_are_read() -> None:
    def found(middle: str) -> Classification:
        return classify("Translate this text to Italian: " + "rain " * 1000 + middle + "rain " * 1000)

    assert found("SELECT * FROM sales; ").alternatives == found("poem for my grandmother ").alternatives


def test_a_longer_text_that_is_asked_for_is_expected_to_be_longer() -> None:
    short, long = (classify(f"Write an essay about rivers, {words} words.") for words in (100, 2000))
    assert short.output_tokens_p50 < long.output_tokens_p50


def test_duration_follows_from_the_speed_of_the_model() -> None:
    found = classify("Write a poem about rain")
    median, most = found.duration_ms(tokens_per_second=50, first_token_ms=400)
    assert (median, most) == (400 + found.output_tokens_p50 * 20, 400 + found.output_tokens_p90 * 20)
