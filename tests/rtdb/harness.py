"""Starts the emulator as a process of its own and talks to it in the raw: HTTP and WebSocket. Knows no test."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

import requests
from websockets.sync.client import ClientConnection, connect

from rtdb_emulator.json_text import Json, dumps, loads
from rtdb_emulator.wire import frames

ROOT: Final = Path(__file__).resolve().parents[2]
OWNER: Final = {"Authorization": "Bearer owner"}
TIMEOUT: Final = 30.0

Obj: TypeAlias = dict[str, Json]


class EmulatorProcess:
    """One running emulator."""

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        """Start it on a free port and return when the port is open."""
        self.log: list[str] = []
        self._logged = threading.Condition()
        command = [sys.executable, "-m", "rtdb_emulator", "--port", "0", "--log-level", "DEBUG", *options]
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "emulators/rtdb"), **(environment or {})}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ, cwd=ROOT)
        self.port = self._await_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.http = requests.Session()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _await_port(self) -> int:
        for line in self._lines():
            if "listening on" in line:
                return int(line.rsplit(":", 1)[1])
        raise AssertionError(f"the emulator stopped with {self.process.wait()}:\n" + "".join(self.log))

    def _lines(self) -> Iterator[str]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()
            yield line

    def _read_log(self) -> None:
        for _ in self._lines():
            pass

    def logged(self, *parts: str) -> str:
        """The first log line that contains all of these, waiting for it if need be."""

        def found() -> str | None:
            return next((line for line in self.log if all(part in line for part in parts)), None)

        with self._logged:
            assert self._logged.wait_for(found, TIMEOUT), f"no log line with {parts}"
            return found() or ""

    def kill(self) -> None:
        """As a crash would: no chance to say anything."""
        self.process.kill()
        self.process.wait(TIMEOUT)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; the result is the exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        """Leave nothing behind."""
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Namespace:
    """One namespace of a running emulator, over REST."""

    def __init__(self, emulator: EmulatorProcess, name: str) -> None:
        self.emulator = emulator
        self.name = name

    def request(
        self,
        method: str,
        path: str,
        body: "Json | bytes" = None,
        *,
        headers: Mapping[str, str] | None = None,
        **params: str,
    ) -> requests.Response:
        """One REST request; a body that is not bytes is sent as JSON, None as no body."""
        data = body if isinstance(body, bytes) or body is None else dumps(body)
        url = f"{self.emulator.url}/{path.strip('/')}.json"
        query = {"ns": self.name, **params}
        stream = "text/event-stream" in (headers or {}).get("Accept", "")
        return self.emulator.http.request(
            method, url, params=query, data=data, headers=headers, stream=stream, timeout=TIMEOUT
        )

    def get(self, path: str = "", **params: str) -> Json:
        """The value at a path, which must be readable by the owner."""
        response = self.request("GET", path, headers=OWNER, **params)
        assert response.status_code == 200, response.text
        return loads(response.content)

    def put(self, path: str, value: Json, **params: str) -> None:
        """Replace a value as the owner."""
        response = self.request("PUT", path, dumps(value), headers=OWNER, **params)
        assert response.status_code == 200, response.text

    def rules(self, rules: Json) -> None:
        """Upload rules."""
        text = rules if isinstance(rules, str) else dumps({"rules": rules}).decode()
        response = self.request("PUT", ".settings/rules", text.encode(), headers=OWNER)
        assert response.status_code == 200, response.text

    def connect(self, **params: str) -> "Wire":
        """A WebSocket client."""
        return Wire(self.emulator, {"ns": self.name, **params})

    def control(self, method: str, what: str, body: Json = None, **params: str) -> Obj:
        """A request to the test control API."""
        url = f"{self.emulator.url}/.control/{what}"
        response = self.emulator.http.request(method, url, params=params, data=dumps(body), headers=OWNER, timeout=60)
        assert response.status_code == 200, response.text
        answer = loads(response.content)
        assert isinstance(answer, dict)
        return answer

    def quiet(self) -> None:
        """Wait until no trigger delivery is pending."""
        self.control("GET", "idle", timeout="30")


class Wire:
    """A WebSocket client that sees every message."""

    def __init__(self, emulator: EmulatorProcess, params: Mapping[str, str]) -> None:
        query = "&".join(f"{key}={value}" for key, value in {"v": "5", **params}.items())
        self._open = ExitStack()
        url = f"ws://{emulator.host}/.ws?{query}"
        self.socket: ClientConnection = self._open.enter_context(
            connect(url, max_size=None, compression=None, open_timeout=TIMEOUT)
        )
        self.pushes: list[Obj] = []
        self._number = 0
        self.handshake = {} if "s" in params else self._expect_control("h")

    def request(self, action: str, body: Json) -> Obj:
        """Send a request; the result is its answer. Pushes that came before it are in `pushes`."""
        self.send_request(action, body)
        return self.answer()

    def ok(self, action: str, body: Json) -> Json:
        """A request that must succeed; the result is its data."""
        answer = self.request(action, body)
        assert answer["s"] == "ok", answer
        return answer["d"]

    def send_request(self, action: str, body: Json) -> int:
        self._number += 1
        self.send({"t": "d", "d": {"r": self._number, "a": action, "b": body}})
        return self._number

    def answer(self, number: int | None = None) -> Obj:
        """The next answer, which must be that of request `number` (default: the last one)."""
        while True:
            data = self.receive_data()
            if "r" in data:
                assert data["r"] == (number or self._number), data
                body = data["b"]
                assert isinstance(body, dict)
                return body
            self.pushes.append(data)

    def push(self) -> Obj:
        """The next push, the oldest first."""
        if self.pushes:
            return self.pushes.pop(0)
        data = self.receive_data()
        assert "a" in data, data
        return data

    def take_pushes(self) -> list[Obj]:
        """All pushes so far."""
        pushes, self.pushes = self.pushes, []
        return pushes

    def receive_data(self) -> Obj:
        message = self.receive()
        assert message["t"] == "d", message
        data = message["d"]
        assert isinstance(data, dict)
        return data

    def receive(self) -> Obj:
        """The next message, put together from its frames."""
        text = self.socket.recv(TIMEOUT)
        if len(text) <= 6 and text.isdigit():
            text = "".join(str(self.socket.recv(TIMEOUT)) for _ in range(int(text)))
        message = loads(text)
        assert isinstance(message, dict)
        return message

    def send(self, message: Json) -> None:
        for frame in frames(dumps(message)):
            self.socket.send(frame, text=True)

    def send_text(self, text: str) -> None:
        self.socket.send(text)

    def close(self) -> None:
        self._open.close()

    def abort(self) -> None:
        """As a crash of the client would: no closing handshake."""
        self.socket.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _expect_control(self, kind: str) -> Obj:
        message = self.receive()
        assert message["t"] == "c", message
        control = message["d"]
        assert isinstance(control, dict) and control["t"] == kind, message
        data = control["d"]
        assert isinstance(data, dict)
        return data
