"""Ties a process to the life of its parent, so that a killed launcher or CLI leaves nothing behind.

Standard library only: it runs inside `java` and inside every functions worker, before anything else does.
As a command: `python leash.py <parent's pid> <program> <arguments...>` becomes that program, already tied.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tie_to_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies. It survives exec, not fork. Only Linux can; elsewhere the
    launcher's sweep at stop and at the next start is the only net."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    tie_to_parent()
    if os.getppid() != int(sys.argv[1]):
        sys.exit("leash: the parent was gone before the knot was tied")
    os.execvp(sys.argv[2], sys.argv[2:])
