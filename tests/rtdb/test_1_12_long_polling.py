"""Long polling as browsers use it, and its upgrade to a WebSocket."""

import json
import re
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from emulators.suite.chromium import find_chromium
from rtdb.harness import ROOT, TIMEOUT, EmulatorProcess, Namespace
from rtdb_emulator.json_text import Json, dumps

_FIREBASE: Final = ROOT / "node_modules/firebase"
Opener = Callable[..., Page]
_PAGE: Final = Path(__file__).parent / "js" / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM_PATH")
    if not _FIREBASE.is_dir():
        pytest.skip("needs node_modules/firebase: npm ci")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        yield browser
        browser.close()


class _PageHandler(BaseHTTPRequestHandler):
    """Serves the one page; browsers let only local pages talk to a local server."""

    def do_GET(self) -> None:
        version = json.loads((_FIREBASE / "package.json").read_text())["version"]
        body = _PAGE.read_text().replace("VERSION", version).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """Where the page is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _PageHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join(TIMEOUT)


@pytest.fixture
def open_page(browser: Browser, pages: str, ns: Namespace) -> Iterator[Opener]:
    """Opens a page with the browser build of the SDK, connected to the namespace."""
    context = browser.new_context()
    context.set_default_timeout(20_000)

    def serve(route: Route) -> None:
        file = _FIREBASE / route.request.url.rsplit("/", 1)[1]
        route.fulfill(body=file.read_text(), content_type="text/javascript")

    context.route(re.compile(r"^https://www\.gstatic\.com/"), serve)

    def open_one(transport: str, *, last_socket_failed: bool = False) -> Page:
        page = context.new_page()
        if last_socket_failed:
            page.add_init_script('localStorage.setItem("firebase:previous_websocket_failure", "true")')
        page.goto(f"{pages}?host={ns.emulator.host}&ns={ns.name}&transport={transport}")
        page.wait_for_function("window.ready")
        return page

    yield open_one
    context.close()


@pytest.mark.browser
class TestBrowser:
    @pytest.mark.parametrize("transport", ["polling", "sockets"])
    def test_reads_writes_listens_and_transactions(self, open_page: Opener, transport: str) -> None:
        page = open_page(transport)
        seen: Any = page.evaluate("""async () => {
            const { ref, set, update, get, onValue, runTransaction, increment } = sdk;
            const seen = [];
            const at = ref(db, "room");
            onValue(at, (s) => seen.push(s.val()));
            await get(at);
            await set(at, { a: 1, list: [1, 2, 3] });
            await update(at, { a: increment(4), "list/1": null });
            const done = await runTransaction(ref(db, "room/a"), (v) => v + 1);
            return { seen, total: done.snapshot.val(), read: (await get(at)).val() };
        }""")
        assert seen["read"] == {"a": 6, "list": [1, None, 3]}
        assert seen["total"] == 6
        assert seen["seen"][0] is None and seen["seen"][-1] == {"a": 6, "list": [1, None, 3]}

    def test_a_write_of_many_segments_arrives_whole(self, open_page: Opener, ns: Namespace) -> None:
        page = open_page("polling")
        page.evaluate('async () => { await sdk.set(sdk.ref(db, "big"), "é\u2028🐵".repeat(3000)); }')
        assert ns.get("big") == "é\u2028🐵" * 3000

    def test_a_page_whose_last_socket_failed_starts_polling_and_upgrades(self, open_page: Opener) -> None:
        page = open_page("any", last_socket_failed=True)
        value: Any = page.evaluate("""async () => {
            const seen = [];
            sdk.onValue(sdk.ref(db, "x"), (s) => seen.push(s.val()));
            await sdk.set(sdk.ref(db, "x"), 1);
            await upgraded;
            await sdk.set(sdk.ref(db, "x"), 2);
            return seen;
        }""")
        assert value[-1] == 2 and 1 in value
        lines: list[str] = page.evaluate("lines")
        assert any("Connecting via long-poll" in line for line in lines)

    def test_the_disconnect_writes_survive_the_upgrade(self, open_page: Opener, ns: Namespace) -> None:
        page = open_page("any", last_socket_failed=True)
        page.evaluate("""async () => {
            await sdk.onDisconnect(sdk.ref(db, "gone")).set(true);
            await upgraded;
        }""")
        with ns.connect() as wire:
            wire.ok("q", {"p": "/gone", "h": ""})
            page.close()
            assert wire.push() == {"a": "d", "b": {"p": "gone", "d": True}}

    def test_a_page_that_closes_ends_its_polled_session(self, open_page: Opener, ns: Namespace) -> None:
        page = open_page("polling")
        page.evaluate('async () => { await sdk.onDisconnect(sdk.ref(db, "gone")).set(true); }')
        with ns.connect() as wire:
            wire.ok("q", {"p": "/gone", "h": ""})
            page.close(run_before_unload=True)
            assert wire.push() == {"a": "d", "b": {"p": "gone", "d": True}}


class Poller:
    """A long-polling client without a browser."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        self.segment = 0
        script = self.ask(start="t", cb="7", v="5", ns=ns.name)
        found = re.search(r'pLPCommand7"\]\("start","(\w+)","([\w-]+)"\)', script)
        assert found is not None, script
        self.id, self.password = found.groups()
        self.greeting = script

    def ask(self, **params: str) -> str:
        response = self.ns.emulator.http.get(f"{self.ns.emulator.url}/.lp", params=params, timeout=TIMEOUT)
        assert response.status_code == 200, response.text
        return response.text

    def poll(self, **params: str) -> str:
        return self.ask(id=self.id, pw=self.password, ns=self.ns.name, **params)

    def send(self, message: Json) -> str:
        data = urlsafe_b64encode(dumps(message)).decode().replace("=", ".")
        number, self.segment = self.segment, self.segment + 1
        return self.poll(**{"seg0": str(number), "ts0": "1", "d0": data})


