"""`/openai/...`: what OpenAI's clients call with a changed base URL. Of a completion only its entry is stored."""

from collections.abc import Generator
from typing import Final

import flask
from flask_openapi import APIBlueprint, Tag

from app.api import problems
from app.api.auth import caller, spends
from app.api.bodies import takes_images
from app.api.context import request_id
from app.api.idempotency import REPLAYED, idempotency_key, takes_key
from app.api.openai import errors as openai_errors
from app.api.openai.errors import OpenAIError
from app.api.streaming import sse_bytes
from app.chat.answering import Answer, Answering
from app.chat.attempt import AnswerEvent, Called, Over, Text, Tick
from app.chat.door import serializers
from app.chat.door.asking import Sender, asked
from app.chat.door.completion import CompletionAsk
from app.chat.door.schemas import (
    CompletionAnswer,
    CompletionBody,
    OpenAIModel,
    OpenAIModelPath,
    OpenAIModels,
)
from app.chat.turn import End, TurnProblem
from app.kit.clock import Clock, seconds
from app.metering.billing import Mode
from app.metering.paid_call import spender_of
from app.models.catalogue import Catalogue, Model, UnknownModel

_TAG: Final = Tag(name="openai", description="For OpenAI's clients: the same credits by a changed base URL")
_TIMEOUTS: Final = ("x-stainless-read-timeout", "x-stainless-timeout")
"""Headers in which OpenAI's SDKs say for how many seconds they wait: that for Python, and that for Node."""
SILENT_US: Final = seconds(10)
"""So long the status waits for the first text. Then a sign of life must go out, before somebody in between hangs up."""


def routes(answering: Answering[CompletionAsk], catalogue: Catalogue, clock: Clock) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("openai", __name__, abp_tags=[_TAG], url_prefix="/openai")

    @blueprint.post(
        "/chat/completions",
        summary="A chat completion, paid in credits",
        description="JSON, or with `stream` the chunks of OpenAI's API. A client that leaves pays for what it got.",
        responses={200: CompletionAnswer, 402: OpenAIError, 403: OpenAIError, 404: OpenAIError, 429: OpenAIError},
    )
    @takes_key
    @takes_images
    @spends
    def complete(body: CompletionBody) -> flask.Response:
        mode = Mode.STREAM if body.stream else Mode.JSON
        begun = answering.answer(_ask(body), mode)
        response = _streamed(begun, body, clock) if body.stream else _whole(begun)
        if begun.replayed:
            response.headers[REPLAYED] = "true"
        return response

    @blueprint.get("/models", summary="The models that may be asked", responses={200: OpenAIModels})
    def list_models() -> OpenAIModels:
        return OpenAIModels(data=[_model(one) for one in catalogue if _open(one, catalogue)])

    @blueprint.get("/models/<model_id>", summary="One model", responses={200: OpenAIModel, 404: OpenAIError})
    def read_model(path: OpenAIModelPath) -> OpenAIModel:
        model = catalogue.get(path.model_id)
        if not _open(model, catalogue):
            raise UnknownModel("There is no such model here.", model=model.id)
        return _model(model)

    return blueprint


def _open(model: Model, catalogue: Catalogue) -> bool:
    return model.can("text") and model.id not in catalogue.closed


def _model(model: Model) -> OpenAIModel:
    return OpenAIModel(id=model.id, owned_by=model.provider)


def _ask(body: CompletionBody) -> CompletionAsk:
    who, headers = caller(), flask.request.headers
    timeout = next((headers[name] for name in _TIMEOUTS if name in headers), "")
    return asked(body, Sender(who.uid, spender_of(who), idempotency_key(), request_id(), timeout))


def _whole(begun: Answer) -> flask.Response:
    over = begun.over()
    if serializers.failed(over.end):
        return _answered(over.end)
    text = serializers.written(serializers.completion(over.turn, over.end))
    return flask.Response(text, mimetype="application/json")


def _streamed(begun: Answer, body: CompletionBody, clock: Clock) -> flask.Response:
    """The chunks. The status waits for the first text, so that SDKs see by it that an answer failed, and try again."""
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    chunks = serializers.Chunks(include_usage=include_usage, broken=lambda end: openai_errors.body(_described(end)))
    return sse_bytes(_begun(begun.events, clock), chunks, lambda error: serializers.line(_told(error)))


def _begun(events: Generator[AnswerEvent, None, None], clock: Clock) -> Generator[AnswerEvent, None, None]:
    """The same events, once the first text has come of them, or `SILENT_US` are over. Closing it closes them."""
    first: list[AnswerEvent] = []
    until_us = clock.now_us() + SILENT_US
    for event in events:
        first.append(event)
        if isinstance(event, Text | Called | Over) or clock.now_us() >= until_us:
            break
    after = _after(first, events)
    next(after)  # A generator that was never begun would be closed without closing the answer.
    return after


def _after(first: list[AnswerEvent], events: Generator[AnswerEvent, None, None]) -> Generator[AnswerEvent, None, None]:
    try:
        yield Tick()
        yield from first
        yield from events
    finally:
        events.close()


def _told(error: Exception) -> dict[str, object]:
    described = problems.describe(error)
    problems.report(described, error)
    return openai_errors.body(described)


def _answered(end: End) -> flask.Response:
    told = openai_errors.response(_described(end))
    return flask.Response(told.get_data(), told.status_code, told.headers)


def _described(end: End) -> problems.Described:
    problem = end.problem or TurnProblem("internal_error", "The answer failed", "The answer failed.", 503)
    return problems.Described(problem.status, problem.code, problem.title, problem.detail)
