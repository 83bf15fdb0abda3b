"""Stands before the real Java: firebase-tools can only start `java -jar X`, and some of our X are Python programs.

A jar named `standin-<name>.jar` is a marker (see `emulators.suite.jars`); its program runs instead, with the same
options and the same standard streams. Everything else goes to the real Java of SUITE_JAVA. Both are tied to the CLI's
life. Standard library only, and no imports of ours but `leash`: it is on the path of every start.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "emulators" / "suite" / "leash"))

from leash import tie_to_parent  # type: ignore[import-not-found]  # noqa: E402  the folder of sitecustomize.py is not a package on purpose

# marker -> (import root below the repository, module)
STAND_INS = {
    "standin-database.jar": ("emulators/rtdb", "rtdb_emulator"),
    "standin-storage-rules.jar": (".", "emulators.storage_rules"),
}


def main(arguments: list[str]) -> None:
    """Become the stand-in, or the real Java."""
    tie_to_parent()
    jar = arguments[arguments.index("-jar") + 1] if "-jar" in arguments[:-1] else ""
    stand_in = STAND_INS.get(os.path.basename(jar))  # noqa: PTH119  pathlib would cost a millisecond for nothing
    if stand_in is None:
        java = os.environ.get("SUITE_JAVA", "")
        if not java:
            sys.exit("emulators/java/java: SUITE_JAVA does not name the real Java; start the suite with `make run`.")
        os.execv(java, [java, *arguments])
    import_root, module = stand_in
    options = arguments[arguments.index("-jar") + 2 :]
    python = os.environ["SUITE_PYTHON"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / import_root)}
    os.execve(python, [python, "-m", module, *options], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
