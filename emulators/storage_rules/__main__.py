"""Entry point: `python -m emulators.storage_rules serve`, spoken to over standard input and output."""

import signal
import sys

from emulators.storage_rules.runtime import serve


def _stop(_signal: int, _frame: object) -> None:
    # 130 is what a JVM answers to SIGINT, and the only other code that firebase-tools takes for a clean stop.
    sys.exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    serve(sys.stdin, sys.stdout)
