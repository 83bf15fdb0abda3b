"""Assigns tests to pytest workers: those that need the suite go to one, because they share its processes and vendor.

xdist's own `loadgroup` writes the group into a private field that pytest 9.2 no longer reads.
"""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

GROUP = "suite"


class SuiteOnOneWorker(LoadScopeScheduling):
    """Assigns every test by itself, except those whose ids the workers wrote into `listed` while collecting."""

    def __init__(self, config: pytest.Config, log: Producer | None, listed: Path) -> None:
        super().__init__(config, log)
        self._listed = listed
        self._needing: frozenset[str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._needing is None:
            self._needing = frozenset(self._listed.read_text().splitlines() if self._listed.exists() else ())
        return GROUP if nodeid in self._needing else nodeid
