"""Runs one seed from its start to its verdict."""

import gc
import sys
from dataclasses import dataclass, replace
from functools import partial

import structlog

from app.chat import conversation as conversations
from app.chat.conversation import Conversation
from app.chat.store import BATCH, conversation_path
from app.chat.turn import End, Turn, write
from app.kit.clock import to_rfc3339
from app.kit.stores.documents import Create, Write
from app.ports import Identity
from simulation.audit.auditor import Auditor
from simulation.audit.records import Records
from simulation.machine.kernel import CALM, START_US, Crash, Faults, Livelock
from simulation.money.people import MoneyPeople
from simulation.people.chatting import Chatting
from simulation.people.questioner import Questioner
from simulation.people.town import Town
from simulation.strangers import Attacker, Operator
from simulation.tampering import Siege
from simulation.workload import OLD, Known, User
from simulation.world import World

STORMS = (
    CALM,
    Faults(unavailable=0.02, conflict=0.01, repeated=0.1, late=0.05, vendor=0.08, slow=0.005),
    Faults(crash=0.004, lost=0.05, repeated=0.05, vendor=0.05, amnesia=0.8, slow=0.005),
    Faults(crash=0.003, unavailable=0.02, conflict=0.02, lost=0.1, repeated=0.2, late=0.2, vendor=0.1, slow=0.005),
    Faults(stall=0.004, lost=0.03, repeated=0.1, late=0.1, vendor=0.05, amnesia=0.8, slow=0.005),
    Faults(
        crash=0.002,
        stall=0.003,
        unavailable=0.01,
        conflict=0.02,
        lost=0.05,
        repeated=0.1,
        late=0.1,
        vendor=0.1,
        slow=0.005,
    ),
)
"""Sets of faults; each seed has one of them."""


@dataclass(frozen=True)
class Scenario:
    """What a seed runs. Shrinking removes users, actions and kinds of faults."""

    seed: int
    users: int = 2
    devices: int = 2
    actions: int = 7
    faults: Faults = CALM

    @staticmethod
    def of(seed: int) -> "Scenario":
        """The scenario that a seed stands for."""
        return Scenario(seed, faults=STORMS[seed % len(STORMS)])


@dataclass(frozen=True)
class Verdict:
    """What the auditor found; `steps` counts the scheduler's steps."""

    scenario: Scenario
    violations: tuple[str, ...]
    steps: int
    trace: tuple[str, ...] = ()


def simulate(scenario: Scenario, *, keep_trace: bool = False) -> Verdict:
    """Runs a scenario; the same one always gives the same verdict."""
    loud = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        # A generator that a killed process leaves behind is closed later, and its first call raises Crash as well.
        if not isinstance(unraisable.exc_value, Crash):
            loud(unraisable)

    sys.unraisablehook = hook
    # The garbage collector closes generators that killed processes left in cycles, at another point in every run. So it
    # does not run before the verdict.
    gc.disable()
    try:
        return _simulate(scenario, keep_trace)
    finally:
        gc.enable()
        sys.unraisablehook = loud


def _simulate(scenario: Scenario, keep_trace: bool) -> Verdict:
    world = World(scenario.seed, scenario.faults, keep_trace=keep_trace)
    with world.pager.listening():
        return _play(scenario, world)


def _play(scenario: Scenario, world: World) -> Verdict:
    kernel, known = world.kernel, Known()
    auditor = Auditor(world, known)
    operator, attacker, people = Operator(world), Attacker(world), MoneyPeople(world)
    chatting = Chatting(world, known)
    town = Town(world, known)
    _introduce(world, scenario.users)
    siege = Siege(world)
    if kernel.chance(0.3):
        _remember(world)
    if kernel.chance(0.3):
        operator.comes(kernel.random.randrange(1, 6))
    attacked = kernel.chance(0.27)
    if attacked:
        attacker.looks()
    if scenario.faults.unavailable and kernel.chance(0.3):
        _refuse(world)
    chatting.come()
    for number in range(scenario.users):
        user = User(world, known, f"user{number}")
        for device in range(1 if town.crowded or chatting.crowded else scenario.devices):
            kernel.spawn(f"{user.uid}/{device}", partial(user.live, scenario.actions))
    people.come()
    _question(world, known, scenario.users)
    town.comes()
    try:
        for _ in range(10):
            kernel.run(kernel.now_us + 60_000_000)
            world.sweep()
        town.evening()
        world.settle()
        records = Records(world.documents.real)
        violations = (*auditor.verdict(), *operator.verdict(records), *people.verdict())
        violations = (*violations, *chatting.verdict(records), *town.verdict(records))
        if not violations:
            violations = tuple(attacker.verdict() if attacked else people.later())
        violations = violations or tuple(siege.verdict())
    except Livelock as livelock:
        violations = (f"livelock: {livelock}",)
    trace = tuple(f"{(at - 1_800_000_000_000_000) / 1e6:12.6f} {who:24} {what}" for at, who, what in kernel.trace)
    return Verdict(scenario, violations, kernel.steps, trace)


