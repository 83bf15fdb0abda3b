"""The verification page in a browser, opened from a file as a user does, without a server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from emulators.suite.chromium import find_chromium
from support.credits_world import CreditsWorld
from support.tampering import honest

PAGE = Path(__file__).parents[2] / "web" / "public" / "verify.html"


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(PAGE.as_uri())
        yield page
        browser.close()


@pytest.mark.browser
def test_tells_true_from_false(page: Page, world: CreditsWorld, tmp_path: Path) -> None:
    """T-54"""
    export = honest(world, "alice")
    good, bad, keys, broken = (tmp_path / f"{name}.json" for name in ("good", "bad", "keys", "broken"))
    good.write_text(json.dumps(export, ensure_ascii=False), "utf-8")
    keys.write_text(json.dumps(world.credits.keys()))
    count = len(export["report"]["entries"])
    export["report"]["entries"][4]["balance_after"] += 1
    bad.write_text(json.dumps(export))
    broken.write_bytes(b"\xff{}")
    verdict = page.locator("#verdict")

    def choose(file: Path) -> None:
        page.locator("#keys").set_input_files(str(keys))
        page.locator("#export").set_input_files(str(file))

    choose(good)
    verdict.filter(has_text=f"Valid: {count} entries").wait_for()
    choose(bad)
    verdict.filter(has_text="NOT valid: hash does not hold at entry 5").wait_for()
    choose(broken)
    verdict.filter(has_text="Unreadable").wait_for()
