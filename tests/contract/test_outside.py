"""What stands outside, asked on the emulators: Auth as evidence for the bonus, Cloud Storage as an archive."""

import pytest
import requests

from app.kit.stores.archive import CloudArchive
from app.outside import firebase, firebase_identity
from support.suite import RunningSuite

pytestmark = pytest.mark.suite


@pytest.fixture
def admin(suite: RunningSuite) -> None:
    """firebase_admin's default app, on the suite's Auth emulator."""
    firebase(on_emulator=True)


@pytest.mark.usefixtures("admin")
class TestIdentities:
    def test_a_user_is_what_auth_says(self, suite: RunningSuite) -> None:
        user = suite.create_user()
        found = firebase_identity(user.uid)
        assert (found.provider, found.email_verified) == ("password", False)
        assert found.email is not None
        assert found.created_at_us > 1_600_000_000_000_000

    def test_nobody_has_no_address(self, suite: RunningSuite) -> None:
        assert firebase_identity("nobody-at-all").email is None


def test_the_archive_keeps_what_it_is_given(suite: RunningSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = f"http://127.0.0.1:{suite.ports.storage}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", origin)
    archive = CloudArchive("demo-credits", "demo-credits.appspot.com", on_emulator=True)
    assert archive.read("checkpoints/1.json") is None
    assert archive.keep("checkpoints/1.json", b'{"leaves":[]}')
    assert not archive.keep("checkpoints/1.json", b'{"leaves":[1]}'), "a name is kept once"
    assert archive.read("checkpoints/1.json") == b'{"leaves":[]}'
    path = f"{origin}/v0/b/demo-credits.appspot.com/o/checkpoints%2F1.json?alt=media"
    assert requests.get(path, headers={"Authorization": "Bearer owner"}, timeout=10).json() == {"leaves": []}
    assert requests.get(path, timeout=10).status_code == 403, "a client may not read it"
