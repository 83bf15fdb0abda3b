"""Reads server-sent events, raw. Knows no test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests

from rtdb.harness import TIMEOUT, Namespace
from rtdb_emulator.json_text import Json, loads

SSE: Final = {"Accept": "text/event-stream"}
Event = tuple[str, Json]


class Stream:
    """The events of one stream."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self._lines = response.iter_lines(chunk_size=1)

    def next(self, *, keep_alives: bool = False) -> Event:
        while True:
            name = self._line().removeprefix(b"event: ").decode()
            data = self._line().removeprefix(b"data: ")
            assert self._line() == b""
            if name != "keep-alive" or keep_alives:
                return name, loads(data)

    def ends(self) -> bool:
        return next(self._lines, None) is None

    def _line(self) -> bytes:
        line = next(self._lines)
        assert isinstance(line, bytes)
        return line


@contextmanager
def stream(ns: Namespace, path: str, **params: str) -> Iterator[Stream]:
    url = f"{ns.emulator.url}/{path}.json"
    query = {"ns": ns.name, **params}
    with requests.get(url, params=query, headers=SSE, stream=True, timeout=TIMEOUT) as response:
        assert response.status_code == 200, response.text
        yield Stream(response)
