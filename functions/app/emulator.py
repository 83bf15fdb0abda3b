"""A worker of the Functions emulator ends with its parent. Imported first by `main.py`; does nothing elsewhere.

firebase-tools starts workers through a shell and kills only the shell, so every worker would live on
(https://github.com/firebase/firebase-tools/issues/11069). Linux lets a process ask for a signal instead.
"""

import os

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel for SIGTERM when the parent process ends. Linux only; elsewhere nothing happens."""
    import ctypes
    import signal
    import sys

    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if os.environ.get("FUNCTIONS_EMULATOR") == "true" and os.environ.get("FUNCTION_TARGET"):
    die_with_parent()
