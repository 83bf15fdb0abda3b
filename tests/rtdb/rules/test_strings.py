"""String methods and literals."""

from rtdb.rules.tables import Expressions, Line, check_expression, expression_cases
from rtdb.rules.world import Given

CLAIMS = Given(
    auth={"word": "banana", "one": 1, "deep": {"length": 9}, "blank": "", "blanks": "\b\f\n\r\t\v\0"},
    names={"$id": "a-b_c"},
)

TABLES = [
    Expressions(
        "contains(s), beginsWith(s), endsWith(s) take strings; anything else fails",
        """
        'banana'.contains('nan') -> true
        'banana'.contains('') -> true
        'banana'.contains('x') -> false
        'banana'.contains('NAN') -> false
        'banana'.beginsWith('ban') -> true
        'banana'.beginsWith('an') -> false
        'banana'.beginsWith('') -> true
        'banana'.beginsWith('bananas') -> false
        'banana'.endsWith('ana') -> true
        'banana'.endsWith('ban') -> false
        'abab'.endsWith('ab') -> true
        'banana'.endsWith('') -> true
        auth.word.contains('nan') -> true
        auth.word['contains']('nan') -> true
        $id.contains('-') -> true
        'banana'.contains(auth.word) -> true
        'banana'.contains(auth.one) -> fails: contains() needs strings, not 1
        'banana'.beginsWith(auth.missing) -> fails: beginsWith() needs strings, not null
        'banana'.endsWith(auth.deep) -> fails: endsWith() needs strings, not an object
        auth.missing.contains('a') -> fails: contains() needs strings, not null
        auth.one.contains('a') -> fails: contains() needs strings, not 1
        auth.deep.beginsWith('a') -> fails: beginsWith() needs strings, not an object
        auth.contains('a') -> fails: contains() needs strings, not an object
        """,
        CLAIMS,
    ),
    Expressions(
        "replace(a, b) is literal and replaces all occurrences",
        """
        'banana'.replace('an', 'AN') == 'bANANa' -> true
        'a.b.c'.replace('.', ',') == 'a,b,c' -> true
        'aaa'.replace('aa', 'b') == 'ba' -> true
        'abc'.replace('x', 'y') == 'abc' -> true
        'abc'.replace('b', '') == 'ac' -> true
        'a$1'.replace('$1', '$2') == 'a$2' -> true
        auth.word.replace('a', 'o') == 'bonono' -> true
        'abc'.replace(auth.one, 'b') == 'abc' -> fails: replace() needs strings, not 1
        'abc'.replace('a', auth.missing) == 'abc' -> fails: replace() needs strings, not null
        auth.one.replace('1', '2') == '2' -> fails: replace() needs strings, not 1
        """,
        CLAIMS,
    ),
    Expressions(
        "toLowerCase() and toUpperCase()",
        """
        'AbC'.toLowerCase() == 'abc' -> true
        'AbC'.toUpperCase() == 'ABC' -> true
        '\\u00c4'.toLowerCase() == '\\u00e4' -> true
        auth.word.toUpperCase() == 'BANANA' -> true
        'a'.toUpperCase().toLowerCase() == 'a' -> true
        auth.missing.toLowerCase() == 'a' -> fails: toLowerCase() needs strings, not null
        auth.one.toUpperCase() == '1' -> fails: toUpperCase() needs strings, not 1
        """,
        CLAIMS,
    ),
    Expressions(
        "length is a property that counts UTF-16 units; property access on null gives null",
        """
        'banana'.length == 6 -> true
        ''.length == 0 -> true
        'banana'['length'] == 6 -> true
        auth.word.length > 5 -> true
        auth.word.length + 1 == 7 -> true
        $id.length == 5 -> true
        '\\u00e9'.length == 1 -> true
        '\\ud83d\\ude00'.length == 2 -> true
        'a\\ud83d\\ude00b'.length == 4 -> true
        auth.missing.length == null -> true
        auth.missing.length > 1 -> fails: null is not a number
        auth.one.length == null -> true
        auth.deep.length == 9 -> true
        """,
        CLAIMS,
    ),
    Expressions(
        "Literals: single or double quotes, the escapes of JavaScript, decimal and hexadecimal numbers",
        """
        'it\\'s' == "it's" -> true
        "say \\"hi\\"" == 'say "hi"' -> true
        'a\\\\b'.length == 3 -> true
        '\\x41\\u0042' == 'AB' -> true
        '\\b\\f\\n\\r\\t\\v\\0' == auth.blanks -> true
        '\\q' == 'q' -> true
        '\\0'.length == 1 -> true
        0x1F == 31 -> true
        1e3 == 1000 -> true
        1.5E-1 == 0.15 -> true
        .5 == 0.5 -> true
        5. == 5 -> true
        1e999 > 1e308 -> true
        'a -> b'.contains('->') -> true
        1 /* one */ == /* also */ 1 // end -> true
        """,
        CLAIMS,
    ),
    Expressions(
        "What is no literal is refused",
        """
        'abc == 1 -> refused: Unterminated string
        "abc' == 1 -> refused: Unterminated string
        '\\x4' == 'a' -> refused: Invalid escape
        '\\u12' == 'a' -> refused: Invalid escape
        '\\7' == 'a' -> refused: Octal
        '\\01' == 'a' -> refused: Octal
        1a == 1 -> refused: Invalid number
        1.2.3 == 1 -> refused: Invalid number
        0x == 0 -> refused: Invalid number
        1e == 1 -> refused: Invalid number
        01 == 1 -> refused: Invalid number
        1 == 1 /* -> refused: Unterminated comment
        `a` == 'a' -> refused: may not contain '`'
        """,
    ),
]


@expression_cases(TABLES)
def test_string(case: Line, given: Given) -> None:
    check_expression(case, given)


def test_a_string_that_grows_without_bound_fails_instead_of_filling_the_memory() -> None:
    grown = "'a'" + ".replace('a', 'aaaaaaaaaa')" * 30
    check_expression(Line(f"{grown} == ''", "fails", "grows too long", ""), CLAIMS)
    doubled = "'" + "a" * 2**20 + "'" + " + auth.long" * 33
    check_expression(Line(f"{doubled} == ''", "fails", "grows too long", ""), Given(auth={"long": "a" * 2**20}))


def test_replacing_nothing_puts_the_new_text_around_every_character() -> None:
    check_expression(Line("'ab'.replace('', '-') == '-a-b-'", "true", "", ""), CLAIMS)
