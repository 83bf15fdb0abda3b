"""Regular expressions: what they match, what is refused, and that none can hang the server."""

import re
from random import Random

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from rtdb.rules.tables import Expressions, Line, check_expression, expression_cases
from rtdb.rules.world import Given, evaluate
from rtdb_emulator.rules.errors import RuleFailure
from rtdb_emulator.rules.pattern import compile_pattern
from rtdb_emulator.rules.syntax import Pattern

CLAIMS = Given(auth={"one": 1, "lines": "a\nb", "tab": "\t", "slash": "a/b", "back": "a\\b", "smile": "😀"})

TABLES = [
    Expressions(
        "Search semantics, not anchored; ^ and $ only as first and last character",
        """
        'foobar'.matches(/oba/) -> true
        'foobar'.matches(/^foo/) -> true
        'foobar'.matches(/^bar/) -> false
        'foobar'.matches(/bar$/) -> true
        'foobar'.matches(/foo$/) -> false
        'foobar'.matches(/^foobar$/) -> true
        'foobar'.matches(/^foo$/) -> false
        ''.matches(/^a*$/) -> true
        ''.matches(/a/) -> false
        'a'.matches(/^a|b$/) -> true
        'xb'.matches(/^a|b$/) -> true
        'ax'.matches(/^a|b$/) -> true
        'xa'.matches(/^a|b$/) -> false
        'bx'.matches(/^a|b$/) -> false
        'a'.matches(/(^a|b)/) -> refused: '^' is only supported at the start
        'a'.matches(/(a$|b)/) -> refused: '$' is only supported at the end
        'a'.matches(/a^b/) -> refused: '^' is only supported at the start
        'a'.matches(/a$b/) -> refused: '$' is only supported at the end
        'a$'.matches(/^a\\$$/) -> true
        'a^'.matches(/a\\^/) -> true
        """,
        CLAIMS,
    ),
    Expressions(
        "Quantifiers * + ? {n} {n,} {n,m}",
        """
        'b'.matches(/^a*b$/) -> true
        'aaab'.matches(/^a*b$/) -> true
        'b'.matches(/^a+b$/) -> false
        'ab'.matches(/^a?b$/) -> true
        'aab'.matches(/^a?b$/) -> false
        'aa'.matches(/^a{2}$/) -> true
        'aaa'.matches(/^a{2}$/) -> false
        'aaa'.matches(/^a{2,}$/) -> true
        'a'.matches(/^a{2,}$/) -> false
        'aaa'.matches(/^a{1,3}$/) -> true
        'aaaa'.matches(/^a{1,3}$/) -> false
        ''.matches(/^a{0,2}$/) -> true
        'b'.matches(/^a{0}b$/) -> true
        'abab'.matches(/^(ab){2}$/) -> true
        'ababab'.matches(/^(ab){2}$/) -> false
        'xyxy'.matches(/^(x|y){4}$/) -> true
        'aabb'.matches(/^(a*b*)*$/) -> true
        'a'.matches(/a{3,2}/) -> refused: Invalid bounds
        'a'.matches(/a{,2}/) -> refused: Invalid repetition
        'a'.matches(/a{x}/) -> refused: Invalid repetition
        'a'.matches(/a{/) -> refused: Invalid repetition
        'a'.matches(/*a/) -> refused: Unterminated comment
        'a'.matches(/+a/) -> refused: Nothing to repeat before '+'
        'a'.matches(/(?a)/) -> refused: not supported
        'a'.matches(/{2}/) -> refused: Nothing to repeat before '{'
        """,
        CLAIMS,
    ),
    Expressions(
        "Groups and alternatives; no empty ones",
        """
        'cat'.matches(/^(cat|dog)$/) -> true
        'cow'.matches(/^(cat|dog)$/) -> false
        'dogs'.matches(/^(cat|dog)s?$/) -> true
        'ac'.matches(/^a(b|c(d|e)?)$/) -> true
        'ace'.matches(/^a(b|c(d|e)?)$/) -> true
        'a'.matches(/(a|)/) -> refused: Empty alternative
        'a'.matches(/(|a)/) -> refused: Empty alternative
        'a'.matches(/a||b/) -> refused: Empty alternative
        'a'.matches(/()/) -> refused: Empty alternative
        'a'.matches(/^$/) -> refused: Empty alternative
        'a'.matches(/(a/) -> refused: Unterminated group
        'a'.matches(/a)/) -> refused: Unmatched ')'
        """,
        CLAIMS,
    ),
    Expressions(
        "Sets [ ] [^ ] with ranges",
        """
        'm'.matches(/^[a-z]$/) -> true
        'M'.matches(/^[a-z]$/) -> false
        'M'.matches(/^[^a-z]$/) -> true
        '-'.matches(/^[a-]$/) -> true
        '-'.matches(/^[-a]$/) -> true
        'b'.matches(/^[a-]$/) -> false
        ']'.matches(/^[\\]]$/) -> true
        '^'.matches(/^[a^]$/) -> true
        '.'.matches(/^[.]$/) -> true
        'a'.matches(/^[.]$/) -> false
        '$'.matches(/^[$]$/) -> true
        '5'.matches(/^[\\d_]$/) -> true
        '-'.matches(/^[\\d-x]$/) -> true
        'a/b'.matches(/^[a/b]+$/) -> true
        'user_1-x'.matches(/^[a-z0-9_-]+$/) -> true
        'A'.matches(/^[\\x41-\\u0043]$/) -> true
        'a'.matches(/[]/) -> refused: Empty set
        'a'.matches(/[^]/) -> refused: Empty set
        'a'.matches(/[z-a]/) -> refused: Range out of order
        'a'.matches(/[a/) -> refused: Unterminated regular expression
        """,
        CLAIMS,
    ),
    Expressions(
        r"\s \w \d \S \W \D are the ASCII classes; . is everything but the end of a line",
        """
        'a1_Z'.matches(/^\\w+$/) -> true
        'a-1'.matches(/^\\w+$/) -> false
        '\\u00e9'.matches(/^\\w$/) -> false
        '\\u00e9'.matches(/^\\W$/) -> true
        '0123'.matches(/^\\d+$/) -> true
        '\\u0663'.matches(/^\\d$/) -> false
        'x'.matches(/^\\D$/) -> true
        ' '.matches(/^\\s$/) -> true
        auth.tab.matches(/^\\s$/) -> true
        auth.tab.matches(/^\\t$/) -> true
        'x'.matches(/^\\S$/) -> true
        auth.lines.matches(/^a.b$/) -> false
        auth.lines.matches(/^a\\nb$/) -> true
        auth.lines.matches(/^a[^x]b$/) -> true
        auth.lines.matches(/^a$/) -> false
        auth.smile.matches(/^..$/) -> true
        auth.smile.matches(/^.$/) -> false
        auth.smile.matches(/^😀$/) -> true
        """.replace("\\\\", "\\"),
        CLAIMS,
    ),
    Expressions(
        "Escaped literals; a bare } is fine; no back-references and no word boundaries",
        """
        '{a}'.matches(/^\\{a}$/) -> true
        '{a}'.matches(/^\\{a\\}$/) -> true
        'a.b'.matches(/^a\\.b$/) -> true
        'axb'.matches(/^a\\.b$/) -> false
        auth.slash.matches(/^a\\/b$/) -> true
        auth.back.matches(/^a\\\\b$/) -> true
        '(x)'.matches(/^\\(x\\)$/) -> true
        'a+b'.matches(/a\\+b/) -> true
        'a@b.co'.matches(/^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$/) -> true
        'aa'.matches(/(a)\\1/) -> refused: Unsupported escape '\\1'
        'a'.matches(/\\ba/) -> refused: Unsupported escape '\\b'
        'a'.matches(/\\p/) -> refused: Unsupported escape '\\p'
        """,
        CLAIMS,
    ),
    Expressions(
        "No lookaround, no non-capturing groups, no lazy quantifiers; only the flag i",
        """
        'a'.matches(/(?:a)/) -> refused: '(?'
        'a'.matches(/(?=a)/) -> refused: '(?'
        'a'.matches(/(?!a)/) -> refused: '(?'
        'a'.matches(/(?<=a)b/) -> refused: '(?'
        'a'.matches(/a+?/) -> refused: Lazy and double quantifiers
        'a'.matches(/a*?b/) -> refused: Lazy and double quantifiers
        'a'.matches(/a??/) -> refused: Lazy and double quantifiers
        'a'.matches(/a**/) -> refused: Lazy and double quantifiers
        'a'.matches(/a{2}{3}/) -> refused: Lazy and double quantifiers
        'FOO'.matches(/^foo$/i) -> true
        'foo'.matches(/^FOO$/i) -> true
        'FOO'.matches(/^foo$/) -> false
        'K'.matches(/^[a-z]$/i) -> true
        'K'.matches(/^[^a-z]$/i) -> false
        '\\u00c4'.matches(/^\\u00e4$/i) -> true
        '\\u017f'.matches(/s/i) -> false
        '\\u212a'.matches(/k/i) -> false
        '\\u00df'.matches(/^\\u00df$/i) -> true
        'a'.matches(/a/g) -> refused: flags 'g'
        'a'.matches(/a/m) -> refused: flags 'm'
        'a'.matches(/a/ii) -> refused: flags 'ii'
        """,
        CLAIMS,
    ),
    Expressions(
        "Only strings match; a slash behind an operand divides",
        """
        auth.one.matches(/1/) -> fails: matches() needs strings, not 1
        auth.missing.matches(/1/) -> fails: matches() needs strings, not null
        8 / 4 / 2 == 1 -> true
        (8) / 4 == 2 -> true
        auth['one'] / 1 / 1 == 1 -> true
        'a'.length / 1 == 1 -> true
        """,
        CLAIMS,
    ),
]


