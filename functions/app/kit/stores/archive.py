"""Write-once objects in a Cloud Storage bucket. The SDK is imported at the first use."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from app.kit.errors import Unavailable

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

_TIMEOUT_S: Final = 15
"""For every request, and for its repeats together: the client's own go on for two minutes."""


class Archive(Protocol):
    """Keeps JSON under names, for ever. Each method raises `Unavailable` when the storage does not answer."""

    def keep(self, name: str, content: bytes) -> bool:
        """Stores `content` under a new name. A name that is taken stays as it is; then the answer is False."""
        ...

    def read(self, name: str) -> bytes | None:
        """What is kept under `name`; None when nothing is."""
        ...


class CloudArchive:
    """One bucket. Thread-safe."""

    def __init__(self, project: str, bucket: str, *, on_emulator: bool) -> None:
        self._project, self._name, self._on_emulator = project, bucket, on_emulator
        self._lock = threading.Lock()
        self._bucket: Bucket | None = None

    def keep(self, name: str, content: bytes) -> bool:
        """Stores JSON under `name`, unless there is an object of that name already.

        Raises:
            Unavailable: the storage did not take it. It may have, and its answer may be lost.
        """
        from google.api_core.exceptions import PreconditionFailed
        from google.cloud.storage.retry import DEFAULT_RETRY

        if self._on_emulator and self.read(name) is not None:
            # The emulator takes an upload over an object that its precondition forbids.
            return False
        try:
            with _translated(f"take {name}"):
                self._open().blob(name).upload_from_string(
                    content,
                    content_type="application/json",
                    if_generation_match=0,
                    timeout=_TIMEOUT_S,
                    retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_S),
                )
        except PreconditionFailed:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """The object of that name."""
        from google.api_core.exceptions import NotFound
        from google.cloud.storage.retry import DEFAULT_RETRY

        try:
            with _translated(f"give {name}"):
                blob, retry = self._open().blob(name), DEFAULT_RETRY.with_timeout(_TIMEOUT_S)
                return bytes(blob.download_as_bytes(timeout=_TIMEOUT_S, retry=retry))
        except NotFound:
            return None

    def _open(self) -> "Bucket":
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        with self._lock:
            if self._bucket is None:
                # The emulator takes no credentials; STORAGE_EMULATOR_HOST names it to the SDK.
                credentials = AnonymousCredentials() if self._on_emulator else None
                self._bucket = storage.Client(self._project, credentials=credentials).bucket(self._name)
            return self._bucket


@contextmanager
def _translated(wish: str) -> Iterator[None]:
    """Turns what the SDK raises into `Unavailable`, but for the two answers that say something of the object."""
    from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except (NotFound, PreconditionFailed):
        raise
    except (GoogleAPIError, GoogleAuthError, DataCorruption, OSError) as error:
        raise Unavailable(f"Cloud Storage did not {wish}: {error}") from error
