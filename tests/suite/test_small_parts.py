"""Parts of the launcher that are functions of their arguments."""

from pathlib import Path

import pytest

from emulators.suite import cli, registry
from emulators.suite.environment import function_variables
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import REQUIREMENTS, Unable, pinned_requirement
from emulators.suite.places import UNREACHABLE_PORTS, WORKER_RANGES, Places, Ports
from emulators.suite.readiness import tail
from emulators.suite.schedules import period_s


class TestPorts:
    def test_the_defaults_are_firebases_and_api_mds(self) -> None:
        assert Ports.at(0) == Ports(hosting=5000, functions=5001, firestore=8080, database=9000, auth=9099)

    def test_one_offset_moves_all_of_them(self) -> None:
        assert {port - Ports().named()[name] for name, port in Ports.at(1000).named().items()} == {1000}

    def test_a_free_suite_never_gets_a_port_that_browsers_refuse(self) -> None:
        reachable = [o for o in registry.FREE_OFFSETS if not set(Ports.at(o).named().values()) & UNREACHABLE_PORTS]
        assert len(reachable) > WORKER_RANGES

    def test_an_offset_onto_a_refused_port_is_refused(self) -> None:
        with pytest.raises(Unable, match="10080"):
            registry.refuse_busy_ports(2000)

    def test_each_suite_has_folders_of_its_own(self) -> None:
        first, second = Places(0), Places(1000)
        assert first.data.name == "data"
        assert len({first.data, second.data, first.logs, second.logs, first.work, second.work}) == 6
        assert first.mark != second.mark


class TestSchedules:
    @pytest.mark.parametrize(
        ("schedule", "seconds"),
        [
            ("every 5 minutes", 300),
            ("every 1 minutes", 60),
            ("every minute", 60),
            ("every 30 seconds", 30),
            ("every 2 hours", 7200),
            ("every 24 hours", 86400),
            ("every day 03:00", 86400),
            ("*/10 * * * *", 600),
            ("* * * * *", 60),
            ("15 * * * *", 3600),
            ("0 */6 * * *", 21600),
            ("0 3 * * 1", 86400),
        ],
    )
    def test_period(self, schedule: str, seconds: int) -> None:
        assert period_s(schedule) == seconds


class TestExpectedFunctions:
    def test_every_decorated_function_counts_and_nothing_else(self, tmp_path: Path) -> None:
        main = tmp_path / "main.py"
        main.write_text(
            "@https_fn.on_request(memory=512)\ndef api(request): ...\n"
            "@triggers.with_retry\n@db_fn.on_value_created(reference='/a')\ndef created(event): ...\n"
            "def helper(): ...\n@cache\ndef _cached(): ...\n"
        )
        assert deployed_functions(main) == {"api", "created"}


class TestVariables:
    def test_a_test_suite_never_uses_the_users_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AI_PLATFORM_API_KEY", "costs money")
        assert function_variables(Ports(), users_own=False).simulates_models
        assert not function_variables(Ports(), users_own=True).simulates_models

    def test_the_users_key_goes_to_the_users_vendor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AI_PLATFORM_API_KEY", "mine")
        monkeypatch.setenv("AI_PLATFORM_BASE_URL", "https://models.example.com/v1")
        values = function_variables(Ports(), users_own=True).values
        assert values["AI_PLATFORM_BASE_URL"] == "https://models.example.com/v1"

    def test_without_a_key_a_forgotten_address_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AI_PLATFORM_API_KEY", raising=False)
        monkeypatch.setenv("AI_PLATFORM_BASE_URL", "https://models.example.com/v1")
        values = function_variables(Ports.at(1000), users_own=True).values
        assert values["AI_PLATFORM_BASE_URL"] == "http://127.0.0.1:5010/v1"

    def test_the_ledger_key_is_made_once(self) -> None:
        first = function_variables(Ports(), users_own=False).values["LEDGER_SIGNING_KEY"]
        assert function_variables(Ports(), users_own=False).values["LEDGER_SIGNING_KEY"] == first


class TestInstall:
    def test_uv_comes_from_the_lock_with_its_hashes(self) -> None:
        entry = pinned_requirement(REQUIREMENTS.read_text(), "uv")
        assert entry.startswith("uv==")
        assert "--hash=sha256:" in entry
        assert "\nuvicorn" not in entry

    def test_a_package_that_is_not_locked_is_named(self) -> None:
        with pytest.raises(Unable, match="make lock"):
            pinned_requirement("a==1\n", "uv")


class TestCommandLine:
    @pytest.mark.parametrize("wrong", ["-5", "x", "99999"])
    def test_a_wrong_offset_is_refused(self, wrong: str) -> None:
        with pytest.raises(SystemExit):
            cli.main(["run", "--port-offset", wrong])

    def test_stopping_what_does_not_run_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["stop", "--port-offset", "9876"]) == 1
        assert "No suite of this checkout runs" in capsys.readouterr().out


def test_a_log_is_shown_without_its_colours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\x1b[31mred\x1b[0m\n")
    assert tail(log) == "red"
