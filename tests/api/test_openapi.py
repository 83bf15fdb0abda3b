"""The document describes everything that is served, and nothing else."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openapi_spec_validator
import pytest
from flask_openapi import OpenAPI

from app.api import auth
from app.api.app import Edges, create_app
from app.api.reference import openapi
from support.shop import Shop
from support.world import World


@pytest.fixture(params=["shop", "everything"])
def app(request: pytest.FixtureRequest, world: World, shop: Shop) -> OpenAPI:
    if request.param == "everything":
        return world.app
    return create_app([shop.routes()], Edges(verify_token=world.tokens))


def operations(app: OpenAPI) -> list[tuple[str, str, dict[str, Any]]]:
    paths = openapi.document(app)["paths"]
    return [(path, method, operation) for path, item in paths.items() for method, operation in item.items()]


class TestTheDocument:
    def test_is_valid_openapi_3_1(self, app: OpenAPI) -> None:
        document = openapi.document(app)
        assert document["openapi"] == "3.1.1"
        openapi_spec_validator.validate(document)

    def test_holds_every_route_and_no_other(self, app: OpenAPI) -> None:
        served = {(path, method) for path, method, _ in openapi.routes_of(app)}
        assert {(path, method) for path, method, _ in operations(app)} == served

    def test_says_of_each_what_it_does(self, app: OpenAPI) -> None:
        for path, method, operation in operations(app):
            assert operation.get("summary"), (path, method)
            assert operation["tags"] != ["default"], (path, method)
            assert operation["operationId"], (path, method)
        ids = [operation["operationId"] for _, _, operation in operations(app)]
        assert len(ids) == len(set(ids))

    def test_says_of_each_who_may_call_it(self, app: OpenAPI) -> None:
        views = {(path, method): view for path, method, view in openapi.routes_of(app)}
        for path, method, operation in operations(app):
            view = views[path, method]
            assert operation["security"] == ([] if auth.is_public(view) else [{"firebase": []}]), (path, method)
            assert ("401" in operation["responses"]) != auth.is_public(view), (path, method)
            assert ("403" in operation["responses"]) >= bool(auth.roles_of(view)), (path, method)

    def test_says_of_each_how_it_answers(self, app: OpenAPI) -> None:
        for path, method, operation in operations(app):
            responses = operation["responses"]
            assert any(status < "300" for status in responses), (path, method)
            assert {"500", "503"} <= responses.keys(), (path, method)
            for status, response in responses.items():
                if status < "300" and status != "204":
                    assert response["content"], (path, method, status)
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= responses.keys(), (path, method)

    def test_gives_errors_the_media_type_of_problems(self, app: OpenAPI) -> None:
        document = openapi.document(app)
        for name, response in document["components"]["responses"].items():
            assert list(response["content"]) == ["application/problem+json"], name
        for path, method, operation in operations(app):
            for status, response in operation["responses"].items():
                if status >= "400" and "Problem" in str(response.get("content", "")):
                    assert list(response["content"]) == ["application/problem+json"], (path, method, status)

    def test_is_the_same_each_time(self, world: World) -> None:
        client = world.client(None)
        assert client.get("/v1/docs/openapi.json").data == client.get("/v1/docs/openapi.json").data

    def test_points_at_where_it_came_from(self, app: OpenAPI) -> None:
        assert openapi.document(app)["servers"][0]["url"] == "../.."
        assert all(path.startswith("/v1/") for path, _, _ in operations(app))


class TestSwagger:
    def test_comes_with_its_files_from_here(self, world: World) -> None:
        client = world.client(None)
        page = client.get("/v1/docs/swagger")
        assert "http://" not in page.text
        assert "https://" not in page.text
        names = [part.split('"')[0] for part in page.text.split("assets/")[1:]]
        assert len(names) == 4
        for name in names:
            assert client.get(f"/v1/docs/assets/{name}").status_code == 200, name

    def test_may_load_nothing_from_elsewhere(self, world: World) -> None:
        policy = world.client(None).get("/v1/docs/swagger").headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy

    @pytest.mark.parametrize("name", ["..%2f..%2fapp.py", "%2e%2e", "passwd.css", "swagger.css.map"])
    def test_gives_no_other_file_away(self, world: World, name: str) -> None:
        assert world.client(None).get(f"/v1/docs/assets/{name}").status_code in (404, 422)


def test_many_first_readers_are_all_answered() -> None:
    """Each of them would complete the application's own description, in place."""
    world = World()
    client, barrier = world.client(None), threading.Barrier(8)
    assert client.get("/v1/monitoring/info").status_code == 200
    usual = sys.getswitchinterval()

    def read(_: int) -> int:
        barrier.wait(10)
        return world.client(None).get("/v1/docs/openapi.json").status_code

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert [*pool.map(read, range(8))] == [200] * 8
    finally:
        sys.setswitchinterval(usual)
