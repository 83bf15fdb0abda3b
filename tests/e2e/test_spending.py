"""More spends at once than the balance covers: exactly as many succeed as it covers, on the real store."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import requests

from app.credits.core.commands import Reserve, Settle
from app.credits.core.entry import Reference
from app.credits.core.rejections import InsufficientCredits
from app.kit.money import credits
from app.outside import RealPorts
from app.wiring import System
from e2e.person import Person, problem_of

MINUTE_US = 60_000_000
SPENDS = 50


@dataclass(frozen=True)
class Spender:
    """One instance of the backend that spends `amount` on somebody's account."""

    system: System
    uid: str
    amount: int

    def spend(self, index: int) -> bool:
        """Reserves and settles; whether there was enough."""
        reference = Reference("test", f"spend_{index}")
        reserve = Reserve(f"rsv_{self.uid}_{index}", self.amount, self.amount, "test", reference, MINUTE_US)
        try:
            self.system.credits.service.reserve(self.uid, reserve)
        except InsufficientCredits:
            return False
        self.system.credits.service.settle(self.uid, Settle(reserve.id, self.amount, reference, price_book="test"))
        return True


class TestFiftySpends:
    def test_of_fifty_instances_exactly_those_succeed_that_are_covered(self, ports: RealPorts, person: Person) -> None:
        """T-32: 1000 credits cover 23 spends of 43; nothing is refused falsely and nothing goes below zero."""
        amount = credits(43)
        spenders = [Spender(System(ports), person.uid, amount) for _ in range(SPENDS)]
        with ThreadPoolExecutor(SPENDS) as pool:
            done = list(pool.map(lambda pair: pair[1].spend(pair[0]), enumerate(spenders)))
        assert sum(done) == 1000 // 43
        assert person.balance()["balance"] == str(1000 % 43)
        entries = person.entries()
        assert all(Decimal(str(entry["balance_after"])) >= 0 for entry in entries)
        assert len({entry["prev_hash"] for entry in entries}) == len(entries)
        person.nothing_is_held()

    def test_of_one_instance_share_its_commits_and_its_limit(self, ports: RealPorts, person: Person) -> None:
        """T-32, T-34: the threads of one instance, whose commands go out together."""
        spender = Spender(System(ports), person.uid, credits(30))
        with ThreadPoolExecutor(SPENDS) as pool:
            done = list(pool.map(spender.spend, range(SPENDS)))
        assert sum(done) == 1000 // 30
        assert person.balance()["balance"] == str(1000 % 30)
        person.nothing_is_held()


class TestOverHttp:
    def test_six_requests_of_which_two_are_covered(self, person: Person) -> None:
        """T-32, T-33: each request meets a process of its own here, and none of them has seen the account before."""

        def reserve(index: int) -> requests.Response:
            body = {"amount": "400", "purpose": f"spend {index}"}
            return person.call("POST", "/v1/credits/reserve", body, {"Idempotency-Key": f"k{index}"})

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(reserve, range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 402, 402, 402, 402]
        for refused in (answer for answer in answers if answer.status_code == 402):
            problem = problem_of(refused)
            assert (problem["code"], problem["required"]) == ("insufficient_credits", "400")
            assert Decimal(str(problem["available"])) + Decimal(str(problem["shortfall"])) == 400
            assert problem["payment_options"]
        balance = person.balance()
        assert (balance["balance"], balance["reserved"], balance["available"]) == ("1000", "800", "200")