class TestPolling:
    def test_the_start_is_answered_with_a_command_and_the_handshake(self, ns: Namespace) -> None:
        greeting = Poller(ns).greeting
        assert greeting.index("pLPCommand7") < greeting.index('pRTLPCB7"](0,[{"t":"c","d":{"t":"h"')

    def test_answers_are_numbered_without_gaps(self, ns: Namespace) -> None:
        poller = Poller(ns)
        for number in range(1, 5):
            script = poller.send({"t": "d", "d": {"r": number, "a": "s", "b": {}}})
            assert f'pRTLPCB7"]({number},[{{"t":"d","d":{{"r":{number},' in script

    def test_a_poll_with_nothing_to_say_is_answered_empty_in_the_end(self, ns: Namespace) -> None:
        assert 'pRTLPCB7"](1,[])' in Poller(ns).poll()

    def test_segments_in_any_order_make_one_message(self, ns: Namespace) -> None:
        poller = Poller(ns)
        data = urlsafe_b64encode(dumps({"t": "d", "d": {"r": 1, "a": "p", "b": {"p": "/x", "d": "y"}}}))
        text = data.decode().replace("=", ".")
        half = len(text) // 2
        script = poller.poll(seg0="1", ts0="2", d0=text[half:], seg1="0", ts1="2", d1=text[:half])
        assert '"s":"ok"' in script
        assert ns.get("x") == "y"

    def test_an_unknown_session_is_refused(self, ns: Namespace) -> None:
        response = ns.emulator.http.get(f"{ns.emulator.url}/.lp", params={"id": "none", "pw": "x"}, timeout=TIMEOUT)
        assert response.status_code == 404

    def test_a_wrong_password_is_refused(self, ns: Namespace) -> None:
        poller = Poller(ns)
        params = {"id": poller.id, "pw": "x"}
        assert ns.emulator.http.get(f"{ns.emulator.url}/.lp", params=params, timeout=TIMEOUT).status_code == 404

    def test_the_disconnect_page_ends_the_session_with_a_beacon(self, ns: Namespace) -> None:
        poller = Poller(ns)
        poller.send({"t": "d", "d": {"r": 1, "a": "o", "b": {"p": "/gone", "d": True}}})
        assert "sendBeacon" in poller.poll(dframe="t")
        poller.poll(disconn="t")
        assert ns.get("gone") is True
        assert 'pLPCommand7"]("close"' in poller.poll()

    def test_a_session_that_does_not_poll_any_more_ends(self, start: Callable[..., EmulatorProcess]) -> None:
        ns = Namespace(start("--poll-timeout-seconds", "1", "--poll-hold-seconds", "0.05"), "silent")
        with ns.connect() as wire:
            wire.ok("q", {"p": "/gone", "h": ""})
            Poller(ns).send({"t": "d", "d": {"r": 1, "a": "o", "b": {"p": "/gone", "d": True}}})
            assert wire.push() == {"a": "d", "b": {"p": "gone", "d": True}}

    def test_a_session_that_is_cut_runs_its_disconnect_writes(self, ns: Namespace) -> None:
        poller = Poller(ns)
        poller.send({"t": "d", "d": {"r": 1, "a": "o", "b": {"p": "/gone", "d": True}}})
        assert ns.control("POST", "disconnect", {"ns": ns.name}) == {"cut": 1}
        assert ns.get("gone") is True
        assert 'pLPCommand7"]("close"' in poller.poll()

    def test_malformed_segments_are_a_clear_error(self, ns: Namespace) -> None:
        poller = Poller(ns)
        params = {"id": poller.id, "pw": poller.password, "seg0": "x", "ts0": "1", "d0": "!"}
        response = ns.emulator.http.get(f"{ns.emulator.url}/.lp", params=params, timeout=TIMEOUT)
        assert response.status_code == 400
