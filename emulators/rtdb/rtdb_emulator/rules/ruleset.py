"""A rule set: the text of a rules file, made ready to decide requests.

The door of this package; the work is done by `document`, `tree` and `decide`.
"""

import json
from typing import Final

from rtdb_emulator.rules.decide import decide_read, decide_write
from rtdb_emulator.rules.decision import Decision, Path, ReadRequest, WriteRequest
from rtdb_emulator.rules.document import SourceMap, Value, plain, read_document
from rtdb_emulator.rules.tree import RuleNode, TreeLoader

OPEN_RULES: Final = '{"rules":{".read":true,".write":true}}'


class Ruleset:
    """An installed rules file."""

    def __init__(self, text: str, document: Value, rules: RuleNode) -> None:
        self.text = text
        self._document = document
        self._rules = rules

    @classmethod
    def parse(cls, text: str) -> "Ruleset":
        """The rule set of a file's text; RulesError with line and column if it must not be installed."""
        source = SourceMap(text)
        document = read_document(text, source)
        return cls(text, document, TreeLoader(source).load(document))

    @classmethod
    def open(cls) -> "Ruleset":
        """The rules of a database that nobody has given any: everything is allowed."""
        return cls.parse(OPEN_RULES)

    def can_read(self, request: ReadRequest) -> Decision:
        """Whether the read is allowed, and whether that may change with the data."""
        return decide_read(self._rules, request)

    def can_write(self, request: WriteRequest) -> Decision:
        """Whether the write is allowed, as a whole."""
        return decide_write(self._rules, request)

    def index_on(self, path: Path) -> frozenset[str]:
        """The child paths (or `.value`) that a query at `path` may order by."""
        rules: RuleNode | None = self._rules
        for key in path:
            rules = None if rules is None else rules.match(key)
        return frozenset() if rules is None else rules.index_on

    def strict_json(self) -> str:
        """The rules as plain JSON: no comments, expressions as they were written."""
        return json.dumps(plain(self._document), separators=(",", ":"))
