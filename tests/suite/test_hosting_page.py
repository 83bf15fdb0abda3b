"""The page at Hosting's address, in a browser: what a person sees there, locally and in production."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Literal

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from emulators.suite import seed
from emulators.suite.chromium import find_chromium
from emulators.suite.install import ROOT
from support.suite import RunningSuite

HEALTH = "**/api/v1/monitoring/health"
PRODUCTION = "credits.example"
WIDE, NARROW = 1400, 360
_DEPLOYED_FILES = """
const { hosting } = require("./firebase.json");
const { listFiles } = require("firebase-tools/lib/listFiles");
console.log(JSON.stringify(listFiles(hosting.public, hosting.ignore)));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        rules = f"--host-resolver-rules=MAP {PRODUCTION} 127.0.0.1"
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", rules])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page(viewport={"width": WIDE, "height": 900}) as page:
        yield page


def _complaints(page: Page) -> list[str]:
    """What the browser will write about errors and refused loads, filled while the page is used."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def _answering(page: Page, status: int, body: str) -> None:
    """Let the health route answer this."""
    page.route(HEALTH, lambda route: route.fulfill(status=status, body=body))


@pytest.mark.browser
class TestHealth:
    def test_says_that_the_api_is_up_and_asks_nobody_else(self, suite: RunningSuite, page: Page) -> None:
        complaints = _complaints(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(suite.hosting)
        page.wait_for_selector("#health[data-state=ok]")
        assert "firestore: up" in page.inner_text("#dependencies")
        assert all(url.startswith(suite.hosting + "/") for url in asked)
        assert complaints == []

    @pytest.mark.parametrize(("health", "status"), [("degraded", 200), ("down", 503)])
    def test_names_the_part_that_is_down(self, suite: RunningSuite, page: Page, health: str, status: int) -> None:
        _answering(page, status, json.dumps({"status": health, "dependencies": {"model_vendor": {"status": "down"}}}))
        page.goto(suite.hosting)
        page.wait_for_selector(f"#health[data-state={health}]")
        assert page.inner_text("#dependencies") == "model vendor: down"

    def test_says_that_the_api_cannot_be_reached(self, suite: RunningSuite, page: Page) -> None:
        page.route(HEALTH, lambda route: route.abort())
        page.goto(suite.hosting)
        page.wait_for_selector("#health[data-state=unreachable]")
        assert page.inner_text("[role=status]") == "No: /api/v1/monitoring/health cannot be reached."

    @pytest.mark.parametrize(("status", "body"), [(404, "<p>not here"), (200, '{"status": "toString"}')])
    def test_says_what_answered_instead_and_asks_again_by_keyboard(
        self, suite: RunningSuite, page: Page, status: int, body: str
    ) -> None:
        _answering(page, status, body)
        page.goto(suite.hosting)
        page.wait_for_selector("#health[data-state=unreachable]")
        assert page.inner_text("[role=status]") == f"No: it answered {status} without its health."
        page.unroute(HEALTH)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "again"
        page.keyboard.press("Enter")
        page.wait_for_selector("#health[data-state=ok]")


@pytest.mark.browser
class TestDemoUser:
    def test_the_three_lines_lead_to_an_answer(self, suite: RunningSuite, page: Page) -> None:
        seed.ensure_person(suite.ports, seed.DEMO)
        page.goto(suite.hosting)
        page.wait_for_selector("#demo-user:not([hidden])")
        assert page.inner_text("#demo-user").endswith(f"as {seed.DEMO.email}, password {seed.DEMO.password}.")
        lines = [line.inner_text() for line in page.query_selector_all(".steps code")]
        assert len(lines) == 3
        said = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120, check=True)
        assert "event: done" in said.stdout, said.stdout + said.stderr

    def test_another_host_shows_no_demo_user_and_does_not_ask_for_one(self, suite: RunningSuite, page: Page) -> None:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://{PRODUCTION}:{suite.ports.hosting}/", wait_until="networkidle")
        page.wait_for_selector("#health[data-state=ok]")
        assert page.inner_text("#begin").startswith(f"CONVERSATION=$(curl -s http://{PRODUCTION}:")
        assert not page.is_visible("#demo-user")
        assert seed.DEMO.password not in page.content()
        assert not any("local.js" in url for url in asked)


@pytest.mark.browser
class TestLooks:
    @pytest.mark.parametrize("path", ["/", "/verify.html"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_fits_a_small_screen_in_the_colours_that_were_asked_for(
        self, suite: RunningSuite, browser: Browser, path: str, scheme: Literal["light", "dark"]
    ) -> None:
        with browser.new_page(viewport={"width": NARROW, "height": 800}, color_scheme=scheme) as page:
            page.goto(suite.hosting + path, wait_until="networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") == NARROW
            text = page.evaluate("getComputedStyle(document.body).color")
            brightness = sum(map(int, re.findall(r"\d+", text)[:3])) / 3
            assert (brightness > 128) == (scheme == "dark")

    @pytest.mark.parametrize(("path", "content"), [("/verify.html", "#verdict"), ("/api/v1/docs/swagger", ".opblock")])
    def test_hostings_headers_break_no_other_page(
        self, suite: RunningSuite, page: Page, path: str, content: str
    ) -> None:
        complaints = _complaints(page)
        page.goto(suite.hosting + path)
        page.wait_for_selector(content)
        assert complaints == []


class TestFiles:
    def test_every_link_answers(self, suite: RunningSuite) -> None:
        html = requests.get(suite.hosting, timeout=10).text
        links = re.findall(r'(?:href|src)="([^"]+)"', html)
        assert {"/api/v1/docs/swagger", "/api/v1/docs/openapi.json", "/verify.html"} <= set(links)
        statuses = {link: requests.get(f"{suite.hosting}/{link.lstrip('/')}", timeout=60).status_code for link in links}
        assert set(statuses.values()) == {200}, statuses

    @pytest.mark.parametrize("path", ["/", "/index.html", "/verify.html"])
    def test_each_page_has_a_policy(self, suite: RunningSuite, path: str) -> None:
        headers = requests.get(suite.hosting + path, timeout=10).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_the_demo_user_is_not_deployed(self) -> None:
        """firebase-tools' own choice of files, with the `ignore` of firebase.json."""
        listed = subprocess.run(["node", "-e", _DEPLOYED_FILES], cwd=ROOT, capture_output=True, text=True, check=True)
        deployed = {name: (ROOT / "web" / "public" / name).read_text() for name in json.loads(listed.stdout)}
        assert {"index.html", "index.js", "verify.html"} <= deployed.keys()
        assert not [name for name, text in deployed.items() if seed.DEMO.password in text or seed.DEMO.email in text]
