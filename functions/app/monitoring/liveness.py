"""`GET /v1/monitoring/health` as bare WSGI, so that a cold instance can answer before its routed application is built.

The documented route (`app.monitoring.routes`) gives the same answer.
"""

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Response

from app.monitoring.service import HealthReport, Monitoring

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH: Final = "/v1/monitoring/health"


def answer(health: HealthReport) -> Response:
    """200 while the essential dependencies answer, 503 when one does not."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if health.status == "down" else HTTPStatus.OK
    return Response(json.dumps(health.to_json()), status, content_type="application/json")


def application(monitoring: Callable[[], Monitoring]) -> "WSGIApplication":
    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return answer(monitoring().health())(environ, start_response)

    return serve
