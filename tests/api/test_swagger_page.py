"""Swagger UI in a real browser renders every tag, under the page's own policy, from this origin alone."""

import shutil
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from app.api.reference import openapi
from support.world import World

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    world = World()
    server = make_server("127.0.0.1", 0, world.system.edge, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield world, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_shows_every_operation_and_calls_the_api(served: tuple[World, str], page: Page, prefix: str) -> None:
    world, origin = served
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{origin}{prefix}/v1/docs/swagger")
    page.wait_for_selector(".opblock")
    tags = {tag["name"] for tag in openapi.document(world.app)["tags"]}
    assert {each.get_attribute("data-tag") for each in page.query_selector_all(".opblock-tag")} == tags
    page.click("#operations-monitoring-" + operation_id(world, "/v1/monitoring/info") + " .opblock-summary-control")
    page.click("text=Try it out")
    page.click(".execute")
    page.wait_for_selector(".live-responses-table .response-col_status:has-text('200')")
    assert f"{origin}{prefix}/v1/monitoring/info" in asked
    assert all(url.startswith((origin, "data:")) for url in asked)
    assert complaints == []


def operation_id(world: World, path: str) -> str:
    return str(openapi.document(world.app)["paths"][path]["get"]["operationId"])
