"""`python -m app.credits.verify export.json keys.json`: checks an exported account offline.

`export.json` is what GET /v1/credits/audit answered, `keys.json` what GET /v1/credits/keys answers. Exit status: 0
valid, 1 not valid, 2 unreadable.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from app.credits.proofs.export import Unreadable, parse, verify_export
from app.credits.proofs.signing import KeyRing
from app.kit.errors import Invalid


def main(arguments: Sequence[str]) -> int:
    """Verifies and says so in one line of JSON and one sentence."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m app.credits.verify export.json keys.json\n")
        return 2
    try:
        export, jwks = (parse(Path(name).read_text("utf-8-sig")) for name in arguments)
        keys = KeyRing.from_jwks(jwks)
    except (OSError, UnicodeError, Unreadable, Invalid) as error:
        sys.stderr.write(f"unreadable: {error}\n")
        return 2
    verdict = verify_export(export, keys)
    told = {
        "valid": verdict.valid,
        "entries": verdict.entries,
        "check": verdict.check,
        "sequence": verdict.sequence,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stderr.write(verdict.sentence() + "\n")
    return 0 if verdict.valid else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
