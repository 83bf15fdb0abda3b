"""The circuit of one model: decides from what came of earlier requests whether the next one may go out. Pure.

    closed     --several failures in a row-->  open, where at least `ACCOUNTS` users met them
    open       --its pause is over-->          half-open: one request at a time goes out, as a probe
    half-open  --the probe succeeds-->         closed
    half-open  --the probe fails-->            open, for twice as long

One user alone opens nothing: a prompt at which a vendor breaks would take the model from everybody.

A probe that ends without saying anything of the model (its user left) lets the next one go out. What comes of a request
counts as long as the circuit is as it was when the request went out: one that began before the circuit opened, or a
probe that was taken for lost, says nothing of the model as it is now.
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
    `generation` counts the openings and the probes, and whatever another instance told.
    """

    failures: int = 0
    accounts: frozenset[str] = frozenset()
    openings: int = 0
    until_us: int = 0
    probe_until_us: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Permit:
    """Lets one request out to a model. What comes of it counts while the circuit is still of this generation."""

    model: str
    generation: int
    probe: bool


CLOSED: Final = Circuit()


def state(circuit: Circuit, now_us: int) -> CircuitState:
    """What it is now."""
    if not circuit.openings:
        return "closed"
    return "open" if _remaining_us(circuit.until_us, now_us, LONGEST_PAUSE_US) else "half_open"


def admits(circuit: Circuit, now_us: int) -> bool:
    """Whether a request may go out."""
    match state(circuit, now_us):
        case "closed":
            return True
        case "open":
            return False
        case "half_open":
            return not _remaining_us(circuit.probe_until_us, now_us, PROBE_US)


def waits_us(circuit: Circuit, now_us: int) -> int:
    """How long it takes until a request may go out, if nothing comes of those that are under way."""
    if not circuit.openings:
        return 0
    pause_us = _remaining_us(circuit.until_us, now_us, LONGEST_PAUSE_US)
    return max(pause_us, _remaining_us(circuit.probe_until_us, now_us, PROBE_US))


def asked(circuit: Circuit, now_us: int) -> Circuit:
    """After a request that it admits went out."""
    if not circuit.openings:
        return circuit
    return replace(circuit, probe_until_us=now_us + PROBE_US, generation=circuit.generation + 1)


def permit(circuit: Circuit, model: str) -> Permit:
    """What a request gets that has just gone out."""
    return Permit(model, circuit.generation, probe=circuit.openings > 0)


def spoke(circuit: Circuit) -> Circuit:
    """After the first text of an answer: a probe has succeeded. A closed one waits for the end of the answer."""
    return answered(circuit) if circuit.openings else circuit


def answered(circuit: Circuit) -> Circuit:
    """After a complete answer."""
    return Circuit(generation=circuit.generation)


def failed(circuit: Circuit, account: str, now_us: int, *, most: int) -> Circuit:
    """After a failure that is not the user's, which this account met. `most` of them in a row open the circuit."""
    if not circuit.openings:
        failures = min(circuit.failures + 1, most)
        accounts = circuit.accounts if len(circuit.accounts) == ACCOUNTS else circuit.accounts | {account}
        if failures < most or len(accounts) < ACCOUNTS:
            return replace(circuit, failures=failures, accounts=accounts)
    openings = circuit.openings + 1
    until_us = now_us + _pause_us(openings)
    return Circuit(openings=openings, until_us=until_us, generation=circuit.generation + 1)


def left(circuit: Circuit) -> Circuit:
    """After a request that tells nothing of the model: its user left, or caused the refusal."""
    return replace(circuit, probe_until_us=0)


def put_off(circuit: Circuit, until_us: int) -> Circuit:
    """After a probe was not sent, because somebody else has sent one; the next one may go out at `until_us`."""
    return replace(circuit, probe_until_us=until_us)


def believable(theirs: Circuit, at_us: int, now_us: int) -> bool:
    """Whether another instance can have seen its circuit change to `theirs` at `at_us` by its clock.

    A clock may be ahead of ours by the longest pause; what it says beyond that would be the latest news for too long.
    """
    return at_us <= now_us + LONGEST_PAUSE_US and theirs.until_us <= at_us + LONGEST_PAUSE_US


def heard(circuit: Circuit, theirs: Circuit, at_us: int, now_us: int) -> Circuit:
    """After another instance told that its own is `theirs` since `at_us`: open for no longer than that one's pause."""
    if not theirs.openings and not circuit.openings:
        return circuit
    until_us = min(theirs.until_us, now_us + max(theirs.until_us - at_us, 0))
    open_still = _remaining_us(circuit.until_us, now_us, LONGEST_PAUSE_US) > 0
    if open_still and 0 < theirs.openings < circuit.openings:
        return circuit  # Who opened it anew had not heard that it was open.
    return Circuit(openings=theirs.openings, until_us=until_us, generation=circuit.generation + 1)


def _remaining_us(until_us: int, now_us: int, longest_us: int) -> int:
    """How long it is until then; 0 when it is over, or so far away that the clock must have gone back since."""
    return until_us - now_us if 0 < until_us - now_us <= longest_us else 0


def _pause_us(openings: int) -> int:
    return min(FIRST_PAUSE_US << min(openings - 1, 10), LONGEST_PAUSE_US)
