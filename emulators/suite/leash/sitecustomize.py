"""Python imports this module by itself when its folder is on PYTHONPATH, which the launcher sees to.

firebase-tools runs a function as `sh -c ". venv/bin/activate && functions-framework"` and kills only the `sh`
(https://github.com/firebase/firebase-tools/issues/11069). Tied to that shell, the worker goes with it, and the deployed
code stays free of any word about emulators.
"""

import os

if os.environ.get("FUNCTIONS_EMULATOR") == "true":
    from leash import tie_to_parent  # type: ignore[import-not-found]  # its folder is on PYTHONPATH then

    tie_to_parent()
