"""Write-once objects in a Cloud Storage bucket. The SDK is imported at the first use."""

import threading
from typing import TYPE_CHECKING, Final, Protocol

from app.kit.errors import Unavailable

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

_TIMEOUT_S: Final = 15


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
        from google.api_core import exceptions

        try:
            blob = self._open().blob(name)
            blob.upload_from_string(content, content_type="application/json", if_generation_match=0, timeout=_TIMEOUT_S)
        except exceptions.PreconditionFailed:
            return False
        except (exceptions.GoogleAPICallError, OSError) as error:
            raise Unavailable(f"Cloud Storage did not take {name}: {error}") from error
        return True

    def read(self, name: str) -> bytes | None:
        """The object of that name."""
        from google.api_core import exceptions

        try:
            return bytes(self._open().blob(name).download_as_bytes(timeout=_TIMEOUT_S))
        except exceptions.NotFound:
            return None
        except (exceptions.GoogleAPICallError, OSError) as error:
            raise Unavailable(f"Cloud Storage did not give {name}: {error}") from error

    def _open(self) -> "Bucket":
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        with self._lock:
            if self._bucket is None:
                # The emulator takes no credentials; STORAGE_EMULATOR_HOST names it to the SDK.
                credentials = AnonymousCredentials() if self._on_emulator else None
                self._bucket = storage.Client(self._project, credentials=credentials).bucket(self._name)
            return self._bucket
