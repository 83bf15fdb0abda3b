"""Durability: acknowledged writes survive a kill, torn tails are cut, the file is compacted."""

import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from rtdb import models
from rtdb.harness import TIMEOUT, EmulatorProcess, Namespace
from rtdb_emulator.access import DEFAULT_RULES
from rtdb_emulator.journal import MAGIC, DamagedFile, FileJournal, Saved
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import export_value, read_node
from rtdb_emulator.writes import Moment, WriteSet, read_put

Start = Callable[..., EmulatorProcess]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data"


class TestKill:
    def test_every_acknowledged_write_is_there_afterwards(self, start: Start, file: Path) -> None:
        """Eight writers are in full swing when the process is killed; each knows what was acknowledged to it."""
        emulator = start("--data", str(file))
        ns = Namespace(emulator, "x")

        def write(number: int) -> int:
            acknowledged = -1
            with ns.connect() as wire:
                try:
                    for value in range(100_000):
                        wire.ok("p", {"p": f"/w{number}", "d": {"n": value, "text": "x" * 100}})
                        acknowledged = value
                        if value == 100 and number == 0:
                            emulator.kill()
                except (ConnectionError, ConnectionClosed):
                    pass  # killed
            return acknowledged

        with ThreadPoolExecutor(8) as pool:
            acknowledged = list(pool.map(write, range(8)))
        after = Namespace(start("--data", str(file)), "x").get()
        assert isinstance(after, dict)
        for number, value in enumerate(acknowledged):
            stored = after.get(f"w{number}", {"n": -1})
            assert isinstance(stored, dict)
            assert stored["n"] in (value, value + 1)  # the last one may have been written but not acknowledged

    def test_everything_that_can_be_stored_survives(self, start: Start, file: Path) -> None:
        data: Json = {
            "a": {".priority": 1, "b": {".value": "é🐵", ".priority": "p"}},
            "numbers": {"i": 5, "f": 0.1, "big": 1e300, "long": 2**62},
            "flags": {"0": True, "1": False},
        }
        rules: Json = {".read": True, "a": {".write": "auth != null"}}
        with start("--data", str(file)) as emulator:
            ns = Namespace(emulator, "x")
            ns.put("", data)
            ns.put("gone", 1)
            ns.put("gone", None)
            ns.rules(rules)
            Namespace(emulator, "other").put("y", 1)
            emulator.kill()
        emulator = start("--data", str(file))
        ns = Namespace(emulator, "x")
        assert ns.get("", format="export") == data
        assert ns.request("PUT", "b", 1).status_code == 401
        assert Namespace(emulator, "other").get() == {"y": 1}

    @pytest.mark.parametrize("ending", ["kill", "stop"])
    def test_disconnect_writes_of_an_orderly_stop_are_kept(self, start: Start, file: Path, ending: str) -> None:
        emulator = start("--data", str(file))
        with Namespace(emulator, "x").connect() as wire:
            wire.ok("p", {"p": "/online", "d": True})
            wire.ok("o", {"p": "/online", "d": False})
            getattr(emulator, ending)()
        assert Namespace(start("--data", str(file)), "x").get("online") is (ending == "kill")

    def test_a_data_file_belongs_to_one_process(self, start: Start, file: Path) -> None:
        start("--data", str(file))
        with pytest.raises(AssertionError, match="in use by another process"):
            start("--data", str(file))

    def test_a_full_disk_stops_it_and_what_was_acknowledged_stays(self, start: Start, file: Path) -> None:
        emulator = start("--data", str(file))
        psutil.Process(emulator.process.pid).rlimit(psutil.RLIMIT_FSIZE, (5_000, 5_000))
        acknowledged = -1
        with Namespace(emulator, "x").connect() as wire, pytest.raises((ConnectionError, ConnectionClosed)):
            for number in range(1_000):
                wire.ok("p", {"p": "/n", "d": number})
                acknowledged = number
        assert emulator.process.wait(TIMEOUT) == 1
        assert emulator.logged("cannot be written")
        assert 0 < acknowledged < 999
        assert Namespace(start("--data", str(file)), "x").get("n") == acknowledged

    def test_waiting_for_the_disk_works_as_well(self, start: Start, file: Path) -> None:
        with start("--data", str(file), "--sync") as emulator:
            Namespace(emulator, "x").put("a", 1)
            emulator.kill()
        assert Namespace(start("--data", str(file)), "x").get("a") == 1


def put(text: str, data: Json) -> WriteSet:
    return read_put(text, data, Moment(None, 0))


def journal_with(file: Path, *writes: WriteSet) -> list[int]:
    """A journal with these records; the result is where each one ends."""
    journal = FileJournal(file)
    ends = []
    for write in writes:
        journal.record_write("x", write)
        journal.flush()
        ends.append(journal.size)
    journal.close()
    return ends


def contents(file: Path) -> tuple[Json, int]:
    """What the file holds, and how many bytes were cut."""
    journal = FileJournal(file)
    journal.close()
    saved = journal.saved.get("x")
    return (export_value(saved.root) if saved is not None else None), journal.cut


