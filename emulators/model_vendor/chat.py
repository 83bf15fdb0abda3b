"""POST /v1/chat/completions, plain and streamed.

Owns the delivery of a completion and what happens when the client leaves. Refuses to know how answers are found.
"""

import asyncio

import orjson
from aiohttp import ClientError, ClientTimeout, web

from emulators.model_vendor import usage
from emulators.model_vendor.completion import Completion, complete
from emulators.model_vendor.delivery import deliver
from emulators.model_vendor.errors import bad_request
from emulators.model_vendor.exchange import Exchange, Vendor, conduct
from emulators.model_vendor.faults import Behaviour, UsageFault
from emulators.model_vendor.models import Model, find
from emulators.model_vendor.pacing import Pacer
from emulators.model_vendor.pictures import MAX_BYTES, Seen, decode_data_url, look
from emulators.model_vendor.streaming import CREATED, FINGERPRINT, Stream, send
from emulators.model_vendor.wire import ChatRequest, ImageUrl, read


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    asked = read(ChatRequest, await request.read())

    async def answer(exchange: Exchange) -> web.StreamResponse:
        return await _answer(exchange, asked)

    return await conduct(request, asked.model, asked.user, answer)


async def _answer(exchange: Exchange, asked: ChatRequest) -> web.StreamResponse:
    record = exchange.record
    record.stream = bool(asked.stream)
    record.params = _params(asked)
    model = find(exchange.model, "chat")
    seen = await _look(exchange.vendor, asked, model)
    completion = complete(asked, model, seen, exchange.vendor.cache, exchange.behaviour)
    record.prompt_tokens = completion.prompt.total
    record.tokens_planned = completion.generated
    stream = Stream(completion, exchange.behaviour, record, Pacer(exchange.speed), asked.include_usage)
    try:
        if asked.stream:
            return await send(exchange.request, stream)
        return await _whole(exchange, stream)
    except (asyncio.CancelledError, ConnectionError):
        _client_left(exchange, stream)
        raise


def _params(asked: ChatRequest) -> dict[str, str | int | float | bool | None]:
    return {
        "max_tokens": asked.max_tokens,
        "max_completion_tokens": asked.max_completion_tokens,
        "temperature": asked.temperature,
        "include_usage": asked.include_usage,
        "reasoning_effort": asked.reasoning_effort,
        "seed": asked.seed,
        "messages": len(asked.messages),
        "tools": len(asked.tools or ()),
        "images": sum(len(message.images) for message in asked.messages),
    }


async def _whole(exchange: Exchange, stream: Stream) -> web.StreamResponse:
    completion, record = stream.completion, exchange.record
    await asyncio.sleep(exchange.speed.duration_s(completion.generated))
    record.tokens_generated = completion.generated
    record.ending = completion.finish_reason
    body = _body(completion, exchange.behaviour)
    record.usage_sent = b'"usage":{' in body
    return await deliver(exchange, body)


def _body(completion: Completion, behaviour: Behaviour) -> bytes:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.pieces)}}
        for call in completion.calls
    ]
    text = "".join(completion.pieces)
    message: dict[str, object] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
    body: dict[str, object] = {
        "id": completion.id,
        "object": "chat.completion",
        "created": CREATED,
        "model": completion.model,
        "choices": [choice],
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    if behaviour.usage is not UsageFault.MISSING:
        body["usage"] = usage.of(completion, behaviour.usage, completion.generated)
    return orjson.dumps(body)


def _client_left(exchange: Exchange, stream: Stream) -> None:
    """Note how far the answer was; by default generation stops here, as the vendor's does."""
    record, pacer = exchange.record, stream.pacer
    if not record.stream or record.chunks_sent == 0:
        most = stream.completion.reasoning if record.stream else stream.completion.generated
        record.tokens_generated = max(record.tokens_generated, pacer.generated(most))
    record.left()
    record.ending = "client_left"
    if exchange.behaviour.keep_generating:
        exchange.request["detached"] = True
        task = asyncio.create_task(_generate_on(exchange, stream))
        exchange.vendor.background.add(task)
        task.add_done_callback(exchange.vendor.background.discard)


async def _generate_on(exchange: Exchange, stream: Stream) -> None:
    """Go on to the end for nobody, at the same pace."""
    record = exchange.record
    try:
        while record.tokens_generated < stream.completion.generated:
            allowed = await stream.pacer.until(record.tokens_generated)
            record.tokens_generated = min(allowed, stream.completion.generated)
    finally:
        exchange.vendor.journal.close(record)


async def _look(vendor: Vendor, asked: ChatRequest, model: Model) -> list[tuple[Seen, ...]]:
    if not model.sees and any(message.images for message in asked.messages):
        raise bad_request("Invalid content type. image_url is only supported by certain models.", param="messages")
    return [tuple([await _see(vendor, image) for image in message.images]) for message in asked.messages]


async def _see(vendor: Vendor, image: ImageUrl) -> Seen:
    data = decode_data_url(image.url) if image.url.startswith("data:") else await _fetch(vendor, image.url)
    return await asyncio.to_thread(look, data, image.detail)


async def _fetch(vendor: Vendor, url: str) -> bytes:
    failure = bad_request(f"Error while downloading {url}.", param="messages", code="invalid_image_url")
    if not url.startswith(("http://", "https://")):
        raise failure
    try:
        async with vendor.web().get(url, timeout=ClientTimeout(total=10)) as response:
            if response.status != 200:
                raise failure
            return await response.content.read(MAX_BYTES + 1)
    except (ClientError, TimeoutError, ValueError):
        raise failure from None
