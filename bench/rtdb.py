"""What the Realtime Database stand-in costs: `python bench/rtdb.py` prints every figure that its README quotes.

The server runs as a process of its own; the clients here are Python as well, on the same machine, so the figures are
floors. Takes about a minute. Exits with 1 when a figure is beyond its bound.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import psutil
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

ROOT: Final = Path(__file__).resolve().parents[1]
CONNECTIONS: Final = 50
LISTENERS: Final = 1_000
SIZES: Final = (1_000, 100_000, 1_000_000)
LEAST_WRITES_PER_S: Final = 2_000
MOST_FAN_OUT_MS: Final = 500
MOST_START_S: Final = 1
MOST_GROWTH: Final = 3
"""The most that a write among a million nodes may cost, in writes among a thousand; the difference is noise."""


@dataclass(frozen=True)
class Server:
    """A running emulator."""

    port: int
    process: psutil.Process
    started_in_s: float

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}.json?ns=bench"

    def memory_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A fresh emulator on a free port."""
    environment = {"PYTHONPATH": str(ROOT / "emulators/rtdb"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "rtdb_emulator", "--port", "0", *options]
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        port = next(int(line.rsplit(":", 1)[1]) for line in process.stderr if "listening on" in line)
        yield Server(port, psutil.Process(process.pid), time.perf_counter() - begin)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@asynccontextmanager
async def sockets(to: Server, count: int) -> AsyncIterator[list[ClientWebSocketResponse]]:
    """WebSocket clients after their handshakes."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        connected = []
        for _ in range(count):
            url = f"ws://127.0.0.1:{to.port}/.ws?v=5&ns=bench"
            one = await stack.enter_async_context(http.ws_connect(url, max_msg_size=0))
            await one.receive()
            connected.append(one)
        yield connected


def request(number: int, action: str, body: object) -> bytes:
    return orjson.dumps({"t": "d", "d": {"r": number, "a": action, "b": body}})


def put(number: int, path: str, data: object) -> bytes:
    return request(number, "p", {"p": path, "d": data})


async def write_many(to: ClientWebSocketResponse, where: str, count: int, in_flight: int) -> None:
    """`count` acknowledged writes, never more than `in_flight` unanswered."""
    sent = 0
    for acknowledged in range(count):
        while sent < count and sent - acknowledged < in_flight:
            sent += 1
            await to.send_frame(put(sent, f"/{where}/{sent % 100}", {"n": sent}), WSMsgType.TEXT)
        await to.receive()


async def writes_per_second(to: Server, clients: int, count: int, in_flight: int) -> float:
    async with sockets(to, clients) as connected:
        begin = time.perf_counter()
        await asyncio.gather(*(write_many(one, f"w{i}", count, in_flight) for i, one in enumerate(connected)))
        return clients * count / (time.perf_counter() - begin)


async def fan_out_ms(to: Server) -> float:
    """From sending one write to the moment when the last of many listeners has it; the median of ten."""
    async with sockets(to, LISTENERS + 1) as (writer, *listeners):
        for one in listeners:
            await one.send_frame(request(1, "q", {"p": "/news", "h": ""}), WSMsgType.TEXT)
            await one.receive()
        took = []
        for number in range(1, 11):
            begin = time.perf_counter()
            await writer.send_frame(put(number, "/news", {"headline": number}), WSMsgType.TEXT)
            await asyncio.gather(*(one.receive() for one in listeners))
            took.append(time.perf_counter() - begin)
            await writer.receive()
    return statistics.median(took) * 1000


async def load(to: Server, tree: object, path: str = "") -> tuple[float, float, int]:
    """Seconds to write and to read a tree over REST, and its size in bytes."""
    body = orjson.dumps(tree)
    async with ClientSession() as http:
        begin = time.perf_counter()
        async with http.put(to.url(path), data=body, params={"print": "silent"}) as response:
            assert response.status in (200, 204), await response.text()
        written = time.perf_counter()
        async with http.get(to.url(path)) as response:
            await response.read()
        return written - begin, time.perf_counter() - written, len(body)


def records(nodes: int) -> dict[str, object]:
    """A wide tree of that many nodes: records of an object with three leaves."""
    return {f"record-{i:07d}": {"name": f"name {i}", "n": i, "on": i % 2 == 0} for i in range(nodes // 4)}


async def write_cost_us(to: Server, nodes: int) -> tuple[float, float]:
    """Microseconds per acknowledged write of one leaf among so many, alone and with a `limitToLast` listener."""
    async with sockets(to, 1) as (writer,):
        alone = await _median_us(writer, nodes)
        query = {"i": "n", "l": 10, "vf": "r"}
        listen = request(0, "q", {"p": "/records", "q": query, "t": 1, "h": ""})
        await writer.send_frame(listen, WSMsgType.TEXT)
        await writer.receive()
        await writer.receive()
        return alone, await _median_us(writer, nodes)


async def _median_us(writer: ClientWebSocketResponse, nodes: int) -> float:
    took = []
    for number in range(1, 1_001):
        key = f"record-{(number * 7919) % (nodes // 4 - 20):07d}"
        begin = time.perf_counter()
        await writer.send_frame(put(number, f"/records/{key}/name", f"new {number}"), WSMsgType.TEXT)
        await writer.receive()
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1e6


class Table:
    """Prints figures and remembers which of them are beyond their bounds."""

    def __init__(self) -> None:
        self.beyond: list[str] = []

    def show(self, what: str, figure: str, *, is_good: bool = True) -> None:
        print(f"{what:<66} {figure:>16}", flush=True)
        if not is_good:
            self.beyond.append(what)


async def bench_start(table: Table) -> None:
    times = []
    for _ in range(5):
        with server() as one:
            times.append(one.started_in_s)
    median = statistics.median(times)
    table.show("start until the port is open", f"{median * 1000:.0f} ms", is_good=median < MOST_START_S)


async def bench_writes(table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kinds = [("in memory", ()), ("with a data file", ("--data", f"{folder}/data"))]
        for kind, options in kinds:
            with server(*options) as one:
                rate = await writes_per_second(one, 1, 4_000, 1)
                table.show(f"acknowledged writes, 1 socket, one after another, {kind}", f"{rate:,.0f} /s")
                rate = await writes_per_second(one, 1, 20_000, 100)
                table.show(f"acknowledged writes, 1 socket, 100 in flight, {kind}", f"{rate:,.0f} /s")
                rate = await writes_per_second(one, CONNECTIONS, 400, 1)
                what = f"acknowledged writes, {CONNECTIONS} sockets, {kind}"
                table.show(what, f"{rate:,.0f} /s", is_good=rate > LEAST_WRITES_PER_S)
        with server("--data", f"{folder}/synced", "--sync") as one:
            rate = await writes_per_second(one, CONNECTIONS, 100, 1)
            table.show(f"acknowledged writes, {CONNECTIONS} sockets, waiting for the disk", f"{rate:,.0f} /s")


async def bench_fan_out(table: Table) -> None:
    with server() as one:
        took = await fan_out_ms(one)
        what = f"one write to {LISTENERS:,} listeners, until the last has it"
        table.show(what, f"{took:.0f} ms", is_good=took < MOST_FAN_OUT_MS)


async def bench_load(table: Table) -> None:
    tree = {f"row-{i:06d}": {"text": "x" * 60, "n": i} for i in range(100_000)}
    with server() as one:
        written, read, size = await load(one, tree)
        table.show(f"load a tree of {size / 1e6:.1f} MB in one PUT", f"{written * 1000:.0f} ms")
        table.show("read it back in one GET", f"{read * 1000:.0f} ms")


async def bench_memory(table: Table) -> None:
    shapes: list[tuple[str, Callable[[], object]]] = [
        ("records of three leaves", lambda: records(100_000)),
        ("numbers under one parent", lambda: {f"k{i:06d}": i + 1000 for i in range(100_000)}),
    ]
    for shape, make in shapes:
        with server() as one:
            await load(one, {"warm": 1}, "warm")
            before = one.memory_mb()
            for part in range(10):
                await load(one, make(), f"big/part{part}")
            table.show(f"memory per 100,000 nodes, {shape}", f"{(one.memory_mb() - before) / 10:.1f} MB")


async def bench_write_cost(table: Table) -> None:
    first = 0.0
    for nodes in SIZES:
        with server() as one:
            await load(one, records(nodes), "records")
            alone, watched = await write_cost_us(one, nodes)
            first = first or alone
            what = f"one acknowledged write among {nodes:,} nodes"
            table.show(what, f"{alone:.0f} µs", is_good=alone < MOST_GROWTH * first)
            what = "  and with a limitToLast(10) listener on them"
            table.show(what, f"{watched:.0f} µs", is_good=watched < MOST_GROWTH * first)


BENCHES: Final[tuple[Callable[[Table], Coroutine[None, None, None]], ...]] = (
    bench_start,
    bench_writes,
    bench_fan_out,
    bench_load,
    bench_memory,
    bench_write_cost,
)


def main() -> int:
    table = Table()
    for bench in BENCHES:
        asyncio.run(bench(table))
    for what in table.beyond:
        print(f"beyond its bound: {what}", file=sys.stderr)
    return 1 if table.beyond else 0


if __name__ == "__main__":
    sys.exit(main())