class TestTornTail:
    def test_a_record_cut_at_any_byte_is_not_applied_at_all_and_all_before_it_are(
        self, file: Path, tmp_path: Path
    ) -> None:
        writes = [put("a", {"b": 1}), put("a/c", [1, 2]), put("", {"all": "new", "d": {"e": True}})]
        _, second, third = journal_with(file, *writes)
        data = file.read_bytes()
        for size in range(second, third):
            torn = tmp_path / "torn"
            torn.write_bytes(data[:size])
            assert contents(torn) == ({"a": {"b": 1, "c": {"0": 1, "1": 2}}}, size - second)
            assert torn.stat().st_size == second
        assert contents(file) == ({"all": "new", "d": {"e": True}}, 0)

    def test_the_next_write_follows_what_was_kept(self, file: Path) -> None:
        first, second = journal_with(file, put("a", 1), put("b", 2))
        file.write_bytes(file.read_bytes()[: second - 1])
        assert contents(file) == ({"a": 1}, second - 1 - first)
        journal_with(file, put("c", 3))
        assert contents(file) == ({"a": 1, "c": 3}, 0)

    def test_a_last_record_whose_bytes_are_wrong_is_cut(self, file: Path) -> None:
        first, second = journal_with(file, put("a", 1), put("b", 2))
        data = bytearray(file.read_bytes())
        data[second - 2] ^= 1
        file.write_bytes(data)
        assert contents(file) == ({"a": 1}, second - first)

    def test_damage_in_the_middle_stops_the_start(self, file: Path) -> None:
        journal_with(file, put("a", 1), put("b", 2))
        data = bytearray(file.read_bytes())
        data[len(MAGIC) + 12] ^= 1
        file.write_bytes(data)
        with pytest.raises(DamagedFile, match=f"damaged at byte {len(MAGIC)}"):
            FileJournal(file)
        assert file.read_bytes() == data

    @pytest.mark.parametrize("size", range(len(MAGIC)))
    def test_a_file_that_was_just_made_is_empty(self, file: Path, size: int) -> None:
        file.write_bytes(MAGIC[:size])
        assert contents(file) == (None, size)
        assert contents(file) == (None, 0)

    def test_a_file_of_something_else_is_left_alone(self, file: Path) -> None:
        file.write_text("my diary")
        with pytest.raises(DamagedFile):
            FileJournal(file)
        assert file.read_text() == "my diary"

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
    @given(st.lists(st.tuples(models.PATHS, models.VALUES), min_size=1, max_size=8), st.integers(0, 10_000))
    def test_any_cut_of_any_journal_leaves_a_prefix_of_the_writes(
        self, tmp_path: Path, steps: list[tuple[tuple[str, ...], Json]], cut: int
    ) -> None:
        file = tmp_path / "any"
        file.unlink(missing_ok=True)
        writes = [WriteSet(puts={path: read_node(value, existing=None, now_ms=0)}) for path, value in steps]
        ends = journal_with(file, *writes)
        size = cut % (ends[-1] + 1)
        file.write_bytes(file.read_bytes()[:size])
        root = None
        for write in writes[: sum(end <= size for end in ends)]:
            root = write.apply(root)
        assert contents(file)[0] == export_value(root)


class TestCompaction:
    def test_the_file_shrinks_to_what_is_there(self, file: Path) -> None:
        root = None
        journal = FileJournal(file)
        for number in range(500):
            write = put("n", number)
            journal.record_write("x", write)
            root = write.apply(root)
        compact = journal.begin_compaction()
        before = journal.size
        journal.finish_compaction(compact({"x": Saved(root, None)}))
        assert journal.size == file.stat().st_size < 100 < before
        journal.close()
        assert contents(file) == ({"n": 499}, 0)

    def test_it_happens_while_writes_go_on(self, start: Start, file: Path) -> None:
        emulator = start("--data", str(file), "--compact-above", "50000")
        ns = Namespace(emulator, "x")
        ns.rules({".read": True, ".write": True, ".indexOn": []})
        ns.put("keep", {".priority": 3, **{f"k{i}": {"v": i, "deep": {"er": i}} for i in range(700)}})
        with ns.connect() as wire:
            for number in range(3000):
                wire.ok("p", {"p": "/n", "d": {"number": number, "text": "x" * 100}})
        assert emulator.logged("compacted")
        emulator.kill()
        ns = Namespace(start("--data", str(file)), "x")
        assert ns.get("n/number") == 2999
        kept = ns.get("keep", format="export")
        assert isinstance(kept, dict)
        assert kept.pop(".priority") == 3
        assert kept == {f"k{i}": {"v": i, "deep": {"er": i}} for i in range(700)}
        rules = ns.request("GET", ".settings/rules", headers={"Authorization": "Bearer owner"}, format="strict").json()
        assert rules["rules"] == {".read": True, ".write": True, ".indexOn": []}

    def test_a_crash_at_any_point_of_it_loses_nothing(self, file: Path, tmp_path: Path) -> None:
        """Before the rename the old file counts, after it the new one; both hold everything."""
        rng = random.Random(3)
        journal = FileJournal(file)
        root = None

        def write(count: int) -> None:
            nonlocal root
            for _ in range(count):
                change = put(f"{models.random_key(rng)}/{models.random_key(rng)}", rng.randrange(100))
                journal.record_write("x", change)
                root = change.apply(root)

        def check(step: str) -> None:
            copy = tmp_path / f"crash-{step}"
            copy.mkdir()
            for name in tmp_path.glob("data*"):
                shutil.copy(name, copy / name.name)
            assert contents(copy / "data") == (export_value(root), 0), step

        write(50)
        compact = journal.begin_compaction()
        captured = {"x": Saved(root, DEFAULT_RULES)}
        write(20)
        journal.flush()
        check("begun")
        fd = compact(captured)
        check("written")
        write(20)
        journal.finish_compaction(fd)
        check("finished")
        write(20)
        journal.flush()
        check("after")
        journal.close()
