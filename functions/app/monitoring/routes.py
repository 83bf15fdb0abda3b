"""`/monitoring/...`: public health, info and a status page; figures in Prometheus' format for admins."""

import html
import platform
from dataclasses import dataclass
from typing import Final

import flask
from flask_openapi import APIBlueprint, Tag

from app.api.auth import only, public
from app.kit.clock import to_rfc3339
from app.monitoring import liveness, metrics
from app.monitoring.schemas import HealthAnswer, InfoAnswer
from app.monitoring.service import HealthReport, Monitoring

_TAG: Final = Tag(name="monitoring", description="Is it alive")
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_TEXT: Final = {"schema": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class DeploymentIdentity:
    """The names of this deployment."""

    name: str
    version: str
    project: str


def routes(
    monitoring: Monitoring, identity: DeploymentIdentity, kept: metrics.Figures = metrics.no_figures
) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("monitoring", __name__, abp_tags=[_TAG])

    @blueprint.get(
        "/monitoring/health",
        summary="Health of this backend and of what it stands on",
        responses={200: HealthAnswer, 503: {"content": {"application/json": _reference("HealthAnswer")}}},
    )
    @public
    def health() -> flask.Response:
        answer = liveness.answer(monitoring.health())
        return flask.Response(answer.get_data(), answer.status_code, answer.headers)

    @blueprint.get("/monitoring/info", summary="What answers here", responses={200: InfoAnswer})
    @public
    def info() -> InfoAnswer:
        return InfoAnswer(
            name=identity.name,
            version=identity.version,
            project=identity.project,
            runtime=f"Python {platform.python_version()}",
            instance_started_at=to_rfc3339(monitoring.started_at_us),
            documentation=f"{flask.request.script_root}/v1/docs/swagger",
        )

    @blueprint.get(
        "/monitoring/status",
        summary="A small page with the state of things",
        responses={200: {"content": {"text/html": _TEXT}}},
    )
    @public
    def status() -> flask.Response:
        page = flask.Response(_page(monitoring.health(), identity), mimetype="text/html")
        page.headers["Content-Security-Policy"] = _PAGE_POLICY
        return page

    @blueprint.get(
        "/monitoring/metrics",
        summary="Figures in Prometheus' text format",
        responses={200: {"content": {"text/plain": _TEXT}}},
    )
    @only("admin")
    def figures() -> flask.Response:
        text, media_type = metrics.exposition(monitoring, identity.version, kept)
        return flask.Response(text, content_type=media_type)

    return blueprint


def _reference(model: str) -> dict[str, object]:
    return {"schema": {"$ref": f"#/components/schemas/{model}"}}


def _page(health: HealthReport, identity: DeploymentIdentity) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td>{html.escape(health.failing.get(name, 'up'))}" for name in health.dependencies
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="15">'
        f"<title>{html.escape(identity.name)}: {health.status}</title>"
        "<style>body{font:16px system-ui;margin:3rem}td{padding:.3rem 1.5rem .3rem 0}</style>"
        f"<h1>{html.escape(identity.name)}: {health.status}</h1><table>{rows}</table>"
        f"<p>Checked at {to_rfc3339(health.at_us)}</p></html>"
    )
