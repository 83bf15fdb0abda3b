"""What one run is: its options, and everything that is decided before the first process starts."""

import sys
from dataclasses import dataclass
from pathlib import Path

from emulators.local_model import installation as local_model
from emulators.suite import registry
from emulators.suite.environment import FunctionVariables, cli_environment, function_variables
from emulators.suite.install import ROOT
from emulators.suite.jars import Jar, find_jars
from emulators.suite.java import Java, find_java
from emulators.suite.places import PROJECT, Places, Ports

EMULATORS = ("auth", "functions", "firestore", "storage", "tasks", "eventarc", "hosting", "database")


@dataclass(frozen=True)
class Options:
    """How this suite is to be run.

    offset: added to every port; None chooses a free one.
    fresh: forget the data first.
    lasting: keep the data for the next start.
    users_own: use the user's keys and settings, and make demo users.
    local_model: serve a small real model too.
    schedules: fire scheduled functions.
    reload: load the functions again when their source changes.
    owner: end when this process does.
    announce: also write the state there.
    """

    offset: int | None = 0
    fresh: bool = False
    lasting: bool = True
    users_own: bool = True
    local_model: bool = False
    schedules: bool = True
    reload: bool = True
    owner: int | None = None
    announce: Path | None = None


@dataclass(frozen=True)
class Plan:
    """One run, decided."""

    options: Options
    places: Places
    ports: Ports
    worker_ports: tuple[int, int]
    variables: FunctionVariables
    jars: dict[str, Jar]
    java: Java

    @classmethod
    def of(cls, options: Options, claim: registry.Claim) -> "Plan":
        """Raises `Unable` when something that the run needs is missing."""
        ports, places = Ports.at(claim.offset), Places(claim.offset)
        book = places.book if options.local_model else None
        return cls(
            options=options,
            places=places,
            ports=ports,
            worker_ports=claim.worker_ports,
            variables=function_variables(ports, users_own=options.users_own, book=book),
            jars=find_jars(download=False),
            java=find_java(),
        )

    @property
    def has_export(self) -> bool:
        """Whether an earlier run left its data."""
        return (self.places.export / "firebase-export-metadata.json").is_file()

    @property
    def stand_ins(self) -> list[str]:
        return [jar.emulator for jar in self.jars.values() if jar.is_stand_in]

    def cli_command(self) -> list[str]:
        command = ["node", str(ROOT / "emulators" / "suite" / "firebase.cjs"), "emulators:start", "--project", PROJECT]
        command += ["--config", str(self.places.config), "--only", ",".join(EMULATORS)]
        if self.has_export:
            command += ["--import", str(self.places.export)]
        if self.options.lasting:
            command += ["--export-on-exit", str(self.places.export)]
        return command

    def cli_environment(self) -> dict[str, str]:
        first, last = self.worker_ports
        reload = "yes" if self.options.reload else "no"
        environment = cli_environment(self.places, self.variables, self.jars, self.java)
        return {**environment, "SUITE_WORKER_PORTS": f"{first}-{last}", "SUITE_RELOAD": reload}

    def vendor_command(self) -> list[str]:
        return [sys.executable, "-m", "emulators.model_vendor", "--port", str(self.ports.models)]

    def local_model_command(self) -> list[str]:
        return local_model.command(self.ports.local_model)
