"""Alice with things of her own in both databases, and Mallory, who wants them."""

import pytest

from support.clients import OWNER, Rest, documents_of
from support.suite import RunningSuite, User


@pytest.fixture
def owner(suite: RunningSuite) -> Rest:
    """The servers: rules do not bind them."""
    return Rest(suite, OWNER, None)


@pytest.fixture
def alice(suite: RunningSuite, owner: Rest) -> User:
    """Someone who has a balance, a stream, a notification, an account and a conversation."""
    alice = suite.create_user()
    tree = {
        "balance": {"balance": "1000", "sequence": 1},
        "streams": {"msg_1": {"status": "running", "chunks": {"0000": "Hel"}}},
        "tasks": {"tsk_1": {"status": "running"}},
        "payments": {"pay_1": {"status": "pending"}},
        "notifications": {"ntf_1": {"title": "Welcome"}},
        "unread": 1,
    }
    assert owner.database("PUT", f"users/{alice.uid}", tree).ok
    assert owner.database("PUT", "system/status", {"status": "ok"}).ok
    assert owner.database("PUT", f"orchestration/queue/test/{alice.uid}", {"state": "ready"}).ok
    document = {"fields": {"balance": {"integerValue": "1000"}}}
    for path in documents_of(alice.uid):
        assert owner.firestore("PATCH", path, document).ok
    return alice


@pytest.fixture
def mallory(suite: RunningSuite) -> User:
    return suite.create_user()
