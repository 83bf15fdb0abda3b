"""Embeddings over the SDK: unit vectors, near when the texts are."""

from itertools import pairwise
from math import isclose

import httpx2
import openai
import pytest


def embed(client: openai.OpenAI, *texts: str, dimensions: int = 512) -> list[list[float]]:
    answer = client.embeddings.create(model="sim-embed", input=list(texts), dimensions=dimensions)
    return [item.embedding for item in answer.data]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other))


def test_vectors_have_length_one(client: openai.OpenAI) -> None:
    for vector in embed(client, "hello", "ein längerer Satz", "数据库", "?!", dimensions=64):
        assert len(vector) == 64
        assert isclose(cosine(vector, vector), 1, abs_tol=1e-5)


def test_similar_texts_are_nearer_than_others(client: openai.OpenAI) -> None:
    ranked = embed(
        client,
        "How do I reset my password?",
        "I need to reset the password of my account",
        "Passwords should be long",
        "The boat sails over a calm sea",
    )
    near = [cosine(ranked[0], other) for other in ranked]
    assert all(closer > farther + 0.05 for closer, farther in pairwise(near))


def test_the_default_has_1536_dimensions_and_is_counted(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="sim-embed", input="a ledger of credits")
    assert len(answer.data[0].embedding) == 1536
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


def test_base64_and_floats_are_the_same_numbers(http: httpx2.Client, client: openai.OpenAI) -> None:
    # The SDK asks for base64 by itself.
    (packed,) = embed(client, "same", dimensions=32)
    plain = http.post("/embeddings", json={"model": "sim-embed", "input": "same", "dimensions": 32}).json()
    assert plain["data"][0]["embedding"] == packed


def test_token_ids_are_accepted(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="sim-embed", input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2 and answer.usage.prompt_tokens == 4


def test_a_chat_model_does_not_embed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="sim-small", input="x")


def test_faults_strike_here_too(http: httpx2.Client) -> None:
    asked = {"model": "sim-embed!status=503", "input": "x"}
    assert http.post("/embeddings", json=asked).status_code == 503
    negative = http.post("/embeddings", json={"model": "sim-embed!usage=negative", "input": "x"}).json()
    assert negative["usage"]["prompt_tokens"] < 0
