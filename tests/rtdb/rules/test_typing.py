"""What is refused at upload."""

from rtdb.rules.tables import Expressions, Line, check_expression, expression_cases
from rtdb.rules.world import Given
from rtdb_emulator.rules import QuerySpec

WRITE = Given(auth={"uid": "alice", "token": {"admin": True}}, names={"$uid": "alice"})
READ = Given(
    auth={"uid": "alice", "token": {"admin": True, "roles": {"editor": True}, "groups": ["a", "b"]}},
    names={"$uid": "alice"},
    kind=".read",
    query=QuerySpec("owner", start_at=1, end_at="z", equal_to="alice", limit_to_first=10, limit_to_last=None),
)
PLAIN = Given(kind=".read")

TABLES = [
    Expressions(
        "The whole expression must be boolean",
        """
        true -> true
        false -> false
        (true) -> true
        data.exists() -> false
        1 -> refused: must be a boolean expression
        'true' -> refused: must be a boolean expression
        null -> refused: must be a boolean expression
        auth -> refused: must be a boolean expression
        auth.token.admin -> refused: Compare with == true
        auth.token.admin == true -> true
        data -> refused: must be a boolean expression
        data.val() -> refused: Compare with == true
        $uid -> refused: must be a boolean expression
        now -> refused: must be a boolean expression
        1 + 1 -> refused: must be a boolean expression
        data.getPriority() -> refused: must be a boolean expression
        data.child('a') -> refused: must be a boolean expression
        'a'.replace('a', 'b') -> refused: must be a boolean expression
        true ? true : 1 -> refused: must be a boolean expression
        true ? auth.a : true -> refused: must be a boolean expression
        """,
        WRITE,
    ),
    Expressions(
        "!, &&, || and the condition of ?: need statically boolean operands",
        """
        !auth.token.admin -> refused: ! only operates on booleans
        !1 -> refused: ! only operates on booleans
        !null -> refused: ! only operates on booleans
        !data.val() -> refused: ! only operates on booleans
        !data -> refused: ! only operates on booleans
        !(auth.token.admin == true) -> false
        auth && true -> refused: Left operand of && must be boolean
        true && auth.token.admin -> refused: Right operand of && must be boolean
        true && true && auth.token.admin -> refused: Right operand of && must be boolean
        data.val() || true -> refused: Left operand of || must be boolean
        true || 1 -> refused: Right operand of || must be boolean
        'a' && true -> refused: Left operand of && must be boolean
        auth.token.admin ? true : false -> refused: condition of ?: must be boolean
        1 ? true : false -> refused: condition of ?: must be boolean
        (true ? 1 : 2) ? true : false -> refused: condition of ?: must be boolean
        """,
        WRITE,
    ),
    Expressions(
        "Snapshots cannot be compared with anything",
        """
        root == null -> refused: Invalid == expression: left operand is not a number, boolean, string, or null
        null == root -> refused: Invalid == expression: right operand
        root.child('a') != null -> refused: Invalid != expression
        data === root -> refused: Invalid === expression
        newData !== data -> refused: Invalid !== expression
        data < 1 -> refused: Invalid < expression
        1 > data.parent() -> refused: Invalid > expression
        data + 'a' == 'a' -> refused: Invalid + expression
        (true ? data : 1) == 1 -> refused: Invalid == expression
        -data == 1 -> refused: - only operates on numbers
        """,
        WRITE,
    ),
    Expressions(
        "Operands of a type that can only fail are refused",
        """
        1 < true -> refused: right operand is not a number or string
        true >= 1 -> refused: left operand is not a number or string
        null < 1 -> refused: left operand is not a number or string
        1 < 'a' -> refused: different types
        $uid > 5 -> refused: different types
        'a' - 1 == 0 -> refused: left operand is not a number
        1 * 'a' == 0 -> refused: right operand is not a number
        1 / true == 1 -> refused: right operand is not a number
        null % 2 == 1 -> refused: left operand is not a number
        1 + true == 2 -> refused: right operand is not a number or string
        null + 'a' == 'a' -> refused: left operand is not a number or string
        -'a' == 1 -> refused: - only operates on numbers
        -true == 1 -> refused: - only operates on numbers
        (1 + 'a') - 1 == 0 -> refused: left operand is not a number
        data.exists() + 1 == 2 -> refused: left operand is not a number or string
        """,
        WRITE,
    ),
    Expressions(
        "Unknown identifiers, and an unknown $x, are refused",
        """
        foo == 1 -> refused: Unknown variable 'foo'.
        Auth != null -> refused: Unknown variable 'Auth'.
        $other == 'a' -> refused: Unknown variable '$other'.
        $uid == 'alice' -> true
        newdata.exists() -> refused: Unknown variable 'newdata'.
        Math.abs(1) == 1 -> refused: Unknown variable 'Math'.
        undefined == null -> refused: Unknown variable 'undefined'.
        true && foo -> refused: Unknown variable 'foo'.
        """,
        WRITE,
    ),
    Expressions(
        "Unknown methods and properties on known types are refused",
        """
        data.isArray() -> refused: No such method/property 'isArray'.
        data.foo == 1 -> refused: No such method/property 'foo'.
        data.name() == 'a' -> refused: No such method/property 'name'.
        data.exists -> refused: 'exists' is a method
        data.child == null -> refused: 'child' is a method
        data.val == null -> refused: 'val' is a method
        data.hasChildren == true -> refused: 'hasChildren' is a method
        data.val().foo == 1 -> refused: No such method/property 'foo'.
        data.val().foo() == 1 -> refused: No such method/property 'foo'.
        data.val().exists() -> refused: No such method/property 'exists'.
        data.length == 1 -> refused: No such method/property 'length'.
        'a'.foo == 1 -> refused: No such method/property 'foo'.
        'a'.trim() == 'a' -> refused: No such method/property 'trim'.
        'a'.contains == null -> refused: 'contains' is a method
        data.val().matches == null -> refused: 'matches' is a method
        'a'.length() == 1 -> refused: No such method/property 'length'.
        now.toString() == '' -> refused: No such method/property 'toString'.
        (1).length == 1 -> refused: No such method/property 'length'.
        true.contains('a') -> refused: No such method/property 'contains'.
        null.contains('a') -> refused: No such method/property 'contains'.
        auth.uid.foo() == 1 -> refused: No such method/property 'foo'.
        auth.uid.val() == 1 -> refused: No such method/property 'val'.
        data() -> refused: Only methods can be called
        auth() == null -> refused: Only methods can be called
        data.child('a')() -> refused: Only methods can be called
        (true ? data : 'a').exists() -> refused: No such method/property 'exists'.
        """,
        WRITE,
    ),
    Expressions(
        "A wrong number or type of arguments is refused",
        """
        data.exists(1) -> refused: exists() takes 0 arguments, not 1
        data.val('a') == 1 -> refused: val() takes 0 arguments, not 1
        data.child().exists() -> refused: child() takes 1 argument, not 0
        data.child('a', 'b').exists() -> refused: child() takes 1 argument, not 2
        data.child(1).exists() -> refused: child() needs a string
        data.child(null).exists() -> refused: child() needs a string
        data.child(data).exists() -> refused: child() needs a string
        data.child(['a']).exists() -> refused: only allowed as the argument of hasChildren
        data.hasChild() -> refused: hasChild() takes 1 argument, not 0
        data.hasChild(true) -> refused: hasChild() needs a string
        data.hasChildren('a') -> refused: array of strings
        data.hasChildren([]) -> refused: at least one string
        data.hasChildren([1]) -> refused: array of strings
        data.hasChildren(['a', null]) -> refused: array of strings
        data.hasChildren(['a'], ['b']) -> refused: hasChildren() takes 1 argument, not 2
        data.hasChildren(auth.list) -> refused: array of strings
        data.parent(1).exists() -> refused: parent() takes 0 arguments, not 1
        'a'.contains() -> refused: contains() takes 1 argument, not 0
        'a'.contains(1) -> refused: contains() needs a string
        'a'.replace('a') == 'b' -> refused: replace() takes 2 arguments, not 1
        'a'.replace('a', 1) == 'b' -> refused: replace() needs a string
        'a'.toLowerCase('a') == 'a' -> refused: toLowerCase() takes 0 arguments, not 1
        'a'.matches('a') -> refused: needs a regular expression
        'a'.matches() -> refused: matches() takes 1 argument, not 0
        'a'.matches(/a/, /b/) -> refused: matches() takes 1 argument, not 2
        'a'.contains(/a/) -> refused: only allowed as the argument of matches
        /a/ == 'a' -> refused: only allowed as the argument of matches
        ['a'] == 'a' -> refused: only allowed as the argument of hasChildren
        """,
        WRITE,
    ),
    Expressions(
        "Computed access: on auth any string; on snapshots and strings only a literal method name",
        """
        auth['uid'] == 'alice' -> true
        auth['token']['admin'] == true -> true
        auth['u' + 'id'] == 'alice' -> true
        auth.token.roles[auth.missing] == null -> fails: null is not the name of a property
        auth.token.roles['editor'] == true -> true
        auth.token.groups['1'] == 'b' -> true
        auth.token.groups['2'] == null -> true
        auth[1] == null -> refused: the name is not a string
        auth[null] == null -> refused: the name is not a string
        auth[data.exists()] == null -> refused: the name is not a string
        auth[root] == null -> refused: the name is not a string
        data['exists']() -> false
        data['exi' + 'sts']() -> refused: Invalid property access
        data[$uid]() -> refused: Invalid property access
        data['foo']() -> refused: No such method/property 'foo'.
        data['exists'] -> refused: 'exists' is a method
        'a'['contains']('a') -> true
        'a'['con' + 'tains']('a') -> refused: Invalid property access
        'a'[0] == 'a' -> refused: Invalid property access
        $uid['length'] == 5 -> true
        auth.uid['con' + 'tains']('a') -> refused: Invalid property access
        data.val()['length'] == 1 -> refused: Invalid property access
        data.val()['x'] == 1 -> refused: Invalid property access
        data.val()['contains']('x') -> refused: Invalid property access
        """,
        READ,
    ),
    Expressions(
        "Property access on null or a missing claim gives null",
        """
        auth.uid == null -> true
        auth.token.admin == null -> true
        auth.foo.bar.baz == null -> true
        auth['foo']['bar'] == null -> true
        auth == null -> true
        auth != null -> false
        auth.uid == $uid -> refused: Unknown variable '$uid'.
        """,
        PLAIN,
    ),
    Expressions(
        "newData is not available in .read; query only is in .read",
        """
        newData.exists() -> refused: Unknown variable 'newData'
        data.exists() || newData.exists() -> refused: Unknown variable 'newData'
        now > 0 -> true
        query.orderByKey == false -> true
        """,
        READ,
    ),
    Expressions(
        "query only is available in .read",
        """
        query.orderByKey -> refused: Unknown variable 'query': a .write rule has no query
        newData.exists() -> false
        """,
        WRITE,
    ),
    Expressions(
        "query has the constraints of the request; other members are refused",
        """
        query.orderByChild == 'owner' -> true
        query.orderByKey -> false
        query.orderByValue -> false
        query.orderByPriority -> false
        !query.orderByKey && query.orderByChild == 'owner' -> true
        query.startAt == 1 -> true
        query.endAt == 'z' -> true
        query.equalTo == auth.uid -> true
        query.limitToFirst == 10 -> true
        query.limitToFirst <= 100 -> true
        query.limitToLast == null -> true
        query.limitToLast <= 100 -> fails: null is not a number
        query.equalTo.contains('ali') -> true
        query.startAt.contains('a') -> fails: contains() needs strings, not 1
        query.orderBy == 'a' -> refused: No such method/property 'orderBy'.
        query.limit == 1 -> refused: No such method/property 'limit'.
        query.orderByKey() -> refused: No such method/property 'orderByKey'.
        query == null -> refused: Invalid == expression
        query.orderByChild == 'mem' + 'bers' -> refused: right operand must be an ordering or string literal
        query.orderByChild == auth.uid -> refused: right operand must be an ordering or string literal
        $uid == query.orderByChild -> refused: left operand must be an ordering or string literal
        query.orderByChild == null -> false
        query['orderByChild'] == 'owner' -> true
        query[$uid] == 'owner' -> refused: No such method/property
        """,
        READ,
    ),
    Expressions(
        "A read without a query has orderByKey == true, all others false or null",
        """
        query.orderByKey -> true
        query.orderByValue -> false
        query.orderByPriority == false -> true
        query.orderByChild == null -> true
        query.startAt == null && query.endAt == null && query.equalTo == null -> true
        query.limitToFirst == null && query.limitToLast == null -> true
        query.limitToFirst <= 100 -> fails: null is not a number
        """,
        PLAIN,
    ),
    Expressions(
        "One expression: no assignment, no **, no statements, no function definitions",
        """
        a = 1 -> refused: may not contain '='
        true; false -> refused: may not contain ';'
        2 ** 2 == 4 -> refused: may not contain '**'
        true & false -> refused: may not contain '&'
        true | false -> refused: may not contain '|'
        1 << 2 == 4 -> refused: may not contain '<<'
        ~1 == 1 -> refused: may not contain '~'
        1 ^ 1 == 0 -> refused: may not contain '^'
        auth?.uid == 'a' -> refused: may not contain '?.'
        auth ?? true -> refused: may not contain '??'
        () => true -> refused
        function() { return true } -> refused
        typeof auth == 'object' -> refused: may not contain 'typeof'
        new Date() == 1 -> refused: may not contain 'new'
        'a' in auth -> refused: Unexpected 'in'
        {} == null -> refused: may not contain '{'
        +1 == 1 -> refused: Unexpected '+', expected a value
        1 == -> refused: Unexpected end of expression
        (1 == 1 -> refused: Unexpected end of expression, expected ')'
        1 == 1) -> refused: Unexpected ')', expected the end of the expression
        true false -> refused: Unexpected 'false'
        true ? false -> refused: expected ':'
        data.('a') -> refused: expected the name of a property
        data.child('a',) == 1 -> refused: Unexpected ')'
        1, 2 == 2 -> refused: Unexpected ','
        @ == 1 -> refused: may not contain '@'
        """,
        WRITE,
    ),
    Expressions(
        "An error says what was probably meant",
        """
        newdata.exists() -> refused: Did you mean 'newData'?
        $Uid == 'a' -> refused: Did you mean '$uid'?
        foo == 1 -> refused: Unknown variable 'foo'.
        data.exist() -> refused: Did you mean 'exists'?
        data.haschild('a') -> refused: Did you mean 'hasChild'?
        data.hasChilds(['a']) -> refused: Did you mean 'hasChild'?
        data.value() == 1 -> refused: Did you mean 'val'?
        'a'.startsWith('a') -> refused: Did you mean 'beginsWith'?
        data.val().includes('a') -> refused: Did you mean 'contains'?
        auth.uid.test('a') -> refused: Did you mean 'matches'?
        'a'.size == 1 -> refused: Did you mean 'length'?
        """,
        WRITE,
    ),
]


@expression_cases(TABLES)
def test_typing(case: Line, given: Given) -> None:
    check_expression(case, given)
