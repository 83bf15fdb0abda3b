"""The auditor does not blame anybody for what an instance that stood still could not know."""

from collections.abc import Callable

import pytest

from app.kit.clock import minutes, to_rfc3339
from app.kit.stores.documents import Fields
from simulation.audit.asking import Askings
from simulation.machine.kernel import CALM, START_US, Process
from simulation.outside.model_vendor import VendorAnswer
from simulation.outside.truth import Count, Failing
from simulation.outside.vendor_network import VendorConnection
from simulation.workload import Known
from simulation.world import World

_REQUEST = (
    b"POST / HTTP/1.1\r\nAuthorization: Bearer key-of-platform\r\n\r\n"
    b'{"model": "sim-small", "messages": [{"role": "user", "content": "why?"}], "max_tokens": 9}'
)


class Observed:
    """One answer of a vendor, its reader, and the auditor that sees the turn end."""

    def __init__(self) -> None:
        self.world = World(0, CALM)
        self.known = Known()
        self.askings = Askings(self.world, self.known)
        self.instance = self.world.backends[0].instance
        self.health = self.world.backends[0].system.models.health

    def reads(self, read: Callable[[VendorConnection], None]) -> None:
        """A process of the instance asks and reads."""
        connection = VendorConnection(self.world.kernel, self.world.outside.models, "models.example")
        self.world.kernel.spawn("reader", lambda: read(connection), self.instance)
        self.world.kernel.run(self.world.kernel.now_us + minutes(10))

    def ends(self, process: Process, reason: str) -> list[str]:
        """The turn ends now, in a commit of that process."""
        kernel, running = self.world.kernel, {"state": "running"}
        turn: Fields = {
            **{"id": "m", "state": "done", "reason": reason, "created_at": to_rfc3339(START_US)},
            **{"model": "small", "reserved": 10**9, "ceiling": 10**9, "answered_by": "small", "route_reason": ""},
        }
        kernel.current = process
        for hear in self.world.documents.watchers:
            hear([("users/u/conversations/c/messages/m", running, turn)])
        kernel.current = None
        return [*self.askings.verdict()]


@pytest.mark.parametrize("stood_still", [False, True])
def test_nobody_knows_what_was_heeded_of_an_answer_whose_time_was_up(*, stood_still: bool) -> None:
    observed = Observed()
    process = Process("asks", lambda: None, observed.instance)
    answer = VendorAnswer(0, "sim-small", "why?", ("why?",), 9, process, ["a "], 1, Count(1, 1), True, "length")
    observed.world.outside.models.met[process] = [answer]
    observed.world.kernel.now_us = START_US + minutes(6)
    if stood_still:
        observed.instance.frozen_us = observed.world.kernel.now_us
    observed.ends(process, "length_limit")
    assert answer.unsure


def test_nobody_knows_what_was_heeded_when_another_process_ends_the_turn_for_want_of_time() -> None:
    observed = Observed()
    asker, ender = (Process(name, lambda: None, observed.instance) for name in ("asks", "ends"))
    answer = VendorAnswer(0, "sim-small", "why?", ("why?",), 9, asker, ["a "], 1, Count(1, 1), True, "stop")
    observed.world.outside.models.answers.append(answer)
    observed.known.questions["m"] = "why?"
    assert observed.ends(ender, "length_limit") == []
    assert answer.unsure


@pytest.mark.parametrize("stood_still", [False, True])
def test_a_model_that_an_instance_standing_still_could_not_hear_may_be_sick(*, stood_still: bool) -> None:
    observed = Observed()

    def read(connection: VendorConnection) -> None:
        connection.send(_REQUEST, 1.0)
        observed.world.kernel.sleep(minutes(1))
        observed.instance.frozen_us = observed.world.kernel.now_us if stood_still else 0
        connection.close()

    observed.reads(read)
    [answer] = observed.world.outside.models.answers
    answer.failing = Failing("request")
    observed.health.failed("small", "anybody")
    later = Process("asks", lambda: None, observed.instance)
    observed.world.outside.models.met[later] = [VendorAnswer(1, "sim-small", "why?", ("why?",), 9, later)]
    observed.instance.frozen_us = 0
    found = [one for one in observed.ends(later, "cancelled_before_first_token") if "done nothing wrong" in one]
    assert bool(found) is not stood_still
