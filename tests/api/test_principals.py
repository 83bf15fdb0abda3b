"""Which claims make a principal."""

import pytest

from app.api.auth import TokenInvalid
from app.api.firebase_tokens import principal
from support.world import World


@pytest.mark.parametrize(
    "uid", ["x", "N3bTQ0dWf0Zl2oU5tE7m1r9aPq62", "auth0|5f7c8ec7", "a@b", "z" * 128, "ł" * 128, "_a"]
)
def test_a_user_id_is_opaque(uid: str) -> None:
    assert principal({"uid": uid}).uid == uid


@pytest.mark.parametrize(
    "uid",
    [
        None,
        "",
        5,
        "a/b",
        "bob/entries/000000000001",
        ".",
        "..",
        "a.b",
        "__x__",
        "a#b",
        "a$b",
        "a[0]",
        "a\n",
        "a\x7f",
        "z" * 129,
    ],
)
def test_a_user_id_that_cannot_be_a_path_is_refused(uid: object) -> None:
    """The paths of accounts, conversations and mirrors contain the user's id: it must not name another path."""
    with pytest.raises(TokenInvalid):
        principal({"uid": uid})


@pytest.mark.parametrize("uid", ["__x__", "a\n"])
def test_coming_online_under_such_an_id_opens_nothing(uid: str) -> None:
    """`__x__` is a key for the Realtime Database, but not for Firestore: its event would be repeated for a day."""
    world = World()
    world.system.credits.open_account(uid)
    assert world.documents.all() == {}
    world.system.credits.open_account("alice")
    assert "accounts/alice" in world.documents.all()
