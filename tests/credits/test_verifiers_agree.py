"""The offline verifier in Python and the page for browsers give the same verdict on every file, however hostile."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest

from app.credits.proofs.signing import KeyRing
from app.credits.statements.export import Unreadable, parse, parse_statements, verify_statements
from app.kit.errors import Invalid
from support.credits_world import CreditsWorld
from support.hostile import hostile
from support.tampering import STRANGER, cases, honest, in_parts

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "web" / "public" / "verify.html"
Pair = tuple[str, str]


def test_on_a_hostile_corpus(world: CreditsWorld, tmp_path: Path) -> None:
    """T-54"""
    corpus = list(_corpus(world))
    assert len(corpus) > 600
    here = [_python(*pair) for pair in corpus]
    there = _javascript(corpus, tmp_path)
    for pair, mine, theirs in zip(corpus, here, there, strict=True):
        assert mine == theirs, pair[0][:400]
    assert sum(verdict.get("valid") is True for verdict in here) >= 5
    assert sum("unreadable" in verdict for verdict in here) >= 20


def test_on_what_the_holder_of_a_key_signed(world: CreditsWorld, tmp_path: Path) -> None:
    """T-118: behind right hashes and signatures stands whatever an attacker with the key, or a mistake, put there."""
    export, keys = honest(world, "alice"), json.dumps(world.credits.keys())
    parts = [*islice(in_parts(world, "alice", 6), 3)]
    files = [*hostile(parts, world.signer, count=520, seed=3), *hostile([export], world.signer, count=520, seed=4)]
    assert len(files) >= 1_000
    corpus = [("\n".join(json.dumps(each, ensure_ascii=each is not file[0]) for each in file), keys) for file in files]
    here = [_python(*pair) for pair in corpus]
    for pair, mine, theirs in zip(corpus, here, _javascript(corpus, tmp_path), strict=True):
        assert mine == theirs, pair[0][:400]
    found = Counter(verdict.get("check") for verdict in here)
    assert {"fold", "lots", "kind", "twice", "closing", "totals", "opening", "head", "part", "seal"} <= found.keys(), (
        found
    )


def test_the_command_says_it_and_exits_with_it(world: CreditsWorld, tmp_path: Path) -> None:
    export, keys = honest(world, "alice"), world.credits.keys()
    good, bad, jwks = (tmp_path / name for name in ("good.json", "bad.json", "keys.json"))
    good.write_text(json.dumps(export))
    jwks.write_text(json.dumps(keys))
    export["report"]["entries"][3]["amount"] += 1
    bad.write_text(json.dumps(export))
    told = {name: _command(name, jwks) for name in (good, bad, tmp_path / "none.json")}
    assert [done.returncode for done in told.values()] == [0, 1, 2]
    assert json.loads(told[good].stdout)["valid"] is True
    said = json.loads(told[bad].stdout)
    assert {name: said[name] for name in ("valid", "entries", "check", "sequence")} == {
        "valid": False,
        "entries": 3,
        "check": "hash",
        "sequence": 4,
    }


def test_the_page_is_short_and_has_no_network() -> None:
    page = PAGE.read_text()
    assert len(page.splitlines()) <= 300
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("fetch(", "XMLHttpRequest", "src=", "href="))


def _corpus(world: CreditsWorld) -> Iterator[Pair]:
    keys = json.dumps(world.credits.keys())
    tampered = [case.export for case in islice(cases(world), 0, None, 10)]
    export = honest(world, "zoe")
    text = json.dumps(export)
    yield text, keys
    yield json.dumps(export, ensure_ascii=False), keys
    yield json.dumps(export, indent=2, sort_keys=True), keys
    yield text.replace('"alice"', '"\\u0061lice"'), keys
    yield f" \n\t{text}\r\n", keys
    for lie in tampered:
        yield json.dumps(lie, ensure_ascii=False), keys
    for broken in _texts(text):
        yield broken, keys
    for jwks in _key_sets(world):
        yield text, jwks


def _texts(text: str) -> Iterator[str]:
    yield from (
        "",
        " ",
        "null",
        "[]",
        "{}",
        "{",
        '"',
        "tru",
        "01",
        "+1",
        "1.",
        ".5",
        "0x1",
        "[1,]",
        '{"a":1,}',
        "[1 2]",
    )
    yield from ("-0", "1e3", "1.0", "9007199254740992", "-9007199254740992", "NaN", "Infinity", '"\\x"', '"\\u12"')
    yield from ("[" * 100 + "]" * 100, "[" * 101 + "]" * 101, "'a'", "[//\n1]", "\ufeff{}", "\u00a0{}", '"\u2028"')
    yield text.replace('"amount": ', '"amount": 1, "amount": ', 1)
    yield text.replace('"debt": 0', '"debt": 0.0', 1)
    yield text.replace('"debt": 0', '"debt": -0', 1)
    yield text.replace('"debt": 0', '"debt": false', 1)
    yield text.replace('"sequence": 1,', '"sequence": true,', 1)
    yield text.replace('"format": 1', '"format": true', 1)
    yield text.replace('"description": ""', '"description": "\\ud800"', 1)
    yield text.replace('"description": ""', '"description": "\\ud83d\\ude00"', 1)
    yield text.replace('"description": ""', '"description": "\\u0000\\u007f\\u2028\\/"', 1)
    yield text.replace('"usage": null', '"usage": {"__proto__": 1, "ż": 2}', 1)
    yield text.replace('"usage": null', '"usage": {"a":{"b":{"c":{"d":{"e":{"f":{}}}}}}}', 1)
    yield text.replace('"totals": {', '"totals": {"\\ud800": 1, ', 1)
    yield text.replace('"report"', '"Report"', 1)
    yield text[:-1]
    yield text + "x"


def _key_sets(world: CreditsWorld) -> Iterator[str]:
    good = world.credits.keys()["keys"][0]
    stranger = {**good, "x": STRANGER.public, "kid": STRANGER.kid}
    for keys in (
        [],
        [stranger],
        [stranger, good],
        [{**good, "kid": "x"}],
        [{**good, "kid": None}],
        [{name: value for name, value in good.items() if name != "kid"}],
        [{**good, "kty": "EC"}],
        [{**good, "x": good["x"] + "="}],
        [{**good, "x": "AAAA"}],
        [{**good, "x": 5}],
        ["key"],
    ):
        yield json.dumps({"keys": keys})
    yield from ("[]", "{}", '{"keys": {}}', "nonsense")


def _python(exported: str, jwks: str) -> dict[str, object]:
    try:
        verdict = verify_statements(parse_statements(exported), KeyRing.from_jwks(parse(jwks)))
    except (Unreadable, Invalid):
        return {"unreadable": True}
    return asdict(verdict)


def _javascript(corpus: list[Pair], folder: Path) -> list[dict[str, object]]:
    file = folder / "corpus.json"
    file.write_text(json.dumps(corpus))
    script = Path(__file__).with_name("verify_in_node.mjs")
    command = ["node", "--no-warnings", str(script), str(PAGE), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    verdicts: list[dict[str, object]] = json.loads(done.stdout)
    return verdicts


def _command(export: Path, keys: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.credits.verify", str(export), str(keys)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT / "functions")


@pytest.fixture
def world() -> CreditsWorld:
    return CreditsWorld()
