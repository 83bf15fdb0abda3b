"""What our api adds to an answer: against the same vendor called directly, at 1, 8 and 32 streams at once.

    python bench/overhead.py [--messages 40]

Each message goes to an existing conversation of a user of its own and is reserved for, streamed, mirrored and settled.
Direct and through the api take turns, so that a busy machine slows both. Load comes from this process, and everything
shares the machine's cores. Fails when the median added before the first text at 1 stream is above the bound.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from bench import _stage  # noqa: E402 - run as a file, the root is not on the path before

BOUND_MS: Final = 20
LEVELS: Final = (1, 8, 32)
PACE: Final = ("--first-token-ms", "50", "--tokens-per-second", "150")
QUESTION: Final = "What is a ledger?"
_PHASES: Final = ("read", "reserve", "vendor", "first_text", "stream", "settle")


@dataclass(frozen=True)
class Sample:
    """Seconds from sending the request: to the first event, the first text, the end."""

    begun: float
    first: float
    total: float


@dataclass(frozen=True)
class Seat:
    """A conversation that waits for its message."""

    url: str
    headers: Mapping[str, str]


Send = Callable[[aiohttp.ClientSession, int], Awaitable[Sample]]


def main() -> int:
    """Measures, prints, and returns 1 when the bound does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=40, help="per level, at least two for each stream")
    parser.add_argument("--no-suite", action="store_true", help="skip the pass through the functions emulator")
    options = parser.parse_args()
    with _stage.stores() as stores:
        with _stage.vendor(*PACE) as vendor, _stage.api(stores.environment(vendor)) as api:
            added = asyncio.run(_latency(stores, api, vendor, options.messages))
        with _stage.vendor("--fast") as vendor, _stage.api(stores.environment(vendor)) as api:
            asyncio.run(_throughput(stores, api, options.messages))
        if not options.no_suite:
            asyncio.run(_through_the_suite(stores))
    print(f"\nmedian added before the first text at 1 stream: {added:.1f} ms (bound {BOUND_MS} ms)")
    return 0 if added <= BOUND_MS else 1


async def _latency(stores: _stage.Stores, api: _stage.Api, vendor: str, messages: int) -> float:
    print(f"vendor paced: {' '.join(PACE)}; medians (95th percentile) in ms\n")
    print(f"{'streams':>7} {'':10}{'first text':>20}{'whole answer':>20}{'added first':>13}{'added whole':>13}")
    added: dict[int, float] = {}
    async with _session() as session:
        await _warm(session, stores, api.url)
        for level in LEVELS:
            count = max(messages, 2 * level)
            known = len(api.turns())
            seats = await _seats(session, stores, api.url, count)
            direct, ours = await _in_turns(session, level, count, _directly(vendor), _through(seats))
            added[level] = _row(level, direct, ours)
            if level == 1:
                stopwatch, begun = api.turns()[known:], ours
        alone = [await _public(session, api) for _ in range(messages)]
    _shares(stopwatch, begun, alone)
    return added[1]


async def _in_turns(
    session: aiohttp.ClientSession, level: int, count: int, one: Send, other: Send
) -> tuple[list[Sample], list[Sample]]:
    """Rounds of `level` at once, first the one way, then the other."""
    direct: list[Sample] = []
    ours: list[Sample] = []
    for start in range(0, count, level):
        numbers = range(start, min(start + level, count))
        direct += await asyncio.gather(*(one(session, number) for number in numbers))
        ours += await asyncio.gather(*(other(session, number) for number in numbers))
    return direct, ours


def _row(level: int, direct: Sequence[Sample], ours: Sequence[Sample]) -> float:
    first = [_median([s.first for s in found]) for found in (direct, ours)]
    total = [_median([s.total for s in found]) for found in (direct, ours)]
    for name, found in (("direct", direct), ("api", ours)):
        print(f"{level if found is direct else '':>7} {name:10}", end="")
        print(f"{_spread([s.first for s in found])}{_spread([s.total for s in found])}", end="")
        print("" if found is direct else f"{first[1] - first[0]:>13.1f}{total[1] - total[0]:>13.1f}")
    return first[1] - first[0]


async def _public(session: aiohttp.ClientSession, api: _stage.Api) -> float:
    """Seconds of a route that needs neither a user nor a database: server, framework and routing alone."""
    began = time.perf_counter()
    async with session.get(f"{api.url}/v1/monitoring/info") as answer:
        await answer.read()
    return time.perf_counter() - began


def _shares(turns: Sequence[Mapping[str, int]], ours: Sequence[Sample], alone: Sequence[float]) -> None:
    """The shares of the time until the first text: the phases that the function measured, and the rest."""
    print(f"\nphases of a message at 1 stream, medians in ms (n = {len(turns)})")
    inside = {phase: _median([turn.get(phase, 0) / 1e6 for turn in turns]) for phase in _PHASES}
    begun = _median([sample.begun for sample in ours])
    around = begun - inside["read"] - inside["reserve"]
    print(f"  {'connect, server, routing (a public route)':42}{_median(alone):8.1f}")
    print(f"  {'token, body, first byte back':42}{around - _median(alone):8.1f}")
    words = {
        "read": "read the conversation",
        "reserve": "quote, reserve, record the turn",
        "vendor": "ask the vendor until it answers",
        "first_text": "vendor until the first text",
        "stream": "stream the rest",
        "settle": "settle, record the answer",
    }
    for phase, word in words.items():
        print(f"  {word:42}{inside[phase]:8.1f}")


