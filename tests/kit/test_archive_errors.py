"""What failures of Cloud Storage become: whoever keeps or reads an object waits for seconds and hears of an outage."""

from collections.abc import Callable

import pytest
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import RefreshError
from google.cloud.storage import Bucket
from google.cloud.storage.exceptions import DataCorruption

from app.kit.errors import Unavailable
from app.kit.stores.archive import Archive, CloudArchive


class Failing(Bucket):
    """A bucket, and each object in it, whose calls fail with `error`. Keeps how each call may be repeated."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls: list[tuple[object, object]] = []

    def blob(self, blob_name: str, *_: object, **__: object) -> "Failing":
        return self

    def upload_from_string(self, *_: object, retry: object = "default", timeout: object = None, **__: object) -> None:
        self.calls.append((retry, timeout))
        raise self.error

    download_as_bytes = upload_from_string


class OverIt(CloudArchive):
    """An archive in a given bucket."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__("demo", "bucket", on_emulator=False)
        self._bucket = bucket


CALLS: dict[str, Callable[[Archive], object]] = {
    "keep": lambda archive: archive.keep("a.json", b"{}"),
    "read": lambda archive: archive.read("a.json"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceUnavailable("x"),
        exceptions.RetryError("Timeout of 15.0s exceeded", None),
        RefreshError("metadata server"),
        DataCorruption(None, "Checksum mismatch"),
        ConnectionResetError(),
    ],
    ids=["refused", "in vain", "credentials", "corrupt", "network"],
)
def test_whatever_fails_on_the_way_is_an_outage(call: str, error: Exception) -> None:
    with pytest.raises(Unavailable):
        CALLS[call](OverIt(Failing(error)))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_repeated_for_no_longer_than_one_try_may_take(call: str) -> None:
    """By default the SDK goes on for two minutes: longer than a tick of the sweeper."""
    bucket = Failing(exceptions.ServiceUnavailable("x"))
    with pytest.raises(Unavailable):
        CALLS[call](OverIt(bucket))
    [(retry, timeout)] = bucket.calls
    assert isinstance(retry, Retry)
    assert retry.timeout == timeout == 15


def test_answers_of_the_object_are_no_outage() -> None:
    assert OverIt(Failing(exceptions.NotFound("x"))).read("a.json") is None
    assert OverIt(Failing(exceptions.PreconditionFailed("x"))).keep("a.json", b"{}") is False
