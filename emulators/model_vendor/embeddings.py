"""POST /v1/embeddings: deterministic unit vectors in which similar texts are near.

Owns the vectors: hashed stems, stem pairs and letter trigrams, signed and weighted ("feature hashing", Weinberger
et al., 2009). Refuses to know what they are used for.
"""

import base64
import re
import struct
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from math import log, sqrt
from zlib import crc32

import orjson
from aiohttp import web

from emulators.model_vendor import tokens
from emulators.model_vendor.delivery import deliver
from emulators.model_vendor.errors import bad_request
from emulators.model_vendor.exchange import Exchange, conduct
from emulators.model_vendor.faults import UsageFault
from emulators.model_vendor.models import find
from emulators.model_vendor.responder.words import STOP_WORDS, stem
from emulators.model_vendor.usage import ABSURD
from emulators.model_vendor.wire import EmbeddingsRequest, read

DIMENSIONS = 1536
_WORD = re.compile(r"\w+")


async def embeddings(request: web.Request) -> web.StreamResponse:
    """Embed one text or many."""
    asked = read(EmbeddingsRequest, await request.read())

    async def answer(exchange: Exchange) -> web.StreamResponse:
        return await _answer(exchange, asked)

    return await conduct(request, asked.model, asked.user, answer)


async def _answer(exchange: Exchange, asked: EmbeddingsRequest) -> web.StreamResponse:
    model = find(exchange.model, "embedding")
    counted = [(_text(item), _count(item)) for item in _items(asked)]
    for number, (text, size) in enumerate(counted):
        if not text:
            raise bad_request("Input cannot be an empty string.", param=f"input.{number}")
        if size > model.context_tokens:
            message = f"This model's maximum context length is {model.context_tokens} tokens, requested {size}."
            raise bad_request(message, param="input", code="context_length_exceeded")
    dimensions = asked.dimensions or DIMENSIONS
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector(text, dimensions), asked.encoding_format)}
        for index, (text, _) in enumerate(counted)
    ]
    exchange.record.prompt_tokens = total = sum(size for _, size in counted)
    exchange.record.params = {"inputs": len(data), "dimensions": dimensions}
    body: dict[str, object] = {"object": "list", "data": data, "model": model.id}
    if exchange.behaviour.usage is not UsageFault.MISSING:
        body["usage"] = _usage(total, exchange.behaviour.usage)
    return await deliver(exchange, orjson.dumps(body))


Item = str | tuple[int, ...]


def _items(asked: EmbeddingsRequest) -> list[Item]:
    given = asked.input
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [tuple(number for number in given if isinstance(number, int))]
    return [item for item in given if not isinstance(item, int)]


def _text(item: Item) -> str:
    return item if isinstance(item, str) else " ".join(f"t{number}" for number in item)


def _count(item: Item) -> int:
    return tokens.count(item) if isinstance(item, str) else len(item)


def _encoded(values: tuple[float, ...], encoding: str | None) -> str | tuple[float, ...]:
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return values


def _usage(total: int, fault: UsageFault) -> dict[str, int] | None:
    match fault:
        case UsageFault.NULL:
            return None
        case UsageFault.ZERO:
            total = 0
        case UsageFault.NEGATIVE:
            total = -total
        case UsageFault.ABSURD:
            total = ABSURD
        case _:
            pass
    return {"prompt_tokens": total, "total_tokens": total}


@lru_cache(maxsize=512)
def vector(text: str, dimensions: int) -> tuple[float, ...]:
    """The unit vector of `text`; cosine of two is high when they share words, stems or spelling."""
    sums = [0.0] * dimensions
    for feature, weight in _features(text).items():
        digest = crc32(feature.encode("utf-8", "replace"))
        sums[(digest >> 1) % dimensions] += weight if digest & 1 else -weight
    norm = sqrt(sum(value * value for value in sums))
    if norm == 0:
        sums[0] = norm = 1.0
    # Rounded to what a float32 holds, so that both encodings carry the same numbers.
    packed = struct.pack(f"<{dimensions}f", *(value / norm for value in sums))
    return struct.unpack(f"<{dimensions}f", packed)


def _features(text: str) -> dict[str, float]:
    words = _WORD.findall(text.casefold())
    stems = [stem(word) for word in words if word not in STOP_WORDS] or words
    counts: Counter[tuple[str, float]] = Counter()
    for word in stems:
        counts["w:" + word, 1.0] += 1
        framed = f"<{word}>"
        for start in range(len(framed) - 2):
            counts["g:" + framed[start : start + 3], 0.25] += 1
    for left, right in pairwise(stems):
        counts[f"p:{left} {right}", 0.5] += 1
    if not counts:
        counts["raw:" + text.strip(), 1.0] += 1
    return {feature: weight * (1 + log(count)) for (feature, weight), count in counts.items()}
