"""`python -m app.credits.verify statement keys.json`: checks an exported account offline.

`statement` is what GET /v1/credits/audit answered (JSON, JSON lines or CSV), `keys.json` what GET /v1/credits/keys
answers. Exit status: 0 valid, 1 not valid, 2 unreadable. docs/verification.md says what is checked.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from app.credits.proofs.signing import KeyRing
from app.credits.statements.export import ExportVerdict, Unreadable, parse, parse_statements, verify_statements
from app.credits.statements.table import TableVerdict, is_table, verify_csv
from app.kit.errors import Invalid


def main(arguments: Sequence[str]) -> int:
    """Verifies and says so in one line of JSON and one sentence."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m app.credits.verify statement keys.json\n")
        return 2
    try:
        statement, jwks = (Path(name).read_bytes() for name in arguments)
        keys = KeyRing.from_jwks(parse(jwks.decode("utf-8-sig")))
        verdict = _verdict(statement, keys)
    except (OSError, UnicodeError, Unreadable, Invalid) as error:
        sys.stderr.write(f"unreadable: {error}\n")
        return 2
    sys.stdout.write(json.dumps(asdict(verdict)) + "\n")
    sys.stderr.write(verdict.sentence() + "\n")
    return 0 if verdict.valid else 1


def _verdict(statement: bytes, keys: KeyRing) -> ExportVerdict | TableVerdict:
    if is_table(statement):
        return verify_csv(statement, keys)
    return verify_statements(parse_statements(statement.decode("utf-8-sig")), keys)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
