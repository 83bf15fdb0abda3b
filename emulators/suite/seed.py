"""Demo users, created through the same doors that a client uses, so that what the table promises has been tried."""

import json
from dataclasses import dataclass

import requests

from emulators.suite.environment import demo_address
from emulators.suite.places import PROJECT, Ports, origin

_IDENTITY = "/identitytoolkit.googleapis.com/v1"
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Person:
    """One seeded user. The password is public on purpose: it opens nothing but the local emulator."""

    email: str
    password: str
    role: str


DEMO = Person("demo@example.com", "demo-password", "user")
ADMIN = Person("admin@example.com", "admin-password", "admin")


@dataclass(frozen=True)
class SignedIn:
    """A user's id and a fresh ID token."""

    uid: str
    id_token: str


def seed(ports: Ports) -> str | None:
    """Make both users, unless they exist, and open the demo account. Returns why the latter failed, or None."""
    demo = ensure_person(ports, DEMO)
    ensure_person(ports, ADMIN)
    try:
        answer = requests.get(
            demo_address(ports) + "/v1/credits/balance",
            headers={"Authorization": f"Bearer {demo.id_token}"},
            timeout=_TIMEOUT_S,
        )
    except requests.RequestException as failure:
        return f"the demo account could not be opened: {failure}"
    return None if answer.ok else f"the demo account could not be opened: {answer.status_code} {answer.text[:200]}"


def ensure_person(ports: Ports, person: Person) -> SignedIn:
    """Sign `person` in, after creating the account and giving it its role if need be."""
    try:
        signed_in = sign_in(ports, person.email, person.password)
    except requests.HTTPError:
        signed_in = sign_up(ports, person.email, person.password)
    if person.role == "user":
        return signed_in
    set_claims(ports, signed_in.uid, {"role": person.role})
    return sign_in(ports, person.email, person.password)


def sign_up(ports: Ports, email: str, password: str) -> SignedIn:
    return _session(ports, "accounts:signUp", {"email": email, "password": password})


def sign_in(ports: Ports, email: str, password: str) -> SignedIn:
    return _session(ports, "accounts:signInWithPassword", {"email": email, "password": password})


def set_claims(ports: Ports, uid: str, claims: dict[str, object]) -> None:
    """Replace a user's custom claims; they show in the next token."""
    _post(ports, f"projects/{PROJECT}/accounts:update", {"localId": uid, "customAttributes": json.dumps(claims)})


def _session(ports: Ports, method: str, body: dict[str, object]) -> SignedIn:
    answer = _post(ports, f"{method}?key=local", {**body, "returnSecureToken": True})
    return SignedIn(uid=str(answer["localId"]), id_token=str(answer["idToken"]))


def _post(ports: Ports, path: str, body: dict[str, object]) -> dict[str, object]:
    url = f"{origin(ports.auth)}{_IDENTITY}/{path}"
    headers = {"Authorization": "Bearer owner"} if path.startswith("projects/") else {}
    answer = requests.post(url, json=body, headers=headers, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found
