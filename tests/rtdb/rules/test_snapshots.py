"""Snapshots: every method, on places that exist and on places that do not."""

from rtdb.rules.tables import Expressions, Line, check_expression, expression_cases
from rtdb.rules.world import Given

STORED = Given(
    auth={"uid": "alice", "age": 7},
    root={
        "users": {
            "alice": {"name": "Alice", "age": 30, "ok": True, "off": False, "zero": 0, "blank": "", "tags": {"a": 1}}
        },
        "ranked": {".value": "x", ".priority": 7},
        "named": {".priority": "p", "a": 1},
        "list": ["x", None, "z"],
    },
    new={"users": {"alice": {"name": "Bob", "tags": {"a": 1, "b": 2}}, "bob": {"name": "B"}}},
    at="users/alice",
    names={"$uid": "alice", "$other": "bob"},
)

TABLES = [
    Expressions(
        "val() is the scalar or null; an inner node yields an object usable only for null tests",
        """
        data.child('name').val() == 'Alice' -> true
        data.child('age').val() == 30 -> true
        data.child('ok').val() == true -> true
        data.child('off').val() == false -> true
        data.child('zero').val() == 0 -> true
        data.child('zero').val() == false -> false
        data.child('blank').val() == '' -> true
        data.child('none').val() == null -> true
        data.val() == null -> false
        data.val() != null -> true
        data.val() == data.val() -> false
        data.val() == 'Alice' -> false
        data.val() + '' == '' -> fails: an object is not a number
        data.val().contains('a') -> fails: contains() needs strings, not an object
        root.child('list').val() != null -> true
        """,
        STORED,
    ),
    Expressions(
        "child(path) takes a string; paths may contain slashes; characters illegal in keys are never found",
        """
        data.child('tags/a').val() == 1 -> true
        data.child('tags').child('a').val() == 1 -> true
        data.child('/tags//a/').val() == 1 -> true
        data.child('').val() != null -> true
        data.child('tags/a/deeper').exists() -> false
        data.child('name/first').exists() -> false
        root.child('users/' + auth.uid + '/name').val() == 'Alice' -> true
        root.child('users').child($uid).exists() -> true
        root.child('users').child($other).exists() -> false
        root.child('list/0').val() == 'x' -> true
        root.child('list/1').exists() -> false
        root.child('a.b').exists() -> false
        root.child('$uid').exists() -> false
        root.child('[0]').exists() -> false
        root.child('..').exists() -> false
        root.child(auth.missing).exists() -> fails: child() needs strings, not null
        root.child(auth.age).exists() -> fails: child() needs strings, not 7
        root.child(data.child('none').val()).exists() -> fails: child() needs strings, not null
        root.child(data.child('ok').val()).exists() -> fails: child() needs strings, not true
        root.child(data.val()).exists() -> fails: child() needs strings, not an object
        """,
        STORED,
    ),
    Expressions(
        "parent() is the location above and fails at the root, also for places that do not exist",
        """
        data.parent().child('alice').exists() -> true
        data.parent().parent().child('users').exists() -> true
        data.parent().parent().parent().exists() -> fails: no parent
        root.parent().exists() -> fails: no parent
        root.child('x/y').parent().parent().child('users').exists() -> true
        root.child('x/y').parent().exists() -> false
        data.child('tags/a').parent().child('a').val() == 1 -> true
        root.child('users').child('').parent().child('list').exists() -> true
        """,
        STORED,
    ),
    Expressions(
        "hasChild(path) takes a string and is true for what exists",
        """
        data.hasChild('name') -> true
        data.hasChild('none') -> false
        data.hasChild('tags/a') -> true
        data.hasChild('tags/b') -> false
        data.hasChild('zero') -> true
        data.hasChild('off') -> true
        data.child('name').hasChild('x') -> false
        data.child('none').hasChild('x') -> false
        root.hasChild('users/' + $uid) -> true
        data.hasChild(auth.missing) -> fails: hasChild() needs strings, not null
        data.hasChild(auth.age) -> fails: hasChild() needs strings, not 7
        """,
        STORED,
    ),
    Expressions(
        "hasChildren() asks for any child, hasChildren([...]) for all of them",
        """
        data.hasChildren() -> true
        data.child('tags').hasChildren() -> true
        data.child('name').hasChildren() -> false
        data.child('none').hasChildren() -> false
        root.child('ranked').hasChildren() -> false
        root.child('named').hasChildren() -> true
        data.hasChildren(['name']) -> true
        data.hasChildren(['name', 'age']) -> true
        data.hasChildren(['name', 'none']) -> false
        data.hasChildren(['none', 'name']) -> false
        data.hasChildren(['tags/a', 'name']) -> true
        root.child('users').hasChildren([$uid]) -> true
        root.child('users').hasChildren([$uid, $other]) -> false
        data.child('name').hasChildren(['x']) -> false
        data.hasChildren([auth.missing]) -> fails: hasChildren() needs strings, not null
        data.hasChildren(['none', auth.missing]) -> fails: hasChildren() needs strings, not null
        """,
        STORED,
    ),
    Expressions(
        "exists() is true wherever something is stored, also false, zero and the empty string",
        """
        data.exists() -> true
        data.child('off').exists() -> true
        data.child('zero').exists() -> true
        data.child('blank').exists() -> true
        data.child('none').exists() -> false
        !data.child('none').exists() -> true
        root.exists() -> true
        data.exists() == true -> true
        data['exists']() -> true
        data["child"]("name").exists() -> true
        """,
        STORED,
    ),
    Expressions(
        "isNumber(), isString(), isBoolean() are false for everything else, also for nothing",
        """
        data.child('age').isNumber() -> true
        data.child('zero').isNumber() -> true
        data.child('name').isNumber() -> false
        data.child('ok').isNumber() -> false
        data.child('none').isNumber() -> false
        data.isNumber() -> false
        data.child('name').isString() -> true
        data.child('blank').isString() -> true
        data.child('age').isString() -> false
        data.isString() -> false
        data.child('none').isString() -> false
        data.child('ok').isBoolean() -> true
        data.child('off').isBoolean() -> true
        data.child('zero').isBoolean() -> false
        data.child('none').isBoolean() -> false
        data.isBoolean() -> false
        """,
        STORED,
    ),
    Expressions(
        "getPriority() is null, a number or a string",
        """
        data.getPriority() == null -> true
        root.child('ranked').getPriority() == 7 -> true
        root.child('ranked').getPriority() > 6 -> true
        root.child('ranked').val() == 'x' -> true
        root.child('named').getPriority() == 'p' -> true
        root.child('named').getPriority().contains('p') -> true
        root.child('none').getPriority() == null -> true
        root.child('none').getPriority() > 1 -> fails: null is not a number
        """,
        STORED,
    ),
    Expressions(
        "newData is the tree after the write; newData.parent() walks the merged new tree, data and root do not",
        """
        newData.child('name').val() == 'Bob' -> true
        data.child('name').val() == 'Alice' -> true
        newData.child('age').exists() -> false
        newData.child('tags').hasChildren(['a', 'b']) -> true
        newData.parent().child('bob').exists() -> true
        data.parent().child('bob').exists() -> false
        root.child('users/bob').exists() -> false
        newData.parent().parent().child('users/bob/name').val() == 'B' -> true
        newData.parent().parent().parent().exists() -> fails: no parent
        newData.child('name').val() != data.child('name').val() -> true
        newData.hasChildren() && !newData.child('name').hasChildren() -> true
        """,
        STORED,
    ),
]


@expression_cases(TABLES)
def test_snapshot(case: Line, given: Given) -> None:
    check_expression(case, given)
