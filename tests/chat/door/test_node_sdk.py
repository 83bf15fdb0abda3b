"""OpenAI's Node SDK against our door, over the wire. It puts chunks together, retries and cancels in its own way."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from app.kit.money import from_decimal
from chat.door.served import Served

ROOT: Final = Path(__file__).parents[3]
SCENES: Final = Path(__file__).with_name("node_sdk.mjs")

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (ROOT / "node_modules/openai").is_dir(),
    reason="needs node and node_modules/openai (npm ci)",
)


def play(door: Served, scene: str, picture: str = "") -> Any:
    """What the SDK made of a scene."""
    environment = {**os.environ, "BASE_URL": door.base_url, "KEY": door.key(), "PICTURE": picture}
    done = subprocess.run(
        ["node", str(SCENES), scene], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def charged(usage: Any) -> list[tuple[str, str]]:
    return [(usage["transaction_id"], f"-{usage['cost']}")]


def text_of(chunks: list[Any]) -> str:
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"])


def test_an_answer_is_whole_and_says_what_it_cost(door: Served) -> None:
    answer = play(door, "whole")
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert door.charges() == charged(answer["usage"])


def test_a_stream_has_the_same_text_and_its_cost_in_the_last_chunk(door: Served) -> None:
    whole, chunks = play(door, "whole"), play(door, "streamed")
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert door.charges()[:1] == charged(chunks[-1]["usage"])


def test_its_helper_for_streams_puts_the_answer_together(door: Served) -> None:
    answer = play(door, "helper")
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_its_runner_of_tools_calls_them_and_has_an_answer(door: Served) -> None:
    ran = play(door, "tools")
    assert ran["asked"] == ["Paris", "London"]
    assert "clear over Paris" in ran["text"]
    assert len(door.charges()) == 2


def test_pictures_are_seen(door: Served) -> None:
    assert play(door, "vision", door.vendor.picture())["usage"]["prompt_tokens"] > 80


def test_models_are_listed(door: Served) -> None:
    assert play(door, "models") == ["small", "large", "vision", "reasoning"]


def test_refusals_are_the_errors_that_it_knows(door: Served) -> None:
    assert play(door, "refusals") == [
        {"kind": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"},
        {"kind": "BadRequestError", "status": 400, "code": "invalid_value", "param": "n"},
        {"kind": "BadRequestError", "status": 400, "code": "unsupported_parameter", "param": "nonsense"},
        {"kind": "AuthenticationError", "status": 401, "code": "invalid_api_key", "param": None},
    ]
    assert (door.vendor.requests(), door.charges()) == ([], [])


def test_a_vendor_that_fails_is_tried_again_and_paid_once(door: Served) -> None:
    door.vendor.arrange("status=429,retry-after=3", times=1, model="sim-small")
    door.vendor.arrange("status=500", times=1, model="sim-large")
    assert play(door, "retried")["choices"][0]["finish_reason"] == "stop"
    assert door.paths.count("/v1/openai/chat/completions") == 2
    assert len(door.charges()) == 1


def test_a_stream_that_breaks_is_an_error_and_free(door: Served) -> None:
    door.vendor.arrange("disconnect-after=3")
    broken = play(door, "broken")
    assert (broken["kind"], broken["code"]) == ("APIError", "model_broke")
    assert (door.charges(), door.held(), door.kept()) == ([], "0", [])


def test_a_stream_that_is_cancelled_costs_what_came_of_it(door: Served) -> None:
    door.vendor.arrange("tokens-per-second=40")
    assert play(door, "cancelled")
    for _ in range(400):
        if door.charges():
            break
        threading.Event().wait(0.05)
    [(_, amount)] = door.charges()
    assert from_decimal(amount) < 0
    assert (door.held(), door.kept()) == ("0", [])
