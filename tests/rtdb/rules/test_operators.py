"""Operators: precedence, strictness, failures and laziness."""

from rtdb.rules.tables import Expressions, Line, check_expression, expression_cases
from rtdb.rules.world import Given

CLAIMS = Given(
    auth={
        "one": 1,
        "half": 0.5,
        "word": "one",
        "yes": True,
        "no": False,
        "big": 2**53,
        "deep": {"er": 1},
        "list": ["a"],
    },
    root={"leaf": 5, "inner": {"a": 1}},
)

TABLES = [
    Expressions(
        "Precedence, loosest first: ?:, ||, &&, equality, order, + -, * / %, unary, member",
        """
        1 + 2 * 3 == 7 -> true
        (1 + 2) * 3 == 9 -> true
        2 * 3 + 1 == 7 -> true
        10 - 4 - 3 == 3 -> true
        100 / 10 / 5 == 2 -> true
        100 % 30 % 7 == 3 -> true
        12 / 2 * 3 == 18 -> true
        1 + 1 < 3 -> true
        1 < 2 == true -> true
        2 > 1 != false -> true
        true || false && false -> true
        (true || false) && false -> false
        false && true || true -> true
        false || true ? false : true -> false
        false ? true : false ? true : true -> true
        true ? false : true ? true : true -> false
        !false == true -> true
        !(1 == 1) -> false
        -2 + 3 == 1 -> true
        -2 * -3 == 6 -> true
        3 - -2 == 5 -> true
        !!true -> true
        -auth.one == -1 -> true
        """,
        CLAIMS,
    ),
    Expressions(
        "==, != are strict, without coercion, on any scalar or null; === and !== mean the same",
        """
        1 == 1 -> true
        1 == 1.0 -> true
        1 === 1 -> true
        1 !== 1 -> false
        1 == 2 -> false
        1 != 2 -> true
        'a' == 'a' -> true
        'a' == "a" -> true
        'a' == 'A' -> false
        'a' === 'b' -> false
        'a' !== 'b' -> true
        true == true -> true
        true == false -> false
        null == null -> true
        null != null -> false
        null == false -> false
        null == 0 -> false
        null == '' -> false
        0 == false -> false
        1 == true -> false
        auth.one == true -> false
        auth.yes == 1 -> false
        auth.no == 0 -> false
        auth.no == null -> false
        '1' == 1 -> false
        1 == '1' -> false
        '' == 0 -> false
        auth.one == '1' -> false
        auth.word == auth.word -> true
        auth.one == auth.half -> false
        auth.one == auth.half + auth.half -> true
        auth.missing == null -> true
        auth.missing == auth.other -> true
        auth.deep == null -> false
        auth.deep != null -> true
        auth.deep == 'er' -> false
        auth.big + 1 == auth.big -> true
        """,
        CLAIMS,
    ),
    Expressions(
        "< > <= >= take two numbers or two strings, otherwise fail",
        """
        1 < 2 -> true
        2 < 1 -> false
        1 < 1 -> false
        1 <= 1 -> true
        2 >= 3 -> false
        3 >= 3 -> true
        0.1 > 0.01 -> true
        -1 < 0 -> true
        'a' < 'b' -> true
        'b' < 'a' -> false
        'a' < 'aa' -> true
        'B' < 'a' -> true
        '10' < '9' -> true
        '' < 'a' -> true
        'a' <= 'a' -> true
        'b' > 'a' -> true
        auth.one < 2 -> true
        auth.word > 'on' -> true
        auth.word < 2 -> fails: not a number
        auth.one < 'two' -> fails: not a number
        auth.missing < 1 -> fails: null is not a number
        auth.missing <= 'a' -> fails: null is not a number
        auth.missing >= auth.missing -> fails: null is not a number
        auth.yes > 0 -> fails: true is not a number
        auth.yes > auth.no -> fails: true is not a number
        auth.deep < 1 -> fails: an object is not a number
        root.child('inner').val() > 1 -> fails: an object is not a number
        """,
        CLAIMS,
    ),
    Expressions(
        "Strings are ordered by UTF-16 code units: an emoji (surrogates) comes before U+FFEE",
        """
        '\\ud83d\\ude00' < '\\uffee' -> true
        '\\uffee' < '\\ud83d\\ude00' -> false
        '\\u00e9' > 'z' -> true
        """,
    ),
    Expressions(
        "+ adds numbers, or concatenates if one side is a string and the other a string or a number",
        """
        1 + 2 == 3 -> true
        0.1 + 0.2 == 0.3 -> false
        'a' + 'b' == 'ab' -> true
        'a' + 1 == 'a1' -> true
        1 + 'a' == '1a' -> true
        1 + 2 + 'a' == '3a' -> true
        'a' + 1 + 2 == 'a12' -> true
        '' + 1.0 == '1' -> true
        '' + 0.5 == '0.5' -> true
        '' + 1e21 == '1e+21' -> true
        '' + 123456789012345680000 == '123456789012345680000' -> true
        '' + 0.000001 == '0.000001' -> true
        '' + 0.0000001 == '1e-7' -> true
        '' + 1.5e-10 == '1.5e-10' -> true
        '' + -0 == '0' -> true
        '' + (0.1 + 0.2) == '0.30000000000000004' -> true
        auth.word + auth.one == 'one1' -> true
        auth.yes + 1 == 2 -> fails: true is not a number
        auth.word + auth.yes == 'onetrue' -> fails: true is not a number
        auth.word + auth.missing == 'one' -> fails: null is not a number
        auth.missing + auth.missing == null -> fails: null is not a number
        auth.deep + 'a' == 'a' -> fails: an object is not a number
        """,
        CLAIMS,
    ),
    Expressions(
        "- * / % and unary - take numbers only, else fail",
        """
        5 - 3 == 2 -> true
        5 * 0.5 == 2.5 -> true
        7 / 2 == 3.5 -> true
        7 % 3 == 1 -> true
        -7 % 3 == -1 -> true
        7 % -3 == 1 -> true
        5.5 % 2 == 1.5 -> true
        auth.word - 1 == 0 -> fails: 'one' is not a number
        auth.yes * 2 == 2 -> fails: true is not a number
        auth.missing / 2 == 0 -> fails: null is not a number
        auth.word % 2 == 1 -> fails: 'one' is not a number
        -auth.word == 1 -> fails: 'one' is not a number
        -auth.missing == 0 -> fails: null is not a number
        root.child('leaf').val() * 2 == 10 -> true
        root.child('none').val() * 2 == 0 -> fails: null is not a number
        """,
        CLAIMS,
    ),
    Expressions(
        "Division by zero gives NaN, NaN compares false; 1/0 + '' is NaN",
        """
        1 / 0 == 1 / 0 -> false
        1 / 0 != 1 / 0 -> true
        1 / 0 + '' == 'NaN' -> true
        -1 / 0 + '' == 'NaN' -> true
        0 / 0 + '' == 'NaN' -> true
        1 / 0 > 0 -> false
        1 / 0 < 0 -> false
        1 / 0 >= 0 -> false
        1 / 0 <= 0 -> false
        1 % 0 + '' == 'NaN' -> true
        1e308 * 10 + '' == 'Infinity' -> true
        -1e308 * 10 + '' == '-Infinity' -> true
        1e308 * 10 > 1e308 -> true
        """,
    ),
    Expressions(
        "&&, || and ?: are lazy; a failing left side makes the whole rule fail",
        """
        true || auth.word < 1 -> true
        false && auth.word < 1 -> false
        false || auth.word < 1 -> fails: not a number
        true && auth.word < 1 -> fails: not a number
        auth.word < 1 || true -> fails: not a number
        auth.word < 1 && false -> fails: not a number
        true ? true : auth.word < 1 -> true
        false ? auth.word < 1 : true -> true
        false ? true : auth.word < 1 -> fails: not a number
        auth.word < 1 ? true : true -> fails: not a number
        false || false || true || auth.word < 1 -> true
        true && true && false && auth.word < 1 -> false
        false || false || false -> false
        true && true && true -> true
        auth == null || auth.one == 1 -> true
        auth != null && auth.one == 1 -> true
        (auth.one == 1 ? 'a' : 'b') == 'a' -> true
        (auth.one == 2 ? 'a' : 5) == 5 -> true
        (auth.one == 1 ? root : data).child('leaf').exists() -> true
        """,
        CLAIMS,
    ),
]


@expression_cases(TABLES)
def test_operator(case: Line, given: Given) -> None:
    check_expression(case, given)
