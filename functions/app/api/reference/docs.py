"""The documentation's addresses: the OpenAPI document and Swagger UI, from files that ship with the project.

No page loads anything from another host, and its Content-Security-Policy forbids it.
"""

from pathlib import Path
from typing import Final, cast

import flask
import flask_openapi_swagger
from flask_openapi import APIBlueprint, OpenAPI, Tag

from app.api.auth import public
from app.api.reference import openapi
from app.api.schemas import AssetId, Parameters
from app.kit.errors import NotFound

_SWAGGER: Final = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
_OWN: Final = Path(__file__).parent / "assets"
_ASSETS: Final = {
    "swagger-ui.css": _SWAGGER / "css",
    "swagger-ui-bundle.js": _SWAGGER / "js",
    "swagger.svg": _SWAGGER / "images",
    "swagger.html": _OWN,
    "swagger.js": _OWN,
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI writes style attributes, hence 'unsafe-inline' for styles alone."""
_TAG: Final = Tag(name="docs", description="This documentation")


class AssetPath(Parameters):
    name: AssetId


def routes() -> APIBlueprint:
    blueprint = APIBlueprint("docs", __name__, abp_tags=[_TAG])

    @blueprint.get(
        "/docs/openapi.json",
        summary="The OpenAPI document",
        responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    )
    @public
    def openapi_document() -> flask.Response:
        return flask.jsonify(openapi.document(cast(OpenAPI, flask.current_app)))

    @blueprint.get("/docs/swagger", summary="Swagger UI", responses={200: _file("text/html")})
    @public
    def swagger() -> flask.Response:
        return _send("swagger.html")

    @blueprint.get("/docs/assets/<name>", summary="A file of Swagger UI", responses={200: _file("*/*")})
    @public
    def asset(path: AssetPath) -> flask.Response:
        if path.name not in _ASSETS:
            raise NotFound("There is no such file.")
        return _send(path.name)

    return blueprint


def _send(name: str) -> flask.Response:
    response = flask.send_from_directory(_ASSETS[name], name, max_age=3600)
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _file(media_type: str) -> dict[str, object]:
    return {"content": {media_type: {"schema": {"type": "string"}}}}
