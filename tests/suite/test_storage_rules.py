"""The storage-rules stand-in: its conversation with firebase-tools, and its refusal to pretend."""

import io
import json
import subprocess
import sys

import pytest

from emulators.storage_rules.runtime import answer, serve
from emulators.suite.install import ROOT


def _load(content: str) -> list[object]:
    reply = answer({"id": 7, "action": "load_ruleset", "context": {"source": {"files": [{"content": content}]}}})
    assert reply["id"] == 7
    assert reply["status"] == "ok"
    errors = reply["errors"]
    assert isinstance(errors, list)
    return errors


class TestLoading:
    def test_our_own_rules_load(self) -> None:
        assert _load((ROOT / "storage.rules").read_text()) == []

    @pytest.mark.parametrize(
        "rule",
        [
            "allow read;",
            "allow read, write: if true;",
            "allow get: if request.auth != null;",
            "allow write: if request.auth.uid == uid && false;",
        ],
    )
    def test_rules_that_let_anyone_in_are_refused(self, rule: str) -> None:
        (error,) = _load(f"service firebase.storage {{ match /b/{{b}}/o {{ {rule} }} }}")
        assert "only denies" in str(error)

    def test_a_comment_is_not_a_rule(self) -> None:
        assert _load("// allow read: if true;\n/* allow write; */ allow read: if false;") == []


class TestConversation:
    def test_it_announces_itself_then_denies(self) -> None:
        answers = io.StringIO()
        serve(io.StringIO('\n{"id": 1, "action": "verify", "context": {}}\n'), answers)
        announced, denied = map(json.loads, answers.getvalue().splitlines())
        assert announced["id"] == -1
        assert denied == {"id": 1, "status": "ok", "errors": [], "warnings": [], "result": {"permit": False}}

    def test_an_unknown_action_is_answered_with_an_array_of_errors(self) -> None:
        reply = answer({"id": 3, "action": "dance"})
        assert reply["errors"] == ["the storage-rules stand-in does not know the action 'dance'"]

    def test_it_stops_when_its_input_ends(self) -> None:
        command = [sys.executable, "-m", "emulators.storage_rules", "serve"]
        done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(done.stdout)["id"] == -1
