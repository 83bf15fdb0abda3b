"""The suite for every test that asks for it, started once per session and beside the tests that need none."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from emulators.suite.chromium import find_chromium
from support.scheduling import SuiteOnOneWorker
from support.suite import RunningSuite, SuiteFailed, SuiteOfSession, User

_session = SuiteOfSession()
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
"""No test fails because the machine is busy; its own settings may still ask for more."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Who asks for the suite, directly or not, carries its mark: `-m "not suite"` leaves them out."""
    if "suite" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.suite)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests without the suite come first, and the suite starts meanwhile."""
    _skip_without_chromium(items)
    items.sort(key=_needs_suite)
    needing = [item.nodeid for item in items if _needs_suite(item)]
    if needing and not config.option.collectonly:
        _session.start(needing)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer | None) -> SuiteOnOneWorker:
    return SuiteOnOneWorker(config, log, _session.needing)


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


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that silences or redirects the logs leaves them as it found them for the next one of its process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


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
