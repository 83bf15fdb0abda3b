"""Which ports and folders a suite uses. One number, the port offset, moves all of them: suites live side by side."""

from dataclasses import dataclass, fields
from pathlib import Path

from emulators.suite.install import LOCAL, ROOT

HOST = "127.0.0.1"
PROJECT = "demo-credits"
REGION = "us-central1"
DATABASE_NAMESPACE = f"{PROJECT}-default-rtdb"
BUCKET = f"{PROJECT}.appspot.com"
FIRST_WORKER_PORT = 20_000
WORKER_PORTS_PER_SUITE = 300
WORKER_RANGES = 40
# Beyond it the highest of the suite's ports, 9499, would come into the range of the functions' workers.
LARGEST_OFFSET = 10_000
# Those of https://fetch.spec.whatwg.org/#port-blocking above 2000: browsers and Node's fetch refuse to connect to them.
UNREACHABLE_PORTS = frozenset(
    (2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080)
)


@dataclass(frozen=True)
class Ports:
    """The listening ports of one suite; the defaults are firebase's own."""

    hub: int = 4400
    logging: int = 4500
    models: int = 4010
    local_model: int = 4020
    hosting: int = 5000
    functions: int = 5001
    firestore: int = 8080
    database: int = 9000
    auth: int = 9099
    firestore_websocket: int = 9150
    storage: int = 9199
    eventarc: int = 9299
    tasks: int = 9499

    @classmethod
    def at(cls, offset: int) -> "Ports":
        return cls(*(field.default + offset for field in fields(cls) if isinstance(field.default, int)))

    def named(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def unreachable(self) -> dict[str, int]:
        """The services whose port browsers and Node's fetch refuse, with that port."""
        return {name: port for name, port in self.named().items() if port in UNREACHABLE_PORTS}

    def overlap(self, other: "Ports") -> bool:
        """Whether both would listen on the same port somewhere."""
        return not set(self.named().values()).isdisjoint(other.named().values())


@dataclass(frozen=True)
class Places:
    """The folders of one suite. Data and logs have plain names, because people look into them."""

    offset: int

    @property
    def _suffix(self) -> str:
        return f"-{self.offset}" if self.offset else ""

    @property
    def data(self) -> Path:
        return LOCAL / f"data{self._suffix}"

    @property
    def export(self) -> Path:
        """What firebase exports on exit and imports at start: Auth, Firestore, Storage, Realtime Database."""
        return self.data / "export"

    @property
    def database_file(self) -> Path:
        return self.data / "database.json"

    @property
    def logs(self) -> Path:
        return LOCAL / f"logs{self._suffix}"

    @property
    def work(self) -> Path:
        """Working directory of the CLI: its own logs, temporary files and settings."""
        return LOCAL / "suite" / str(self.offset)

    @property
    def state(self) -> Path:
        return self.work / "state.json"

    @property
    def book(self) -> Path:
        """The book of models with the local one, where that is served."""
        return self.work / "catalogue.toml"

    @property
    def config(self) -> Path:
        # Beside firebase.json: the CLI resolves every path in it against its folder.
        return ROOT / f"firebase.local-{self.offset}.json"

    @property
    def mark(self) -> str:
        """What every process of this suite carries in its environment, and no other process does."""
        return f"{ROOT}#{self.offset}"


def origin(port: int) -> str:
    return f"http://{HOST}:{port}"
