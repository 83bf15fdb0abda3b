"""Builds the syntax tree of an expression by operator precedence.

Precedence, loosest first: `?:`, `||`, `&&`, equality, order, `+ -`, `* / %`, unary `! -`, member and call.
Knows the grammar; whether an expression makes sense is decided by `compiler`.
"""

from typing import Final

from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.lexer import Kind, Token, tokens
from rtdb_emulator.rules.syntax import (
    Binary,
    Call,
    Choice,
    Constant,
    Expression,
    ListOf,
    Logical,
    Member,
    Name,
    Pattern,
    Unary,
)

# Far below Python's recursion limit, far above what people write.
DEEPEST_NESTING: Final = 40
TALLEST_TREE: Final = 150

_BINDING: Final = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "===": 3, "!==": 3,
    "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5,
    "*": 6, "/": 6, "%": 6,
}  # fmt: skip
_WORDS: Final = {"true": True, "false": False, "null": None}
_NOT_IN_RULES: Final = frozenset(
    ("var", "let", "const", "function", "return", "new", "delete", "typeof", "void", "in", "instanceof", "this")
)


def parse_expression(text: str) -> Expression:
    """The tree of `text`, or ExpressionError."""
    return _Parser(tokens(text)).whole()


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._index = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    def whole(self) -> Expression:
        tree = self._expression()
        if self._token.kind is not Kind.END:
            raise self._unexpected("the end of the expression")
        return tree

    def _take(self, sign: str) -> bool:
        if self._token.kind is not Kind.SIGN or self._token.text != sign:
            return False
        self._index += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(f"'{sign}'")

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._token
        if token.kind is Kind.END:
            return ExpressionError(token.at, f"Unexpected end of expression, expected {wanted}.")
        shown = f"'{token.text}'" if token.kind in (Kind.SIGN, Kind.NAME, Kind.NUMBER) else f"a {token.kind.value}"
        return ExpressionError(token.at, f"Unexpected {shown}, expected {wanted}.")

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            raise _too_deep(self._token.at)
        condition = self._operators(1)
        at = self._token.at
        if self._take("?"):
            yes = self._expression()
            self._expect(":")
            condition = _checked(Choice(at, condition, yes, self._expression()))
        self._depth -= 1
        return condition

    def _operators(self, loosest: int) -> Expression:
        left = self._unary()
        while True:
            token = self._token
            binding = _BINDING.get(token.text, 0) if token.kind is Kind.SIGN else 0
            if binding < loosest or not binding:
                return left
            if binding <= 2:
                left = self._chain(left, token, binding)
            else:
                self._index += 1
                right = self._operators(binding + 1)
                left = _checked(Binary(token.at, token.text, left, right))

    def _chain(self, first: Expression, token: Token, binding: int) -> Expression:
        operands = [first]
        while self._take(token.text):
            operands.append(self._operators(binding + 1))
        return _checked(Logical(token.at, token.text, tuple(operands)))

    def _unary(self) -> Expression:
        signs: list[Token] = []
        while self._token.kind is Kind.SIGN and self._token.text in ("!", "-"):
            signs.append(self._token)
            self._index += 1
        operand = self._postfix()
        for sign in reversed(signs):
            operand = _checked(Unary(sign.at, sign.text, operand))
        return operand

    def _postfix(self) -> Expression:
        target = self._primary()
        while True:
            at = self._token.at
            if self._take("."):
                target = self._named_member(target)
            elif self._take("["):
                key = self._expression()
                self._expect("]")
                name = key.value if isinstance(key, Constant) and isinstance(key.value, str) else ""
                target = Member(key.at, target, name, key)
            elif self._take("("):
                target = Call(at, target, self._items(")"))
            else:
                return target
            _checked(target)

    def _named_member(self, target: Expression) -> Expression:
        name = self._token
        if name.kind is not Kind.NAME:
            raise self._unexpected("the name of a property")
        self._index += 1
        return Member(name.at, target, name.text)

    def _items(self, closing: str) -> tuple[Expression, ...]:
        if self._take(closing):
            return ()
        items = [self._expression()]
        while self._take(","):
            items.append(self._expression())
        self._expect(closing)
        return tuple(items)

    def _primary(self) -> Expression:
        token = self._token
        if token.kind is Kind.END:
            raise self._unexpected("a value")
        self._index += 1
        match token.kind:
            case Kind.NUMBER:
                return Constant(token.at, token.number)
            case Kind.STRING:
                return Constant(token.at, token.text)
            case Kind.PATTERN:
                return Pattern(token.at, token.text, token.flags)
            case Kind.NAME:
                return _word(token)
        if token.text == "(":
            inner = self._expression()
            self._expect(")")
            return inner
        if token.text == "[":
            return _checked(ListOf(token.at, self._items("]")))
        self._index -= 1
        raise self._unexpected("a value")


def _word(token: Token) -> Expression:
    if token.text in _WORDS:
        return Constant(token.at, _WORDS[token.text])
    if token.text in _NOT_IN_RULES:
        raise ExpressionError(token.at, f"Rule expressions may not contain '{token.text}'.")
    return Name(token.at, token.text)


def _checked(tree: Expression) -> Expression:
    if tree.height > TALLEST_TREE:
        raise _too_deep(tree.at)
    return tree


def _too_deep(at: int) -> ExpressionError:
    return ExpressionError(at, "Expression is nested too deeply.")
