"""Where each emulator's program comes from, and the manifest-only jars that make it startable."""

import zipfile
from pathlib import Path

import pytest

from emulators.suite import jars
from emulators.suite.install import Unable


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No jars anywhere but where a test puts them."""
    for emulator in ("FIRESTORE", "DATABASE", "STORAGE"):
        monkeypatch.delenv(f"{emulator}_EMULATOR_BINARY_PATH", raising=False)
    monkeypatch.setenv("FIREBASE_EMULATORS_PATH", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "_cloud_sdks", lambda: [tmp_path / "sdk"])
    monkeypatch.setattr(jars, "JARS", tmp_path / "jars")
    return tmp_path


def _jar(path: Path, *, main_class: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: a.B\r\n" if main_class else "Created-By: x\r\n")
    return path


def _in_sdk(machine: Path) -> Path:
    return _jar(
        machine / "sdk" / "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
        main_class=False,
    )


class TestOrder:
    def test_an_explicit_variable_comes_first(self, bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _in_sdk(bare_machine)
        mine = _jar(bare_machine / "mine.jar", main_class=True)
        monkeypatch.setenv("FIRESTORE_EMULATOR_BINARY_PATH", str(mine))
        assert jars.find_jars(download=False)["firestore"].path == mine

    def test_a_variable_that_names_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FIRESTORE_EMULATOR_BINARY_PATH", "/nowhere.jar")
        with pytest.raises(Unable, match=r"FIRESTORE_EMULATOR_BINARY_PATH names /nowhere\.jar"):
            jars.find_jars(download=False)

    def test_firebases_cache_comes_before_the_cloud_sdk(self, bare_machine: Path) -> None:
        _in_sdk(bare_machine)
        name = str(jars._download_details("firestore")["downloadPathRelativeToCacheDir"])
        cached = _jar(bare_machine / "cache" / name, main_class=True)
        assert jars.find_jars(download=False)["firestore"].path == cached

    def test_without_any_firestore_the_sentence_says_what_to_do(self) -> None:
        with pytest.raises(Unable, match="setup:emulators:firestore"):
            jars.find_jars(download=False)

    def test_googles_database_emulator_is_preferred_to_our_stand_in(self, bare_machine: Path) -> None:
        _in_sdk(bare_machine)
        assert jars.find_jars(download=False)["database"].is_stand_in
        name = str(jars._download_details("database")["downloadPathRelativeToCacheDir"])
        _jar(bare_machine / "cache" / name, main_class=True)
        assert jars.find_jars(download=False)["database"].whose == jars.GOOGLE


class TestWrapper:
    def test_the_sdks_jar_gets_a_main_class_and_lines_of_at_most_72_bytes(self, bare_machine: Path) -> None:
        sdk_jar = _in_sdk(bare_machine)
        wrapper = jars.find_jars(download=False)["firestore"].path
        with zipfile.ZipFile(wrapper) as jar:
            manifest = jar.read("META-INF/MANIFEST.MF").decode()
        assert max(len(line) for line in manifest.split("\r\n")) <= 72
        unfolded = manifest.replace("\r\n ", "").split("\r\n")
        assert "Main-Class: com.google.cloud.datastore.emulator.firestore.CloudFirestore" in unfolded
        assert f"Class-Path: {sdk_jar.resolve().as_uri()}" in unfolded

    def test_it_is_written_once(self, bare_machine: Path) -> None:
        _in_sdk(bare_machine)
        first = jars.find_jars(download=False)["firestore"].path.stat().st_mtime_ns
        assert jars.find_jars(download=False)["firestore"].path.stat().st_mtime_ns == first
