"""The circuit of one model: decides from what came of earlier requests whether the next one may go out. Pure.

    closed     --several failures in a row-->  open, where at least `ACCOUNTS` users met them
    open       --its pause is over-->          half-open: one request at a time goes out, as a probe
    half-open  --the probe succeeds-->         closed
    half-open  --the probe fails-->            open, for twice as long

One user alone opens nothing: a prompt at which a vendor breaks would take the model from everybody.

A probe that ends without saying anything of the model (its user left) lets the next one go out.
https://learn.microsoft.com/en-us/azure/architecture/patterns/circuit-breaker
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

CircuitState = Literal["closed", "open", "half_open"]

ACCOUNTS: Final = 2
FIRST_PAUSE_US: Final = 10_000_000
LONGEST_PAUSE_US: Final = 300_000_000
PROBE_US: Final = 60_000_000
"""A probe that has told nothing for so long is taken for lost, and another one goes out."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """`failures` in a row while closed, and some of the `accounts` that met them; `openings` in a row. It is open until
    `until_us`, 0 when it is closed. A probe is under way until `probe_until_us` at the latest. Times are microseconds.
    """

    failures: int = 0
    accounts: frozenset[str] = frozenset()
    openings: int = 0
    until_us: int = 0
    probe_until_us: int = 0


CLOSED: Final = Circuit()


def state(circuit: Circuit, now_us: int) -> CircuitState:
    """What it is now."""
    if not circuit.openings:
        return "closed"
    return "open" if now_us < circuit.until_us else "half_open"


def admits(circuit: Circuit, now_us: int) -> bool:
    """Whether a request may go out."""
    match state(circuit, now_us):
        case "closed":
            return True
        case "open":
            return False
        case "half_open":
            return circuit.probe_until_us <= now_us


def waits_us(circuit: Circuit, now_us: int) -> int:
    """How long it takes until a request may go out, if nothing comes of those that are under way."""
    if not circuit.openings:
        return 0
    return max(circuit.until_us - now_us, circuit.probe_until_us - now_us, 0)


def asked(circuit: Circuit, now_us: int) -> Circuit:
    """After a request that it admits went out."""
    return replace(circuit, probe_until_us=now_us + PROBE_US) if circuit.openings else circuit


def spoke(circuit: Circuit) -> Circuit:
    """After the first text of an answer: a probe has succeeded. A closed one waits for the end of the answer."""
    return CLOSED if circuit.openings else circuit


def answered(_: Circuit) -> Circuit:
    """After a complete answer."""
    return CLOSED


def failed(circuit: Circuit, account: str, now_us: int, *, most: int) -> Circuit:
    """After a failure that is not the user's, which this account met. `most` of them in a row open the circuit."""
    match state(circuit, now_us):
        case "open":
            # It went out before the circuit opened, and tells nothing new.
            return circuit
        case "closed":
            failures = min(circuit.failures + 1, most)
            accounts = circuit.accounts if len(circuit.accounts) == ACCOUNTS else circuit.accounts | {account}
            if failures < most or len(accounts) < ACCOUNTS:
                return Circuit(failures, accounts)
    openings = circuit.openings + 1
    return Circuit(openings=openings, until_us=now_us + _pause_us(openings))


def left(circuit: Circuit) -> Circuit:
    """After a request that tells nothing of the model: its user left, or caused the refusal."""
    return replace(circuit, probe_until_us=0)


def _pause_us(openings: int) -> int:
    return min(FIRST_PAUSE_US << min(openings - 1, 10), LONGEST_PAUSE_US)
