"""The control interface: launch and stop, namespaces, rules upload, import and export, as firebase-tools does it."""

import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtdb.harness import OWNER, ROOT, TIMEOUT, EmulatorProcess, Namespace
from rtdb_emulator import settings
from rtdb_emulator.json_text import Json

FIREBASE_TOOLS = (
    "--single_project_mode", "Warning", "--functions_emulator_host", "127.0.0.1", "--functions_emulator_port", "1",
)  # fmt: skip


class TestLaunch:
    """Start and stop, as firebase-tools does it."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_takes_the_options_of_firebase_tools_and_stops_on_a_signal(
        self, start: Callable[..., EmulatorProcess], number: signal.Signals
    ) -> None:
        emulator = start(*FIREBASE_TOOLS)
        Namespace(emulator, "x").put("a", 1)
        with Namespace(emulator, "x").connect():
            assert emulator.stop(number) in (0, 130)

    def test_options_may_come_from_the_environment(self, start: Callable[..., EmulatorProcess], tmp_path: Path) -> None:
        data = tmp_path / "data"
        emulator = start(
            RTDB_EMULATOR_CONTROL="1", RTDB_EMULATOR_KEEP_ALIVE_SECONDS="0.1", RTDB_EMULATOR_DATA=str(data)
        )
        ns = Namespace(emulator, "x")
        assert ns.control("GET", "state")["sessions"] == []
        assert data.exists()
        with ns.request("GET", "a", headers={"Accept": "text/event-stream"}) as response:
            lines = response.iter_lines(chunk_size=1)
            assert b"event: keep-alive" in itertools.islice(lines, 10)

    def test_the_control_api_is_off_by_default(self, start: Callable[..., EmulatorProcess]) -> None:
        emulator = start()
        response = emulator.http.get(f"{emulator.url}/.control/state", headers=OWNER, timeout=TIMEOUT)
        assert response.status_code == 404

    def test_a_port_that_is_taken_is_said_in_the_words_that_firebase_tools_looks_for(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            command = [sys.executable, "-m", "rtdb_emulator", "--port", port]
            environment = {"PYTHONPATH": str(ROOT / "emulators/rtdb")}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 1
        assert "address already in use" in done.stderr.lower()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("CONTROL", "maybe"), ("SYNC", "2"), ("LOG_LEVEL", "LOUD"), ("LOG_LEVEL", "")),
            *(("HEARTBEAT_SECONDS", word) for word in ("x", "0", "-1", "nan", "inf", "")),
            *(("PARALLEL_TRIGGERS", word) for word in ("-1", "1.5", "many")),
            *(("COMPACT_ABOVE", "4MB"), ("HEARTBEAT", "30"), ("DATAFILE", "x")),
        ],
    )
    def test_a_variable_that_is_wrong_is_named_in_one_sentence(
        self, name: str, value: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            settings.parse([], {f"RTDB_EMULATOR_{name}": value})
        said = capsys.readouterr().err
        assert (stopped.value.code, said.count("\n")) == (2, 1)
        assert f"RTDB_EMULATOR_{name} " in said

    @pytest.mark.parametrize("option", ["--log-level=LOUD", "--heartbeat-seconds=0", "--parallel-triggers=x"])
    def test_so_is_an_option(self, option: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            settings.parse([option], {})
        assert stopped.value.code == 2
        assert "should be" in capsys.readouterr().err

    @pytest.mark.parametrize("level", ["debug", "Warning", "CRITICAL"])
    def test_a_level_may_be_written_in_small_letters(self, level: str) -> None:
        assert settings.parse([], {"RTDB_EMULATOR_LOG_LEVEL": level}).log_level == level.upper()

    def test_an_unknown_option_is_refused(self) -> None:
        command = [sys.executable, "-m", "rtdb_emulator", "--nonsense"]
        done = subprocess.run(
            command, env={"PYTHONPATH": str(ROOT / "emulators/rtdb")}, capture_output=True, timeout=TIMEOUT
        )
        assert done.returncode == 2


class TestNamespaces:
    """Namespaces are made on the fly and share nothing."""

    def test_they_are_separate_and_made_on_the_fly(self, ns: Namespace) -> None:
        other = Namespace(ns.emulator, ns.name + "-default-rtdb")
        ns.put("a", 1)
        ns.rules({})
        assert other.get("a") is None
        assert other.request("GET", "a").status_code == 200

    def test_inspect_names_them(self, ns: Namespace) -> None:
        ns.put("a", 1)
        databases = ns.request("GET", ".inspect/databases", headers=OWNER).json()
        assert {"name": ns.name} in databases

    def test_a_name_that_is_none_is_refused(self, ns: Namespace) -> None:
        assert Namespace(ns.emulator, "x" * 300).request("GET", "a").status_code == 400


class TestOwnerOnly:
    """Control requests need the owner's credential."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", ".settings/rules"),
            ("PUT", ".settings/rules"),
            ("POST", ".settings/functionTriggers"),
            ("GET", ".inspect/databases"),
            ("GET", ".settings/nonsense"),
        ],
    )
    def test_nobody_else_may_use_it(self, ns: Namespace, method: str, path: str) -> None:
        assert ns.request(method, path, b"{}").status_code == 401

    def test_what_is_unknown_is_not_found(self, ns: Namespace) -> None:
        assert ns.request("GET", ".settings/nonsense", headers=OWNER).status_code == 404


