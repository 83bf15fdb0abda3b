"""`python -m app.chat.classify`: one line for each line, whatever stands in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
ANSWERED = {"task", "route", "confidence", "output_tokens_p50", "output_tokens_p90"}
PROGRAM = "import runpy, sys; runpy.run_module('app.chat.classify', run_name='__main__'); "
LOADED = PROGRAM + "print(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names, file=sys.stderr)"


def asked(source: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs Python without site-packages, so that nothing but the standard library can be imported."""
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, input=source, cwd=FUNCTIONS, capture_output=True, check=True, timeout=60)


def answers(source: bytes) -> list[dict[str, object]]:
    lines = asked(source, "-m", "app.chat.classify").stdout.split(b"\n")
    assert lines.pop() == b""
    return [json.loads(line) for line in lines]


def test_an_answer_has_the_promised_fields() -> None:
    (found,) = answers(json.dumps({"text": "Write a poem about rain", "has_image": False}).encode())
    assert set(found) >= ANSWERED
    assert (found["task"], found["route"], found["unsure"]) == ("writing", "quick", False)
    low, middle, high = (found[f"output_tokens_p{share}"] for share in (10, 50, 90))
    assert isinstance(low, int) and isinstance(middle, int) and isinstance(high, int)
    assert 1 <= low <= middle <= high


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"null", b"[]", b"42", b'"text"', b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b'{"has_image": true}',
        b'{"text": null}', b'{"text": 7}', b'{"text": "a", "has_image": "yes"}', b'{"text": "a", "has_image": 1}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_request_is_answered_in_its_place(line: bytes) -> None:
    good = b'{"text": "hello"}'
    before, between, after = answers(b"\n".join([good, line, good]))
    assert before == after
    assert set(between) >= ANSWERED
    assert (between["task"], between["route"], between["confidence"], between["unsure"]) == (None, None, 0.0, True)
    assert isinstance(between["error"], str)


@pytest.mark.parametrize(
    "line",
    [
        '{"text": ""}', '{"text": " \\n\\t"}', '{"text": "a\\ud800b"}', '{"text": "one\u2028two\u2029three\x85four"}',
        '{"text": "a\\u0000b"}', '{"text": "x", "has_image": null, "more": [1]}', '\ufeff{"text": "x"}',
        '{"text": "x"}\r', '{"text": "' + "word " * 200_000 + '"}', '{"text": "' + "字" * 300_000 + '"}',
    ],
)  # fmt: skip
def test_any_text_is_classified(line: str) -> None:
    (found,) = answers(line.encode() + b"\n")
    assert "error" not in found
    assert found["route"] in ("quick", "agent")


def test_no_lines_have_no_answers() -> None:
    assert answers(b"") == []


def test_nothing_but_the_standard_library_is_imported() -> None:
    loaded = asked(b'{"text": "hello"}\n', "-c", LOADED).stderr.decode().split()
    assert set(loaded) <= {"app", "__main__"}
