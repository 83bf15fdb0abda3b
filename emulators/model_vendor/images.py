"""POST /v1/images/generations and the address under which a made picture is served.

Owns sizes, prices in tokens and delivery. Refuses to know how a picture is painted. Output tokens are OpenAI's
published ones for a 1024 x 1024 picture (272 low, 1056 medium, 4160 high), scaled with the area.
"""

import asyncio
import base64
import re
from hashlib import blake2b
from math import ceil

import orjson
from aiohttp import web

from emulators.model_vendor import tokens
from emulators.model_vendor.delivery import deliver
from emulators.model_vendor.errors import ErrorBody, VendorError, bad_request
from emulators.model_vendor.exchange import VENDOR, Exchange, conduct
from emulators.model_vendor.faults import UsageFault
from emulators.model_vendor.models import find
from emulators.model_vendor.painting import paint
from emulators.model_vendor.streaming import CREATED
from emulators.model_vendor.usage import ABSURD
from emulators.model_vendor.wire import ImagesRequest, read

SIZES = ("256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792")
KEPT = 256
"""Pictures that stay available by address; the oldest go first."""

_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
_QUALITY = {"auto": "medium", "standard": "medium", "hd": "high"}
_REFUSED = re.compile(r"\b(gore|nude|naked|beheading|swastika)\b", re.IGNORECASE)


async def generate(request: web.Request) -> web.StreamResponse:
    """Make pictures."""
    asked = read(ImagesRequest, await request.read())

    async def answer(exchange: Exchange) -> web.StreamResponse:
        return await _answer(exchange, asked)

    return await conduct(request, asked.model, asked.user, answer)


async def show(request: web.Request) -> web.Response:
    """Serve a made picture; its address is the secret."""
    data = request.app[VENDOR].pictures.get(request.match_info["name"])
    if data is None:
        raise web.HTTPNotFound
    return web.Response(body=data, content_type="image/png", headers={"Cache-Control": "max-age=3600"})


async def _answer(exchange: Exchange, asked: ImagesRequest) -> web.StreamResponse:
    find(exchange.model, "image")
    size = "1024x1024" if asked.size in (None, "auto") else str(asked.size)
    if size not in SIZES:
        raise bad_request(f"Invalid size '{size}'. Supported: {', '.join(SIZES)}.", param="size", code="invalid_value")
    if exchange.behaviour.finish == "content_filter" or _REFUSED.search(asked.prompt):
        raise _moderated()
    width, height = (int(side) for side in size.split("x"))
    quality = _QUALITY.get(asked.quality or "auto", asked.quality or "medium")
    number = asked.n or 1
    exchange.record.params = {"n": number, "size": size, "quality": quality, "seed": asked.seed}
    first = exchange.speed.first_token_ms / 1000
    await asyncio.sleep(first)
    made = [
        await asyncio.to_thread(paint, asked.prompt, width, height, (asked.seed or 0) * 100 + index)
        for index in range(number)
    ]
    each = ceil(_TOKENS[quality] * width * height / (1024 * 1024))
    exchange.record.prompt_tokens = tokens.count(asked.prompt)
    exchange.record.tokens_planned = exchange.record.tokens_generated = each * number
    body: dict[str, object] = {
        "created": CREATED,
        "data": [_delivered(exchange, data, asked) for data in made],
        "size": size,
        "quality": quality,
        "output_format": "png",
        "background": "opaque",
    }
    if exchange.behaviour.usage is not UsageFault.MISSING:
        body["usage"] = _usage(tokens.count(asked.prompt), each * number, exchange.behaviour.usage)
    return await deliver(exchange, orjson.dumps(body))


def _delivered(exchange: Exchange, data: bytes, asked: ImagesRequest) -> dict[str, str]:
    if asked.response_format != "url":
        return {"b64_json": base64.b64encode(data).decode()}
    pictures = exchange.vendor.pictures
    name = blake2b(data, digest_size=16).hexdigest() + ".png"
    pictures.pop(name, None)
    pictures[name] = data
    while len(pictures) > KEPT:
        del pictures[next(iter(pictures))]
    return {"url": f"http://{exchange.request.host}/generated/{name}"}


def _usage(prompt: int, output: int, fault: UsageFault) -> dict[str, object] | None:
    match fault:
        case UsageFault.NULL:
            return None
        case UsageFault.ZERO:
            prompt = output = 0
        case UsageFault.NEGATIVE:
            prompt, output = -prompt, -output
        case UsageFault.ABSURD:
            output = ABSURD
        case _:
            pass
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": prompt + output,
        "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
    }


def _moderated() -> VendorError:
    message = "Your request was rejected by the safety system."
    return VendorError(400, ErrorBody(message, type="image_generation_user_error", code="moderation_blocked"))
