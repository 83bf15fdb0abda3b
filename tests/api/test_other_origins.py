"""A page of another origin, in a real browser: it may send what its tools add, and read what it needs (T-123)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from app.kit.money import credits
from emulators.suite.chromium import find_chromium
from support.credits_world import deposit
from support.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

pytestmark = pytest.mark.browser

ASK = """
async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return { status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text() };
  } catch (error) {
    return { status: 0, headers: {}, text: String(error) };
  }
}
"""
TOOLS = {
    "X-Firebase-AppCheck": "eyJ",
    "X-Firebase-Client": "fire-core/0.14",
    "Firebase-Instance-ID-Token": "fcm",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "congo=t61rcWkgMzE",
    "baggage": "sentry-environment=production",
    "sentry-trace": "771a43a4192642f0b136d5159a501700-7d3c3f6a1b2c3d4e-1",
    "x-client-version": "web/1.2.3",
    "X-Request-Id": "of-the-page",
    "Idempotency-Key": "k-1",
}
"""Headers that App Check, OpenTelemetry, Sentry and the Firebase SDKs add to what a page sends."""


@contextmanager
def served(application: "WSGIApplication") -> Iterator[str]:
    """The origin at which `application` answers."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def elsewhere(browser: Browser) -> Iterator[Page]:
    """A page whose origin is not the API's."""
    with served(Response("<p>A page of somebody else.</p>", mimetype="text/html")) as origin:
        page = browser.new_page()
        page.goto(origin)
        yield page


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    for name in ("one", "two"):
        world.system.credits.service.post("alice", deposit(name, credits(5)))
    return world


@pytest.fixture(scope="module")
def api(world: World) -> Iterator[str]:
    with served(world.system.edge) as origin:
        yield origin


@pytest.fixture(scope="module")
def signed(world: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.tokens.issue(world.user('alice'))}"}


def test_a_page_sends_whatever_its_tools_add(elsewhere: Page, api: str, signed: dict[str, str]) -> None:
    options = {"method": "POST", "headers": {**signed, **TOOLS, "Content-Type": "application/json"}, "body": "{}"}
    first = elsewhere.evaluate(ASK, [f"{api}/v1/credits/welcome-bonus", options])
    assert (first["status"], first["headers"].get("x-request-id")) == (409, "of-the-page"), first["text"]
    again = elsewhere.evaluate(ASK, [f"{api}/v1/credits/welcome-bonus", options])
    assert again["headers"]["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/credits/history?limit=1", {"x-next-cursor", "x-request-id"}),
        ("/v1/credits/audit", {"x-ledger-signature", "x-ledger-key-id"}),
    ],
)
def test_a_page_reads_what_it_needs_to_go_on_or_to_verify(
    elsewhere: Page, api: str, signed: dict[str, str], path: str, names: set[str]
) -> None:
    answer = elsewhere.evaluate(ASK, [api + path, {"headers": {**signed, "Accept": "text/csv"}}])
    assert answer["status"] == 200
    assert names <= answer["headers"].keys()


def test_a_page_reads_an_error_and_how_to_sign_in(elsewhere: Page, api: str) -> None:
    answer = elsewhere.evaluate(ASK, [f"{api}/v1/credits/balance", {"headers": {"traceparent": "x"}}])
    assert (answer["status"], answer["headers"]["www-authenticate"]) == (401, "Bearer")


def test_a_page_that_is_not_on_the_list_reads_nothing(elsewhere: Page) -> None:
    strict = World(variables={"CORS_ORIGINS": "https://app.example"})
    with served(strict.system.edge) as origin:
        answer = elsewhere.evaluate(ASK, [f"{origin}/v1/models", {}])
    assert (answer["status"], answer["text"]) == (0, "TypeError: Failed to fetch")
