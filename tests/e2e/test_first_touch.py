"""The first thing that a new user does, through whatever door, opens one account with one welcome entry."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.outside import RealPorts
from app.wiring import System
from e2e import node
from e2e.person import Json, Person
from support.suite import RunningSuite, User

MINUTE_US = 60_000_000


def opened_once(person: Person) -> None:
    """Asserts one account, one welcome entry, a valid chain, and a mirror that shows it."""
    entries = person.entries()
    assert [(entry["kind"], entry["reason"], entry["amount"]) for entry in entries] == [("grant", "welcome", "1000")]
    assert person.balance()["balance"] == "1000"
    chain = person.get("/v1/credits/validate-chain")
    assert (chain["valid"], chain["entries"]) == (True, 1)


def touch(suite: RunningSuite, *doors: str) -> tuple[Person, Json]:
    done = node.run(suite, "first_touch.mjs", doors=list(doors))
    user = User(str(done["uid"]), "", "", str(done["idToken"]))
    return Person(suite, user), done


class TestOneDoor:
    @pytest.mark.parametrize("door", ["api", "hosting", "callable", "presence"])
    def test_opens_the_account(self, suite: RunningSuite, door: str) -> None:
        """T-36"""
        person, done = touch(suite, door)
        opened_once(person)
        assert done["mirrored"] == person.balance()

    def test_that_costs_opens_it_too(self, person: Person) -> None:
        """T-36: the very first request is a paid one."""
        answer = person.ask(person.begin(), "What is a ledger?")
        assert answer.status_code == 200
        assert [entry["kind"] for entry in person.entries()] == ["grant", "settle"]
        person.nothing_is_held()


class TestAllDoorsAtOnce:
    def test_open_one_account(self, suite: RunningSuite) -> None:
        """T-33, T-36, T-51: workers of three functions race on the first write of a chain."""
        person, done = touch(suite, "presence", "api", "callable", "hosting")
        opened_once(person)
        assert done["mirrored"] == person.balance()
        opened = done["opened"]
        assert isinstance(opened, list)
        assert [each for each in opened if each] == [person.balance()] * 3

    def test_twenty_instances_open_one_account(self, suite: RunningSuite, ports: RealPorts, person: Person) -> None:
        """T-33, T-51: as many instances as there are threads, none of which has seen the account before."""
        instances = [System(ports).credits.service for _ in range(20)]
        with ThreadPoolExecutor(20) as pool:
            accounts = list(pool.map(lambda credits: credits.account(person.uid), instances))
        assert len({(account.head_hash, account.sequence) for account in accounts}) == 1
        opened_once(person)

    def test_a_spend_races_with_the_opening_and_none_goes_around_it(
        self, suite: RunningSuite, ports: RealPorts, person: Person
    ) -> None:
        """T-33: the first spends of an account that does not exist yet, together more than its bonus."""
        reference = Reference("test", "race")

        def spend(index: int) -> bool:
            from app.credits.core.rejections import InsufficientCredits

            reserve = Reserve(f"rsv_{index}", 300_000_000, 300_000_000, "test", reference, MINUTE_US)
            try:
                System(ports).credits.service.reserve(person.uid, reserve)
            except InsufficientCredits:
                return False
            return True

        with ThreadPoolExecutor(10) as pool:
            assert sum(pool.map(spend, range(10))) == 3
        balance = person.balance()
        assert (balance["balance"], balance["reserved"], balance["available"]) == ("1000", "900", "100")