async def _throughput(stores: _stage.Stores, api: _stage.Api, messages: int) -> None:
    print("\nvendor without delays: what an answer costs the api's process")
    print(f"{'streams':>7}{'answers/s':>12}{'CPU/answer':>13}{'answers/s per core':>20}{'memory':>10}")
    async with _session() as session:
        await _warm(session, stores, api.url)
        for level in LEVELS:
            count = max(3 * messages, 4 * level)
            send = _through(await _seats(session, stores, api.url, count))
            cpu, began = api.cpu_s(), time.perf_counter()
            await _streams(session, level, count, send)
            took, used = time.perf_counter() - began, (api.cpu_s() - cpu) / count
            print(f"{level:>7}{count / took:>12.0f}{used * 1000:>10.1f} ms{1 / used:>20.0f}{api.memory_mb():>7.0f} MB")


async def _streams(session: aiohttp.ClientSession, level: int, count: int, send: Send) -> None:
    waiting = iter(range(count))

    async def one_after_another() -> None:
        for number in waiting:
            await send(session, number)

    await asyncio.gather(*(one_after_another() for _ in range(level)))


async def _through_the_suite(stores: _stage.Stores) -> None:
    url = f"http://127.0.0.1:{stores.ports['functions']}/demo-credits/us-central1/api"
    async with _session() as session:
        seats = await _seats(session, stores, url, 6, "demo-credits")
        samples = [await _through(seats)(session, number) for number in range(6)][1:]
    print("\nthrough the functions emulator, with triggers, its own vendor's pace, 1 stream (ms)")
    print(f"  first text {_spread([s.first for s in samples])}   whole answer {_spread([s.total for s in samples])}")


def _session() -> aiohttp.ClientSession:
    # A connection per request on both sides: gunicorn ends idle ones after two seconds.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120))


async def _warm(session: aiohttp.ClientSession, stores: _stage.Stores, url: str) -> None:
    await _streams(session, 4, 24, _through(await _seats(session, stores, url, 24)))


async def _seats(
    session: aiohttp.ClientSession, stores: _stage.Stores, url: str, count: int, project: str = _stage.PROJECT
) -> list[Seat]:
    tokens = [stores.sign_up(uuid.uuid4().hex[:28], project) for _ in range(count)]
    return [await _seat(session, url, token) for token in tokens]


async def _seat(session: aiohttp.ClientSession, url: str, token: str) -> Seat:
    headers = {"Authorization": f"Bearer {token}"}
    conversations = f"{url}/v1/chat/conversations"
    async with session.post(conversations, json={"model": "small"}, headers=headers) as answer:
        answer.raise_for_status()
        id = (await answer.json())["id"]
    async with session.get(f"{url}/v1/credits/balance", headers=headers) as balance:
        balance.raise_for_status()
    return Seat(f"{conversations}/{id}/messages", {**headers, "Accept": "text/event-stream"})


def _directly(vendor: str) -> Send:
    body = {
        "model": "sim-small",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 16_384,
    }

    async def send(session: aiohttp.ClientSession, _: int) -> Sample:
        request = session.post(f"{vendor}/chat/completions", json=body, headers={"Authorization": "Bearer bench"})
        return await _timed(request, b'"content":"', skip=1)

    return send


def _through(seats: Sequence[Seat]) -> Send:
    async def send(session: aiohttp.ClientSession, number: int) -> Sample:
        seat = seats[number]
        return await _timed(session.post(seat.url, json={"content": QUESTION}, headers=seat.headers), b"event: delta")

    return send


async def _timed(request: "aiohttp.client._RequestContextManager", marks_text: bytes, *, skip: int = 0) -> Sample:
    """Times one stream. The first `skip` marks are no text: a vendor's first chunk has the role and an empty text."""
    began, begun, first, seen = time.perf_counter(), 0.0, 0.0, b""
    async with request as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_any():
            now = time.perf_counter() - began
            begun = begun or now
            if not first:
                seen += chunk
                first = now if seen.count(marks_text) > skip else 0.0
            last = chunk[-2_000:]
    if not first or (b"event: done" not in last and b"[DONE]" not in last and b'"done"' not in seen + last):
        raise SystemExit(f"an answer broke: {(seen + last)[-400:]!r}")
    return Sample(begun, first, time.perf_counter() - began)


def _median(values: Sequence[float]) -> float:
    """In milliseconds."""
    return statistics.median(values) * 1000


def _spread(values: Sequence[float]) -> str:
    high = sorted(values)[min(len(values) - 1, int(len(values) * 0.95))] * 1000
    return f"{_median(values):>12.1f} ({high:5.0f})"


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    raise SystemExit(main())
