"""Both stores that the contracts are proved of."""

from collections.abc import Iterator

import pytest

from app.kit.documents import Documents
from support.memory import MemoryDocuments


@pytest.fixture(params=["memory", pytest.param("firestore", marks=pytest.mark.suite)])
def documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    """The one in memory, and Firestore on the suite."""
    if request.param == "memory":
        yield MemoryDocuments()
        return
    request.getfixturevalue("suite")
    from app.kit.firestore import connect

    yield connect("demo-credits")
