"""What the tests of the whole path stand on: people, the suite's model vendor, and one more instance of the app."""

import uuid
from collections.abc import Iterator

import pytest

from app.outside import RealPorts
from e2e.documents import Documents
from e2e.person import Person
from emulators.suite.environment import function_variables
from support.suite import RunningSuite, User
from support.vendor import Vendor


@pytest.fixture
def person(suite: RunningSuite, user: User) -> Person:
    """Someone new."""
    return Person(suite, user)


@pytest.fixture
def other(suite: RunningSuite) -> Person:
    """Someone else."""
    return Person(suite, suite.create_user())


@pytest.fixture
def vendor(suite: RunningSuite) -> Iterator[Vendor]:
    """The simulator behind the suite; what a test arranged and did not use up is forgotten."""
    vendor = Vendor(f"{suite.models}/v1")
    vendor.reset()
    yield vendor
    vendor.reset()


@pytest.fixture
def hurried(vendor: Vendor, person: Person) -> Person:
    """Someone whom the vendor answers without delays, for tests in which time plays no part."""
    vendor.arrange("first-token-ms=0,tokens-per-second=max", times=None)
    return person


@pytest.fixture
def documents(suite: RunningSuite) -> Documents:
    """Firestore without any of the app's code."""
    return Documents(suite)


@pytest.fixture
def mark() -> str:
    """A word that stands in one message only, so that a fault can be arranged for it."""
    return f"ref{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def ports(suite: RunningSuite) -> RealPorts:
    """Ports of one more instance of the backend on the suite: settings, key and stores as a worker has them."""
    variables = function_variables(suite.ports, users_own=False).values
    return RealPorts({**variables, **suite.environment(), "FUNCTIONS_EMULATOR": "true"})
