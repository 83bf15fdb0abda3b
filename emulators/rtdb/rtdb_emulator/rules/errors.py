"""How rules go wrong: at upload (`RulesError`, `ExpressionError`) and at run time (`RuleFailure`).

Refuses to know what the server answers with: a status code is chosen by whoever catches these.
"""


class RulesError(Exception):
    """A rules file that must not be installed. `line` and `column` count from 1, in characters of the file."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"{line}:{column}: {message}")
        self.line = line
        self.column = column
        self.message = message


class ExpressionError(Exception):
    """An expression that is not valid; `offset` counts characters from the start of the expression."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


class RuleFailure(Exception):
    """An operation that has no result on these operands. The rule that asked for it counts as false."""
