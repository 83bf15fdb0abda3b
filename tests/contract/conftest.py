"""Both stores that the contracts are proved of."""

import secrets
from collections.abc import Iterator

import pytest

from app.kit.stores.documents import Documents
from support.memory import MemoryDocuments


@pytest.fixture(params=["memory", pytest.param("firestore", marks=pytest.mark.suite)])
def documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    """The one in memory, and Firestore on the suite, which asks for no index."""
    if request.param == "memory":
        yield MemoryDocuments(indexes=None)
        return
    request.getfixturevalue("suite")
    from app.kit.stores.firestore import connect

    yield connect("demo-credits")


@pytest.fixture
def place() -> str:
    """A collection of this test's own, so that runs on one emulator do not meet."""
    return f"contract/{secrets.token_hex(8)}/things"
