"""Generated pictures: real PNGs that the prompt decides."""

import base64
import io
from collections.abc import Iterator

import httpx2
import openai
import pytest
from PIL import Image

from emulators.model_vendor.painting import paint
from support.vendor import Vendor


def generate(client: openai.OpenAI, prompt: str, **more: int) -> bytes:
    made = client.images.generate(model="sim-image", prompt=prompt, size="256x256", extra_body=more or None)
    assert made.data is not None and made.data[0].b64_json is not None
    return base64.b64decode(made.data[0].b64_json)


@pytest.fixture(scope="module")
def scenes() -> Iterator[dict[str, bytes]]:
    """One picture per kind of scene."""
    prompts = ("a blue sea at dawn", "a city at night", "a green forest", "red mountains at sunset", "anything")
    yield {prompt: paint(prompt, 192, 128, 0) for prompt in prompts}


def test_a_picture_is_a_png_of_the_size_asked_for(client: openai.OpenAI) -> None:
    with Image.open(io.BytesIO(generate(client, "a lighthouse by the sea"))) as image:
        assert (image.format, image.size) == ("PNG", (256, 256))


def test_the_same_prompt_gives_the_same_picture(client: openai.OpenAI) -> None:
    prompt = "a red sunset over the sea"
    assert generate(client, prompt) == generate(client, prompt)
    assert generate(client, prompt) != generate(client, prompt, seed=7)
    assert generate(client, prompt) != generate(client, "a green forest at night")


def test_every_scene_paints(scenes: dict[str, bytes]) -> None:
    assert len(set(scenes.values())) == len(scenes)


def test_an_address_serves_the_picture(client: openai.OpenAI) -> None:
    made = client.images.generate(model="sim-image", prompt="a boat", size="256x256", n=2, response_format="url")
    assert made.data is not None and len(made.data) == 2
    for item in made.data:
        assert item.url is not None
        answer = httpx2.get(item.url)
        assert answer.headers["content-type"] == "image/png" and answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("size", "quality", "number", "expected"),
    [("1024x1024", "low", 1, 272), ("1024x1024", "high", 1, 4160), ("512x512", "medium", 2, 528)],
)
def test_output_tokens_follow_area_and_quality(
    http: httpx2.Client, size: str, quality: str, number: int, expected: int
) -> None:
    """T-16: image tokens are a kind of their own."""
    asked = {"model": "sim-image", "prompt": "a tree", "size": size, "quality": quality, "n": number}
    usage = http.post("/images/generations", json=asked).json()["usage"]
    assert usage["output_tokens"] == usage["output_tokens_details"]["image_tokens"] == expected


@pytest.mark.parametrize("model", ["sim-image!finish=content_filter", "sim-image"])
def test_a_refused_prompt_makes_nothing(client: openai.OpenAI, model: str) -> None:
    """T-26: moderation is an error of its own."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model=model, prompt="gore" if model == "sim-image" else "a tree")
    assert refused.value.code == "moderation_blocked"


@pytest.mark.parametrize("fault", ["disconnect-after=0", "truncate-after=0", "reset"])
def test_a_picture_can_be_lost_on_the_way(client: openai.OpenAI, vendor: Vendor, fault: str) -> None:
    """T-26: the vendor made it, the caller never got it."""
    with pytest.raises(openai.APIConnectionError):
        client.images.generate(model=f"sim-image!{fault}", prompt="a tree", size="256x256")
    (record,) = vendor.requests()
    assert record["tokens_generated"] == (0 if fault == "reset" else 66)


def test_an_unknown_size_is_refused(http: httpx2.Client) -> None:
    asked = {"model": "sim-image", "prompt": "a tree", "size": "7x7"}
    assert http.post("/images/generations", json=asked).json()["error"]["param"] == "size"
