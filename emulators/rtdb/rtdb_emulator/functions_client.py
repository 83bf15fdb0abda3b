"""Posts events to the functions emulator. Owns the HTTP client; knows no triggers beyond their route."""

from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from rtdb_emulator.json_text import Json, dumps
from rtdb_emulator.triggers import Trigger, content_type

# The functions emulator starts a worker on demand and answers when the function has ended, which may take its whole
# timeout of nine minutes.
_TIMEOUT: Final = ClientTimeout(total=900, connect=10)


class FunctionsClient:
    """The functions emulator, if one is there."""

    def __init__(self, host: str | None, port: int | None) -> None:
        self._base = f"http://{host}:{port}" if host and port else None
        self._http: ClientSession | None = None

    async def post(self, trigger: Trigger, event: dict[str, Json]) -> int:
        """Send one event; the result is the HTTP status. Raises OSError when nobody answers."""
        if self._base is None:
            return 204
        if self._http is None:
            # A fresh connection per event: the functions emulator closes idle ones, and events are never retried.
            self._http = ClientSession(timeout=_TIMEOUT, connector=TCPConnector(force_close=True, limit=0))
        headers = {"Content-Type": content_type(trigger)}
        try:
            async with self._http.post(self._base + trigger.route, data=dumps(event), headers=headers) as response:
                await response.read()
                return response.status
        except (ClientError, TimeoutError) as error:
            raise OSError(f"no answer from {self._base}: {error!r}") from error

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
