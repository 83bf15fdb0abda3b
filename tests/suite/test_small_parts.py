"""Parts of the launcher that are functions of their arguments."""

import re
from pathlib import Path

import pytest

from app.models.catalogue import parse
from emulators.local_model.installation import write_book
from emulators.suite import cli, registry
from emulators.suite.environment import function_variables
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import REQUIREMENTS, ROOT, Unable, pinned_requirement
from emulators.suite.places import FIRST_WORKER_PORT, LARGEST_OFFSET, WORKER_RANGES, Places, Ports
from emulators.suite.readiness import tail
from emulators.suite.schedules import period_s


class TestPorts:
    def test_the_defaults_are_firebases_and_api_mds(self) -> None:
        assert Ports.at(0) == Ports(hosting=5000, functions=5001, firestore=8080, database=9000, auth=9099)

    def test_one_offset_moves_all_of_them(self) -> None:
        assert {port - Ports().named()[name] for name, port in Ports.at(1000).named().items()} == {1000}

    def test_a_free_suite_never_gets_a_port_that_browsers_refuse(self) -> None:
        reachable = [offset for offset in registry.FREE_OFFSETS if not Ports.at(offset).unreachable()]
        assert len(reachable) > WORKER_RANGES

    @pytest.mark.parametrize(("offset", "service", "port"), [(1000, "hosting", 6000), (2000, "firestore", 10080)])
    def test_an_offset_onto_a_refused_port_is_refused_and_others_are_named(
        self, offset: int, service: str, port: int
    ) -> None:
        with pytest.raises(
            Unable, match=rf"puts {service} on port {port}, .* for example (\d+), (\d+) or (\d+)\."
        ) as refused:
            registry.refuse_busy_ports(offset)
        named = [int(number) for number in re.findall(r"\d+", str(refused.value).partition("for example")[2])]
        assert all(abs(each - offset) <= 1000 for each in named)
        for each in named:
            registry.refuse_busy_ports(each)

    def test_each_offset_that_is_offered_can_be_used_beside_the_default(self) -> None:
        offered = list(registry.working_offsets(near=0))
        assert len(offered) > 20
        for ports in map(Ports.at, offered):
            assert not ports.unreachable()
            assert not ports.overlap(Ports())
            assert max(ports.named().values()) < FIRST_WORKER_PORT

    def test_the_largest_offset_stays_below_the_ports_of_the_workers(self) -> None:
        assert max(Ports.at(LARGEST_OFFSET).named().values()) < FIRST_WORKER_PORT

    @pytest.mark.parametrize("file", ["README.md", "emulators/README.md", "Makefile"])
    def test_each_offset_in_the_documentation_works_beside_the_default(self, file: str) -> None:
        examples = re.findall(r"(?:PORT_OFFSET=|SUITE_OFFSET=|--port-offset )(\d+)", (ROOT / file).read_text())
        assert examples
        for ports in (Ports.at(int(example)) for example in examples):
            assert not ports.unreachable()
            assert not ports.overlap(Ports())

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

    def test_the_local_model_joins_the_book_of_the_project(self, tmp_path: Path) -> None:
        book = tmp_path / "catalogue.toml"
        write_book(book)
        assert [model.vendor for model in parse(book.read_text()) if model.id == "local"] == ["llamacpp"]
        values = function_variables(Ports.at(1100), users_own=False, book=book).values
        assert (values["MODEL_CATALOGUE"], values["LLAMACPP_BASE_URL"]) == (str(book), "http://127.0.0.1:5120/v1")

    def test_a_book_of_the_users_own_is_not_replaced(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MODEL_CATALOGUE", "mine.toml")
        with pytest.raises(Unable, match="unset MODEL_CATALOGUE"):
            function_variables(Ports(), users_own=True, book=tmp_path / "catalogue.toml")

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
    @pytest.mark.parametrize("wrong", ["-5", "x", "1.5", "²", "10001", "99999"])
    def test_a_wrong_offset_is_refused_in_one_sentence(
        self, wrong: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cli.main(["run", "--port-offset", wrong]) == 1
        said = capsys.readouterr().out
        monkeypatch.setenv("PORT_OFFSET", wrong)
        assert cli.main(["run"]) == 1
        assert capsys.readouterr().out == said
        assert f"PORT_OFFSET is a number from 0 to 10000, or `auto` for a free one, and not '{wrong}'." in said
        assert len(said.splitlines()) == 1

    def test_stopping_what_does_not_run_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["stop", "--port-offset", "9876"]) == 1
        assert "No suite of this checkout runs" in capsys.readouterr().out


def test_a_log_is_shown_without_its_colours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\x1b[31mred\x1b[0m\n")
    assert tail(log) == "red"
