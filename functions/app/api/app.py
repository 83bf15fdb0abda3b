"""The routed application: the features' blueprints under `/v1`, with the checks and the log that all of them share.

Order of a request: route (404, 405), caller (401, 403), rate limits (429), body (413, 415, 400), model (422), handler.
Before that, `app.api.edge` handles request ids, CORS and the `/api` prefix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import flask
from flask.typing import ResponseReturnValue
from flask_openapi import APIBlueprint, Info, OpenAPI, SecurityScheme, Server
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from app.api import auth, bodies, context, problems
from app.api.openai import errors as openai_errors
from app.api.openai.paths import is_door
from app.api.rates import limits
from app.api.reference import docs, openapi
from app.kit import telemetry
from app.kit.clock import Clock, SystemClock
from app.kit.errors import Unauthenticated

PREFIX: Final = "/v1"
_INFO: Final = Info(
    title="Credits API",
    version="1.0.0",
    description="An AI assistant in which every answer is paid in credits that the user can check.",
)
_TOKEN: Final = SecurityScheme(
    type="http", scheme="bearer", bearerFormat="JWT", description="A Firebase ID token, or an API key."
)
# The document stands at {base}/v1/docs/openapi.json, and a relative server is resolved against that: the same
# document is right behind the function's own URL, behind Hosting and on the emulators.
_SERVER: Final = Server(url="../..", description="Where this document was fetched from")


@dataclass(frozen=True, slots=True)
class Edges:
    """Dependencies of the application. `project` is part of the trace by which Cloud Logging joins log lines."""

    verify_token: auth.TokenVerifier
    clock: Clock = field(default_factory=SystemClock)
    project: str = ""
    verify_key: auth.KeyVerifier = auth.no_keys
    rates: limits.RateLimiter = field(default_factory=limits.Unlimited)


class _Application(OpenAPI):
    """Handlers may return models: `return Answer(...)`, or with a status: `return Answer(...), 201`."""

    json_provider_class = bodies.StrictJson
    edges: Edges

    def make_response(self, rv: ResponseReturnValue | BaseModel) -> flask.Response:
        if isinstance(rv, BaseModel):
            return flask.Response(rv.model_dump_json(), mimetype="application/json")
        if isinstance(rv, tuple) and rv and isinstance(rv[0], BaseModel):
            body: ResponseReturnValue = flask.Response(rv[0].model_dump_json(), mimetype="application/json")
            rv = (body, *rv[1:])
        return super().make_response(rv)

    def full_dispatch_request(self) -> flask.Response:
        began_us = self.edges.clock.now_us()
        with telemetry.context(request_id=context.request_id(), **_trace(self.edges.project)):
            response = super().full_dispatch_request()
            standing: limits.Standing | None = flask.g.get("standing")
            response.headers.extend(standing.headers if standing else ())
            self._log(response, self.edges.clock.now_us() - began_us)
        return response

    def _log(self, response: flask.Response, took_us: int) -> None:
        """Logs one line per request, with the route and not the path: ids and what users write are not logged."""
        principal: auth.Principal | None = flask.g.get("principal")
        telemetry.log("api").info(
            "request_served",
            method=flask.request.method,
            route=flask.request.url_rule.rule if flask.request.url_rule else None,
            status=response.status_code,
            took_ms=took_us // 1000,
            uid=principal.uid if principal else None,
            streamed=response.is_streamed,
        )


def create_app(mounts: Sequence[APIBlueprint], edges: Edges) -> OpenAPI:
    """The WSGI application that serves `mounts` (their paths have no `/v1`) and the documentation."""
    app = _Application(
        "app.api",
        info=_INFO,
        security_schemes={openapi.SCHEME: _TOKEN},
        servers=[_SERVER],
        doc_ui=False,
        validation_error_callback=_refuse,
        static_folder=None,
    )
    app.edges = edges
    app.openapi_version = openapi.VERSION
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.before_request(_guard(edges))
    app.register_error_handler(Exception, _answer_error)
    root = APIBlueprint("v1", __name__, url_prefix=PREFIX)
    for blueprint in (*mounts, docs.routes()):
        root.register_api(blueprint)
    app.register_api(root)
    return app


def _trace(project: str) -> dict[str, str]:
    """The field by which Cloud Logging groups our lines with the platform's line for the same request."""
    trace_id = flask.request.headers.get("X-Cloud-Trace-Context", "").partition("/")[0]
    if not project or not trace_id.isalnum():
        return {}
    return {"logging.googleapis.com/trace": f"projects/{project}/traces/{trace_id}"}


def _guard(edges: Edges) -> Callable[[], None]:
    def guard() -> None:
        request = flask.request
        if request.url_rule is None or request.method == "OPTIONS":
            return
        view = flask.current_app.view_functions[request.url_rule.endpoint]
        try:
            flask.g.principal = principal = _admit(edges, view, request.url_rule.rule)
            flask.g.standing = _counted(edges.rates, view, principal)
        except limits.TooManyRequests as refusal:
            flask.g.standing = refusal.standing
            raise
        authorization = request.headers.get("Authorization")
        flask.g.look_up = lambda: edges.verify_token(auth.bearer_token(authorization), freshness=auth.Freshness.NOW)
        bodies.check_body(request, view)

    return guard


def _admit(edges: Edges, view: Callable[..., object], rule: str) -> auth.Principal | None:
    """The caller. An address that sent too many wrong credentials has no more keys looked up: each costs a read."""
    if auth.is_public(view):
        return None
    authorization = flask.request.headers.get("Authorization")
    try:
        if (key := auth.api_key(authorization)) is None:
            return auth.admit(view, authorization, edges.verify_token)
        for subject, times in limits.subjects_of(context.client()):
            edges.rates.check("refused", subject, times)
        return auth.admit_key(view, key, edges.verify_key, auth.scope_of(flask.request.method, rule))
    except Unauthenticated:
        for subject, times in limits.subjects_of(context.client()):
            edges.rates.hit("refused", subject, times)
        raise


def _counted(
    rates: limits.RateLimiter, view: Callable[..., object], principal: auth.Principal | None
) -> limits.Standing | None:
    """How the caller stands with this request counted."""
    if principal is not None:
        name: limits.RateName = "reads" if flask.request.method in ("GET", "HEAD") else "writes"
        return rates.hit("messages" if auth.looks_up(view) else name, principal.uid)
    found = [rates.hit("anonymous", subject, times) for subject, times in limits.subjects_of(context.client())]
    return found[0] if found else None


def _refuse(error: ValidationError) -> flask.Response:
    raise problems.invalid(error)


def _answer_error(error: Exception) -> ResponseReturnValue:
    if isinstance(error, HTTPException) and error.code is not None and error.code < 400:
        return error.get_response()
    described = problems.describe(error)
    problems.report(described, error)
    if is_door(flask.request.path):
        response = openai_errors.response(described, _sent(error))
    else:
        response = described.response(context.request_id())
    return flask.Response(response.get_data(), response.status_code, response.headers)


def _sent(error: Exception) -> object:
    """The body that does not fit. No other is read here: its sender may not be known."""
    return flask.request.get_json(silent=True) if isinstance(error, problems.ValidationFailed) else None
