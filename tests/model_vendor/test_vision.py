"""Pictures in prompts: seen by their pixels, counted by their size."""

import base64
import io

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionContentPartParam
from PIL import Image

from emulators.model_vendor.pictures import picture_tokens


def data_url(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def show(client: openai.OpenAI, question: str, *urls: str, model: str = "sim-vision") -> ChatCompletion:
    parts: list[ChatCompletionContentPartParam] = [{"type": "text", "text": question}]
    for url in urls:
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])


def text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


class TestSeeing:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
    def test_format_size_and_colour_are_real(self, client: openai.OpenAI, kind: str) -> None:
        answer = text(show(client, "Describe this", data_url(Image.new("RGB", (320, 200), (220, 30, 30)), kind)))
        assert f"landscape {kind} of 320 x 200 pixels" in answer and "red (100%)" in answer

    def test_the_dominant_colour_leads(self, client: openai.OpenAI) -> None:
        image = Image.new("RGB", (100, 100), (35, 80, 215))
        image.paste((245, 225, 40), (0, 0, 100, 30))
        answer = text(show(client, "What is the dominant colour?", data_url(image)))
        assert answer.startswith("The dominant colour is blue") and "about 70%" in answer and "yellow (30%)" in answer

    def test_several_pictures_are_told_apart(self, client: openai.OpenAI) -> None:
        red, green = Image.new("RGB", (64, 64), (220, 30, 30)), Image.new("RGB", (32, 64), (40, 160, 60))
        answer = text(show(client, "Compare these", data_url(red), data_url(green)))
        assert "2 pictures" in answer and "red" in answer and "portrait" in answer

    def test_a_picture_is_remembered_in_the_next_turn(self, client: openai.OpenAI) -> None:
        url = data_url(Image.new("RGB", (640, 480), (40, 160, 60)))
        answer = client.chat.completions.create(
            model="sim-large",
            messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]},
                {"role": "assistant", "content": "A green picture."},
                {"role": "user", "content": "How wide is it?"},
            ],
        )
        assert "640 pixels wide" in text(answer)

    def test_a_picture_can_be_fetched_by_address(self, client: openai.OpenAI) -> None:
        made = client.images.generate(model="sim-image", prompt="a red sunset", size="256x256", response_format="url")
        assert made.data is not None and made.data[0].url is not None
        assert "256 x 256" in text(show(client, "What do you see?", made.data[0].url))


class TestRefusing:
    def test_a_model_without_eyes_refuses(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError):
            show(client, "Look", data_url(Image.new("RGB", (8, 8))), model="sim-small")

    @pytest.mark.parametrize(
        "url",
        [
            "data:image/png;base64,bm90IGFuIGltYWdl",
            "data:image/png;base64,***",
            "data:image/png,raw",
            "ftp://example.com/a.png",
            "http://127.0.0.1:9/none.png",
        ],
    )
    def test_what_is_no_picture_is_refused(self, client: openai.OpenAI, url: str) -> None:
        with pytest.raises(openai.BadRequestError):
            show(client, "Look", url)


class TestCounting:
    """T-17."""

    def test_tokens_depend_on_size_and_never_on_bytes(self, client: openai.OpenAI) -> None:
        flat = Image.new("RGB", (1000, 800), (1, 2, 3))
        noisy = Image.effect_noise((1000, 800), 90).convert("RGB")
        light, heavy = data_url(flat), data_url(noisy)
        assert len(heavy) > 20 * len(light)
        one, other = show(client, "Look", light).usage, show(client, "Look", heavy).usage
        assert one is not None and other is not None and one.prompt_tokens == other.prompt_tokens

    @pytest.mark.parametrize(
        ("width", "height", "detail", "expected"),
        [
            (512, 512, None, 85),
            (512, 512, "high", 85 + 170),
            (513, 100, "auto", 85 + 170 * 2),
            (1024, 1024, "high", 765),
            (2048, 4096, "high", 1105),
            (4096, 8192, "low", 85),
        ],
    )
    def test_the_formula_is_the_published_one(self, width: int, height: int, detail: str | None, expected: int) -> None:
        assert picture_tokens(width, height, detail) == expected
