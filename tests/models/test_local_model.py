"""A real llama.cpp serving a real (very small) model, asked through the gateway and paid for."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.chat.attempt import Over, Text
from app.models.faults import PromptTooLong
from emulators.local_model import installation
from emulators.suite.install import ROOT
from support.chat_world import ChatWorld, read_texts
from support.vendor import Vendor

READY_S = 120


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Its base URL."""
    installation.install()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        installation.command(port),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    pytest.fail(f"the local model does not answer (exit code {process.poll()})")


@pytest.fixture
def world(address: str, vendor: Vendor, tmp_path: Path) -> ChatWorld:
    """A backend as `make run MODEL=local` configures it, beside the simulator."""
    return _backend(address, vendor, tmp_path / "catalogue.toml")


def _backend(address: str, vendor: Vendor, book: Path, *, context: str = "4_096") -> ChatWorld:
    installation.write_book(book)
    # Short answers: a busy machine writes a few tokens a second.
    short = book.read_text().replace("max_output_tokens = 512", "max_output_tokens = 40")
    book.write_text(short.replace("context_tokens = 4_096", f"context_tokens = {context}"))
    world = ChatWorld(vendor, silence_s=60)
    world.ports.variables.update(MODEL_CATALOGUE=str(book), LLAMACPP_BASE_URL=address)
    return ChatWorld(vendor, silence_s=60, money=world.money)


def _price(world: ChatWorld, over: Over) -> int:
    """By the book: micro-credits for a million tokens of each kind, rounded up."""
    prices = world.catalogue.get("local").prices
    owed = sum(price * over.end.usage.get(kind, 0) for kind, price in prices.items())
    return -(-owed // 1_000_000)


def test_a_whole_answer_is_charged_by_the_servers_own_count(world: ChatWorld) -> None:
    over = world.ask(world.conversation(model="local"), "Name three colours.").over()
    assert (over.end.state, over.end.estimated, world.only_turn().model) == ("done", False, "local")
    assert over.end.answer
    assert over.end.cost == _price(world, over) == -world.charges()[0].amount
    # The chat template is counted too, and nobody sent it.
    assert sum(over.end.usage.values()) - over.end.usage["output"] > 20
    assert world.reserved() == 0


def test_its_answer_arrives_piece_by_piece(world: ChatWorld) -> None:
    events = list(world.ask(world.conversation(model="local"), "Count from one to ten.").events)
    pieces = [event.text for event in events if isinstance(event, Text)]
    assert len(pieces) > 3
    assert isinstance(over := events[-1], Over)
    assert "".join(pieces) == over.end.answer


def test_a_prompt_that_it_has_seen_is_charged_as_cached(world: ChatWorld) -> None:
    """T-14: llama.cpp counts what it kept in `prompt_tokens_details`."""
    conversation = world.conversation(model="local")
    world.answered(conversation, "Say yes.")
    over = world.answered(conversation, "Say no.")
    assert over.end.usage.get("cached_input", 0) > 0
    assert over.end.cost == _price(world, over)


def test_a_cancel_hangs_up_and_charges_what_came(world: ChatWorld) -> None:
    """T-30."""
    answer = world.ask(world.conversation(model="local"), "Tell me a very long story about the sea.")
    read_texts(answer, 3)
    world.chat.cancel("alice", world.only_turn().id)
    over = answer.over()
    assert (over.end.finish_reason, over.end.reason) == ("cancelled", "cancelled_partial")
    assert -world.charges()[0].amount == over.end.cost > 0
    assert world.reserved() == 0


def test_at_its_limit_an_answer_says_so(world: ChatWorld) -> None:
    """T-29."""
    over = world.ask(world.conversation(model="local"), "Tell me a very long story.", max_cost=1_500).over()
    assert over.end.finish_reason in ("budget", "length")
    assert 0 < over.end.cost <= 1_500


def test_a_prompt_that_the_server_finds_too_long_is_refused_and_free(
    address: str, vendor: Vendor, tmp_path: Path
) -> None:
    """T-109: `exceed_context_size_error` under a code that is a number, of a model whose entry promises too much."""
    world = _backend(address, vendor, tmp_path / "catalogue.toml", context="64_000")
    with pytest.raises(PromptTooLong):
        world.ask(world.conversation(model="local"), "word " * 9_000).over()
    assert world.charges() == []
    assert world.reserved() == 0
