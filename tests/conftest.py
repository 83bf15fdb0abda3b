"""The suite for every test that asks for it, started once per session and beside the tests that need none."""

import os
from collections.abc import Iterator

import pytest

from emulators.suite.chromium import find_chromium
from support.suite import RunningSuite, SuiteFailed, SuiteOfSession, User

_session = SuiteOfSession()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests with the suite share its workers and its vendor, so `--dist loadgroup` keeps them on one pytest worker.

    Marked here: by the time of `pytest_collection_modifyitems` xdist may have formed its groups already.
    """
    if "suite" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.suite)
        item.add_marker(pytest.mark.xdist_group("suite"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests without the suite come first, and the suite starts meanwhile."""
    _skip_without_chromium(items)
    items.sort(key=_needs_suite)
    if any(map(_needs_suite, items)) and not config.option.collectonly:
        _session.start()


def _needs_suite(item: pytest.Item) -> bool:
    return item.get_closest_marker("suite") is not None


def _skip_without_chromium(items: list[pytest.Item]) -> None:
    if find_chromium() is None:
        missing = pytest.mark.skip(reason="no Chromium: install it, or name one with CHROMIUM_PATH")
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(missing)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _session.stop()


@pytest.fixture(scope="session")
def suite() -> Iterator[RunningSuite]:
    """The running suite, with the environment that Google's client libraries read."""
    try:
        running = _session.wait()
    except SuiteFailed as failure:
        pytest.fail(str(failure), pytrace=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment().items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def user(suite: RunningSuite) -> User:
    """Someone new."""
    return suite.create_user()