def _question(world: World, known: Known, users: int) -> None:
    """One of the users may have odd questions."""
    if world.kernel.chance(0.6):
        whose = f"user{world.kernel.random.randrange(users)}"
        world.kernel.spawn(f"{whose}/asks", partial(Questioner(world, known, whose).ask, 4))


def _refuse(world: World) -> None:
    """One of the stores refuses every call for a while; one that a settlement needs, for no longer than that waits.

    An instance asks the archive before it signs for the first time.
    """
    random = world.kernel.random
    outage, most_s = random.choice(
        ((world.documents.outage, 3), (world.realtime.outage, 60), (world.outside.archive.outage, 3))
    )
    outage.reason = random.choice(("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"))

    def begin() -> None:
        outage.until_us = world.kernel.now_us + random.randrange(1_000_000, most_s * 1_000_000)

    world.kernel.after(random.randrange(500_000_000), begin)


def _introduce(world: World, users: int) -> None:
    """Signs the users in: some share a mailbox with the first, some have not verified theirs, or not yet."""
    kernel, known = world.kernel, world.outside.people.known
    for number in range(users):
        uid = f"user{number}"
        whose = (
            kernel.random.choice(("own", "own", "shared", "verified later", "not verified", "nobody's"))
            if number
            else "own"
        )
        email = {"shared": f"User0+{uid}@firm.example", "nobody's": None}.get(whose, f"{uid}@firm.example")
        verified = whose in ("own", "shared")
        known[uid] = Identity(uid, "google.com", f"google-{uid}", email, verified, kernel.now_us)
        if whose == "own":
            world.outside.people.deserving.append(uid)
        if whose == "verified later":
            later = replace(known[uid], email_verified=True)
            kernel.after(kernel.random.randrange(300_000_000), partial(known.__setitem__, uid, later))


def _remember(world: World) -> None:
    """An old conversation that takes several commits to delete; its answers all failed, and cost nothing."""
    end = End("error", "error", "vendor_failed", "", "small", to_rfc3339(START_US))
    turn = Turn("", "user0", OLD, 1, "", "why?", (), "small", "default", "", 0, 1, False, "", end.ended_at, "", end)
    conversation = Conversation(OLD, "", None, "", "buffer", end.ended_at, end.ended_at)
    path = conversation_path("user0", OLD)
    messages = [f"msg-{number:03d}" for number in range(world.kernel.random.randrange(BATCH + 1, 2 * BATCH + 9))]
    writes: list[Write] = [Create(f"{path}/messages/{id}", write(replace(turn, id=id))) for id in messages]
    world.documents.real.commit([Create(path, conversations.write(conversation)), *writes])


def hush() -> None:
    """Switches the backend's logs off: a simulation fails thousands of times on purpose."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)


def shrink(scenario: Scenario) -> Verdict:
    """The smallest scenario found that still fails, with its trace."""
    smallest = scenario
    for smaller in _smaller(scenario):
        if smaller.actions <= smallest.actions and simulate(smaller).violations:
            smallest = smaller
    for fault in ("crash", "unavailable", "conflict", "stall", "lost", "repeated", "late", "vendor", "amnesia", "slow"):
        without = replace(smallest, faults=replace(smallest.faults, **{fault: 0.0}))
        if getattr(smallest.faults, fault) and simulate(without).violations:
            smallest = without
    return simulate(smallest, keep_trace=True)


def _smaller(scenario: Scenario) -> list[Scenario]:
    found = []
    for users, devices in ((scenario.users, scenario.devices), (1, 2), (1, 1)):
        for actions in range(scenario.actions, 0, -1):
            found.append(replace(scenario, users=users, devices=devices, actions=actions))
    return found
