"""The rules file: its form, where errors point, indexes, and how it is given back."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtdb_emulator.rules import RulesError, Ruleset
from rtdb_emulator.rules.__main__ import main

REFUSED = [
    # Not JSON: the message must contain "Parse error", which a test library of Google looks for.
    ("", "1:1: Parse error"),
    ("   \n ", "2:2: Parse error"),
    ("rules", "1:1: Parse error. Expected a value, found 'r'"),
    ("{", "1:2: Parse error. Expected a name"),
    ('{"rules"', "1:9: Parse error. Expected ':'"),
    ('{"rules": {}', "1:13: Parse error. Expected ',' or '}', found the end of the file"),
    ('{"rules": {}}}', "1:14: Parse error. Expected the end of the file"),
    ('{"rules": {"a": {} "b": {}}}', "1:20: Parse error. Expected ',' or '}'"),
    ('{"rules": {".read": true,}}', "1:26: Parse error. Expected a name in double quotes"),
    ("{'rules': {}}", "1:2: Parse error. Expected a name in double quotes"),
    ("{rules: {}}", "1:2: Parse error. Expected a name in double quotes"),
    ('{"rules": {".read": "true}}', "1:28: Parse error. Unterminated string"),
    ('{"rules": {".read": "\\x"}}', "1:22: Parse error. Invalid escape"),
    ('{"rules": {".read": "\\u12"}}', "1:22: Parse error. Invalid escape"),
    ('{"rules": {".read": True}}', "1:21: Parse error. Expected a value"),
    ('{"rules": {".read": NaN}}', "1:21: Parse error. Expected a value"),
    ('{"rules": {".indexOn": ["a" "b"]}}', "1:29: Parse error. Expected ',' or ']'"),
    ('{"rules": {}} /* open', "1:15: Parse error. Unterminated comment"),
    ("[" * 10_000, "Parse error. Nested too deeply"),
    ('{"rules":' + '{"a":' * 10_000, "Parse error. Nested too deeply"),
    # JSON, but not the form of a rules document.
    ("null", "1:1: Expected 'rules' property."),
    ("[]", "1:1: Expected 'rules' property."),
    ('"rules"', "1:1: Expected 'rules' property."),
    ("{}", "1:2: Expected 'rules' property."),
    ('{"Rules": {}}', "1:2: Expected 'rules' property."),
    ('{"rules": {}, "more": 1}', "1:15: Unexpected property 'more'"),
    ('{"rules": true}', "1:11: Expected rules to be an object."),
    ('{"rules": []}', "1:11: Expected rules to be an object."),
    ('{"rules": {"a": true}}', "1:17: Expected 'a' to be an object."),
    ('{"rules": {"a": null}}', "1:17: Expected 'a' to be an object."),
    ('{"rules": {"a": "true"}}', "1:17: Expected 'a' to be an object."),
    ('{"rules": {"a": []}}', "1:17: Expected 'a' to be an object."),
    ('{"rules": {".read": 1}}', "1:21: '.read' must be true, false or a string."),
    ('{"rules": {".write": null}}', "1:22: '.write' must be true, false or a string."),
    ('{"rules": {".validate": {}}}', "1:25: '.validate' must be true, false or a string."),
    ('{"rules": {".reed": true}}', "1:12: Unknown property '.reed'"),
    ('{"rules": {".": true}}', "1:12: Unknown property '.'"),
    ('{"rules": {".value": "a"}}', "1:12: Unknown property '.value'"),
    ('{"rules": {".indexOn": true}}', "1:24: '.indexOn' must be a string or an array of strings."),
    ('{"rules": {".indexOn": {}}}', "1:24: '.indexOn' must be a string or an array of strings."),
    ('{"rules": {".indexOn": ["a", 1]}}', "1:30: '.indexOn' must be a string or an array of strings."),
    ('{"rules": {"$a": {}, "$b": {}}}', "1:22: '$a' and '$b' are both wildcards of the same node."),
    ('{"rules": {"$a": {"b": {"$a": {}}}}}', "1:25: '$a' is already the name of a wildcard above."),
    ('{"rules": {"$": {}}}', "1:12: Invalid key '$'."),
    ('{"rules": {"": {}}}', "1:12: Invalid key ''."),
    ('{"rules": {"a/b": {}}}', "1:12: Invalid key 'a/b'."),
    ('{"rules": {"a.b": {}}}', "1:12: Invalid key 'a.b'."),
    ('{"rules": {"a#": {}}}', "1:12: Invalid key 'a#'."),
    ('{"rules": {"a[0]": {}}}', "1:12: Invalid key 'a[0]'."),
    ('{"rules": {"a$": {}}}', "1:12: Invalid key 'a$'."),
    ('{"rules": {"a\\u0007": {}}}', "1:12: Invalid key"),
    ('{"rules": {"a": {}, "a": {}}}', "1:21: Duplicate key 'a'."),
    ('{"rules": {".read": true, ".read": false}}', "1:27: Duplicate key '.read'."),
    # Errors in an expression point at their place in the file.
    ('{"rules": {".read": ""}}', "1:22: Unexpected end of expression"),
    ('{"rules": {".read": "foo"}}', "1:22: Unknown variable 'foo'."),
    ('{"rules": {".read": "true && foo"}}', "1:30: Unknown variable 'foo'."),
    ('{\n  "rules": {\n    ".read": "foo"\n  }\n}', "3:15: Unknown variable 'foo'."),
    ('{\r\n"rules": {".read":\r\n"foo"}}', "3:2: Unknown variable 'foo'."),
    ('{"rules": {".read": "true\n  && foo"}}', "2:6: Unknown variable 'foo'."),
    ('{"rules": {".read": "\\"a\\" == foo"}}', "1:31: Unknown variable 'foo'."),
    ('{"rules": {".read": "\\u0027a\\u0027 == foo"}}', "1:39: Unknown variable 'foo'."),
    ('{"rules": {".read": "\'\\ud83d\\ude00\' == foo"}}', "1:40: Unknown variable 'foo'."),
    ('{"rules": {".read": "\'😀\' == foo"}}', "1:29: Unknown variable 'foo'."),
    ('{"rules": {".read": "\'a\'.matches(/a(/)"}}', "1:37: Unterminated group"),
    ('{"rules": {".write": "data.isArray()"}}', "1:28: No such method/property 'isArray'."),
    ('{"rules": {".write": "data.val() + 1"}}', "1:23: A rule must be a boolean expression."),
    ('{"rules": {".write": "auth.token.admin"}}', "1:23: A rule must be a boolean expression."),
    ('{"rules": {".write": "true && auth.token.admin"}}', "1:31: Right operand of && must be boolean."),
    ('{"rules": {".write": "1 == data.child(\'a\')"}}', "1:28: Invalid == expression: right operand"),
    ('{"rules": {".write": "data.child(data.parent()).exists()"}}', "1:34: child() needs a string."),
    ('{"rules": {".validate": "$x == 1"}}', "1:26: Unknown variable '$x'."),
    ('{"rules": {"$x": {}, ".read": "$x == \'a\'"}}', "1:32: Unknown variable '$x'."),
    ('{"rules": {"a": {"$x": {}}, "b": {".read": "$x == \'a\'"}}}', "1:45: Unknown variable '$x'."),
]

ACCEPTED = [
    '{"rules": {}}',
    '// rules\n{"rules": {}} // end',
    '/* a */ { /* b */ "rules" /* c */ : /* d */ { /* e */ } /* f */ } /**/',
    '{"rules": {".read": true, // one\n".write": /* two */ false}}',
    '{"rules": {".read": "auth != null &&\n   \tauth.uid == \'a\'"}}',
    '{"rules": {".read": "auth.uid == \'http://x\'"}}',
    '{"rules": {"$a": {"$b": {".read": "$a == $b"}}}}',
    '{"rules": {"x": {"$a": {}}, "y": {"$a": {}}}}',
    '{"rules": {"1": {}, "-": {}, "a b": {}, "ä": {}, "@x": {}}}',
    '\ufeff{"rules": {}}',
    '{"rules": {".indexOn": []}}',
    '{"rules": {".indexOn": ".value"}}',
]


@pytest.mark.parametrize(("text", "error"), REFUSED, ids=[text[:60] for text, _ in REFUSED])
def test_a_file_is_refused_with_line_column_and_reason(text: str, error: str) -> None:
    with pytest.raises(RulesError) as caught:
        Ruleset.parse(text)
    assert error in str(caught.value)


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_file_is_accepted(text: str) -> None:
    Ruleset.parse(text)


def test_an_error_carries_its_place() -> None:
    with pytest.raises(RulesError) as caught:
        Ruleset.parse('{"rules":\n {".read": "foo"}}')
    assert (caught.value.line, caught.value.column) == (2, 13)
    assert caught.value.message == "Unknown variable 'foo'."


def test_strict_json_has_no_comments_and_the_same_rules() -> None:
    node = '{".read": "true /* x */ ||\n false", ".indexOn": ["b", "c/d"]}'
    text = '{"rules": { // all\n "a": ' + node + ', "$x": {".write": false}}}'
    strict = Ruleset.parse(text).strict_json()
    assert json.loads(strict) == {
        "rules": {
            "a": {".read": "true /* x */ ||\n false", ".indexOn": ["b", "c/d"]},
            "$x": {".write": False},
        }
    }
    assert Ruleset.parse(strict).strict_json() == strict


def test_the_text_is_given_back_as_it_came() -> None:
    text = '// hello\n{"rules": {}}'
    assert Ruleset.parse(text).text == text


@pytest.mark.parametrize(
    ("path", "indexes"),
    [
        ((), {".value"}),
        (("scores",), {"points", "team/name"}),
        (("scores", "x"), set()),
        (("users", "alice"), {"age"}),
        (("users", "alice", "posts"), {"date"}),
        (("users", "special"), set()),
        (("none",), set()),
        (("none", "deeper"), set()),
    ],
)
def test_indexes_stand_at_the_queried_location(path: tuple[str, ...], indexes: set[str]) -> None:
    rules = Ruleset.parse(
        """{"rules": {".indexOn": ".value", "scores": {".indexOn": ["points", "team/name"]},
        "users": {"$uid": {".indexOn": "age", "posts": {".indexOn": ["/date/"]}}, "special": {}}}}"""
    )
    assert rules.index_on(path) == indexes


def test_the_command_names_the_place_of_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, missing = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "missing.json"
    good.write_text('{"rules": {".read": true}}')
    bad.write_text('{"rules": {".read": "foo"}}')
    assert main(["check", str(good)]) == 0
    assert main(["check", str(good), str(bad)]) == 1
    assert main(["check", str(missing)]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{good}: ok",
        f"{good}: ok",
        f"{bad}:1:22: Unknown variable 'foo'.",
    ]
    assert "missing.json" in printed.err


_JSON_PIECES = ("{", "}", "[", "]", '"', ":", ",", "//", "/*", "*/", "\n", "\\", "\\u00", "null", "true", "1", "-1e9")
_RULE_PIECES = (
    "rules",
    ".read",
    ".write",
    ".validate",
    ".indexOn",
    "$a",
    "$",
    "data",
    "auth",
    ".",
    "(",
    ")",
    "!",
    "&&",
)
_OTHER_PIECES = ("&&", "||", "?", "==", "<", "+", "-", "*", "/", "%", "'", "a", " ", "😀", "\ud83d", "\x00")
_PIECES = st.sampled_from(_JSON_PIECES + _RULE_PIECES + _OTHER_PIECES)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=30).map("".join)))
def test_garbage_raises_nothing_but_rules_errors(text: str) -> None:
    for candidate in (text, '{"rules":' + text, '{"rules":{".read":' + json.dumps(text) + "}}"):
        try:
            Ruleset.parse(candidate)
        except RulesError as error:
            assert error.line >= 1 and error.column >= 1


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES, max_size=12), st.integers(1, 400))
def test_repeated_garbage_raises_nothing_but_rules_errors(pieces: list[str], times: int) -> None:
    text = "".join(pieces) * times
    try:
        Ruleset.parse('{"rules":{".read":' + json.dumps(text) + "}}")
    except RulesError as error:
        assert error.line >= 1 and error.column >= 1
