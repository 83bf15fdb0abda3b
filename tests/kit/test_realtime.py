"""What the adapter of the Realtime Database makes of errors that are not the database's own."""

from collections.abc import Callable

import firebase_admin
import pytest
from firebase_admin.credentials import Base
from google.auth import exceptions
from google.auth.credentials import Credentials

from app.kit.errors import Unavailable
from app.kit.realtime import FirebaseRealtime


class _NoToken(Credentials):
    """Credentials of an instance whose metadata server does not answer."""

    def refresh(self, _: object) -> None:
        raise exceptions.RefreshError("the metadata server does not answer")


class _Broken(Base):
    def get_credential(self) -> Credentials:
        return _NoToken()  # type: ignore[no-untyped-call]  # google.auth's base class has no types


@pytest.mark.parametrize(
    "call",
    [
        lambda realtime: realtime.get("a"),
        lambda realtime: realtime.first("a", 1),
        lambda realtime: realtime.update({"a": 1}),
        lambda realtime: realtime.transact("a", lambda _: 1),
    ],
    ids=["get", "first", "update", "transact"],
)
def test_a_token_that_cannot_be_had_is_a_fault(
    call: Callable[[FirebaseRealtime], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK lets these through as they are; the mirror and the triggers know faults only."""
    monkeypatch.delenv("FIREBASE_DATABASE_EMULATOR_HOST", raising=False)
    app = firebase_admin.initialize_app(_Broken(), {"databaseURL": "https://nobody.invalid"})
    try:
        with pytest.raises(Unavailable, match="metadata server"):
            call(FirebaseRealtime())
    finally:
        firebase_admin.delete_app(app)
