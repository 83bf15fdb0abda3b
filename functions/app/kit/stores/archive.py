"""Write-once objects in a Cloud Storage bucket. The SDK is imported at the first write."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from app.kit.errors import Unavailable

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

_TIMEOUT_S: Final = 15

Archive = Callable[[str, bytes], None]
"""Keeps JSON under a name, for ever. A name that is taken stays as it is. Raises `Unavailable`."""


class CloudArchive:
    """One bucket. Thread-safe."""

    def __init__(self, project: str, bucket: str, *, on_emulator: bool) -> None:
        self._project, self._name, self._on_emulator = project, bucket, on_emulator
        self._lock = threading.Lock()
        self._bucket: Bucket | None = None

    def __call__(self, name: str, content: bytes) -> None:
        """Stores JSON under `name`; an existing object is left as it is, so that a repeat is harmless.

        Raises:
            Unavailable: the storage did not take it.
        """
        from google.api_core import exceptions

        try:
            blob = self._open().blob(name)
            blob.upload_from_string(content, content_type="application/json", if_generation_match=0, timeout=_TIMEOUT_S)
        except exceptions.PreconditionFailed:
            return
        except (exceptions.GoogleAPICallError, OSError) as error:
            raise Unavailable(f"Cloud Storage did not take {name}: {error}") from error

    def _open(self) -> "Bucket":
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        with self._lock:
            if self._bucket is None:
                # The emulator takes no credentials; STORAGE_EMULATOR_HOST names it to the SDK.
                credentials = AnonymousCredentials() if self._on_emulator else None
                self._bucket = storage.Client(self._project, credentials=credentials).bucket(self._name)
            return self._bucket
