"""The `api` function as production serves it (functions-framework, gunicorn, threads) on the suite's stores.

For what the Functions emulator hides: that a client left, how many requests one instance serves, and an environment
of one's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from emulators.suite.environment import function_variables
from support.framework import FUNCTIONS, serving
from support.suite import RunningSuite


@contextmanager
def serving_api(suite: RunningSuite, **changed: str) -> Iterator[str]:
    """Its address, with some variables of its environment `changed`."""
    variables = function_variables(suite.ports, users_own=False).values
    environment = {**variables, **suite.environment(), "FUNCTIONS_EMULATOR": "true", **changed}
    with serving(FUNCTIONS / "main.py", "api", environment) as address:
        yield address