@expression_cases(TABLES)
def test_pattern(case: Line, given: Given) -> None:
    check_expression(case, given)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "^(a*)*b$", "(a|aa)+b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_what_makes_backtracking_explode_takes_linear_time(pattern: str) -> None:
    assert evaluate(f"'{'a' * 5_000}!'.matches(/{pattern}/)", CLAIMS) is False


def test_a_search_beyond_its_budget_fails_instead_of_hanging() -> None:
    # Where the last 1,000 letters were an a: a new set of states with nearly every letter.
    text = "".join(Random(1).choices("ab", k=20_000))
    with pytest.raises(RuleFailure, match="takes too long"):
        evaluate(f"'{text}'.matches(/a[ab]{{1000}}c/)", CLAIMS)


def test_a_pattern_that_is_too_large_is_refused() -> None:
    case = Line("'a'.matches(/((a{99}){99}){99}/)", "refused", "too large", "")
    check_expression(case, CLAIMS)


_ATOMS = st.sampled_from(["a", "b", "c", "[ab]", "[^a]", ".", r"\w", r"\d", "1"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])).map(lambda t: f"({t[0]}){t[1]}"),
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}|{t[1]})"),
    )


@settings(max_examples=300, deadline=None)
@examples(
    st.recursive(_ATOMS, _grown, max_leaves=6),
    st.booleans(),
    st.booleans(),
    st.lists(st.text("abc1é", max_size=6), min_size=1, max_size=8),
)
def test_it_finds_what_pythons_matcher_finds(body: str, at_start: bool, at_end: bool, texts: list[str]) -> None:
    source = f"{'^' * at_start}({body}){'$' * at_end}"
    search = compile_pattern(Pattern(0, source, ""))
    reference = re.compile(source.replace("$", r"\Z"), re.ASCII)
    for text in texts:
        assert search(text) is bool(reference.search(text)), (source, text)
