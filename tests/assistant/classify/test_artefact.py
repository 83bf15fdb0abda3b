"""The trained model's file: whole, or refused; trained on the seeds that are beside its script."""

import hashlib
from pathlib import Path

import pytest

from app.assistant.classify.artefact import FILE, ArtefactDamaged, load

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("place", [0, 7, 20, 44, 5_000, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    damaged = bytearray(FILE.read_bytes())
    damaged[place] ^= 1
    (tmp_path / "model.bin").write_bytes(damaged)
    with pytest.raises(ArtefactDamaged):
        load(tmp_path / "model.bin")


@pytest.mark.parametrize("length", [0, 10, 44, 100_000])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "model.bin").write_bytes(FILE.read_bytes()[:length])
    with pytest.raises(ArtefactDamaged):
        load(tmp_path / "model.bin")


def test_it_is_small() -> None:
    assert FILE.stat().st_size < 2_000_000


def test_it_was_trained_on_the_seeds_as_they_stand() -> None:
    data = load().training["data"]
    assert isinstance(data, dict)
    assert data["seeds.txt"] == hashlib.sha256((ROOT / "training" / "seeds.txt").read_bytes()).hexdigest()
