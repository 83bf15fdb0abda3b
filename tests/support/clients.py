"""Both databases as a client sees them: the JavaScript SDK in node, and REST."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import requests

from emulators.suite.places import DATABASE_NAMESPACE, HOST, PROJECT
from support.suite import RunningSuite, User

_CLIENT = Path(__file__).with_name("client.mjs")
OWNER = {"Authorization": "Bearer owner"}

Step = tuple[str, str] | tuple[str, str, object]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step: the value that was read, or the code of the refusal."""

    value: object = None
    refused: str | None = None


@dataclass(frozen=True)
class Sdk:
    """The Firebase JavaScript SDK in node, signed in as `user` or not signed in."""

    suite: RunningSuite
    user: User | None

    def take(self, steps: Sequence[Step]) -> list[Outcome]:
        who = {"email": self.user.email, "password": self.user.password} if self.user else {}
        message = {"ports": asdict(self.suite.ports), "project": PROJECT, "namespace": DATABASE_NAMESPACE, **who}
        done = subprocess.run(
            ["node", str(_CLIENT)],
            input=json.dumps({**message, "steps": list(steps)}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outcomes = [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]
        assert len(outcomes) == len(steps), done.stderr
        return outcomes


@dataclass(frozen=True)
class Rest:
    """Both databases over HTTP, as a user, as nobody, or as the emulators' owner."""

    suite: RunningSuite
    headers: dict[str, str]
    token: str | None

    def database(self, method: str, path: str, body: object = None) -> requests.Response:
        url = self.suite.database(path)
        parameters = {"auth": self.token} if self.token else {}
        return requests.request(method, url, params=parameters, headers=self._owner(), json=body, timeout=30)

    def firestore(self, method: str, path: str, body: object = None) -> requests.Response:
        root = f"http://{HOST}:{self.suite.ports.firestore}/v1/projects/{PROJECT}/databases/(default)/documents"
        return requests.request(method, f"{root}/{path}", headers=self.headers, json=body, timeout=30)

    def _owner(self) -> dict[str, str]:
        return {} if self.token else self.headers


def rest_as(suite: RunningSuite, user: User | None) -> Rest:
    return Rest(suite, user.headers if user else {}, user.id_token if user else None)


def documents_of(uid: str) -> list[str]:
    """One document of every kind that Firestore holds for a user, and of the shared ones. No account, because a
    trigger would mirror it."""
    return [
        f"accounts/{uid}/entries/000000000001",
        f"users/{uid}/conversations/cnv_1",
        f"users/{uid}/conversations/cnv_1/messages/msg_1",
        f"idempotency/idk_{uid}",
        "ledger_keys/test",
        f"operations/op_{uid}",
    ]