class TestRulesUpload:
    """Rules are put up and read back; a namespace without any is open."""

    def test_new_namespaces_are_open(self, ns: Namespace) -> None:
        strict = ns.request("GET", ".settings/rules", headers=OWNER, format="strict").json()
        assert strict == {"rules": {".read": True, ".write": True}}

    def test_the_text_is_kept_as_it_was_sent(self, ns: Namespace) -> None:
        text = '// mine\n{"rules": { /* open */ ".read": "true\n  || false" }}\n'
        response = ns.request("PUT", ".settings/rules", text.encode(), headers=OWNER)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert ns.request("GET", ".settings/rules", headers=OWNER).text == text
        strict = ns.request("GET", ".settings/rules", headers=OWNER, format="strict").json()
        assert list(strict) == ["rules"] and ".read" in strict["rules"]

    @pytest.mark.parametrize("text", ["", "{", "nonsense", '{"rules": {".read": "nonsense"}}', '{"x": 1}', "[]"])
    def test_bad_rules_are_refused_with_their_place_and_the_old_ones_stay(self, ns: Namespace, text: str) -> None:
        ns.rules({".read": False})
        response = ns.request("PUT", ".settings/rules", text.encode(), headers=OWNER)
        assert response.status_code == 400
        line, column, _ = response.json()["error"].split(":", 2)
        assert line.isdigit() and column.strip().isdigit()
        assert ns.request("GET", "a").status_code == 401

    def test_text_that_is_no_json_is_called_a_parse_error(self, ns: Namespace) -> None:
        """@firebase/rules-unit-testing looks for these words."""
        response = ns.request("PUT", ".settings/rules", b"{]", headers=OWNER)
        assert "Parse error" in response.json()["error"]

    def test_text_that_is_no_utf_8_is_refused(self, ns: Namespace) -> None:
        assert ns.request("PUT", ".settings/rules", b"\xff{", headers=OWNER).status_code == 400

    def test_they_apply_at_once(self, ns: Namespace) -> None:
        ns.rules({"a": {".read": True}})
        assert ns.request("GET", "a").status_code == 200
        assert ns.request("GET", "b").status_code == 401


class TestImportAndExport:
    """In the order in which firebase-tools does it."""

    def test_a_round_trip(self, ns: Namespace) -> None:
        data: Json = {"a": {".priority": 1, "x": [1, 2]}, "b": {".value": "y", ".priority": "p"}}
        imported = ns.request("PUT", "", data, headers=OWNER, disableTriggers="true", writeSizeLimit="unlimited")
        assert imported.status_code == 200
        assert ns.get("", shallow="true", limitToFirst="1") == {"a": True}
        exported = ns.request("GET", "", headers=OWNER, format="export").json()
        assert exported == {"a": {".priority": 1, "x": {"0": 1, "1": 2}}, "b": {".value": "y", ".priority": "p"}}

    def test_an_empty_namespace(self, ns: Namespace) -> None:
        assert ns.request("PUT", "", b"null", headers=OWNER, disableTriggers="true").status_code == 200
        assert ns.get("", shallow="true", limitToFirst="1") is None
