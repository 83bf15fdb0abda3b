"""The welcome bonus: once per person, on evidence from our side, with a bounded loss to any farm."""

import contextlib
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from app.api.context import NOBODY, Client
from app.bonus.rules import BonusPolicy, Ineligibility, is_disposable, normalized, registrable
from app.bonus.welcome import BonusAlreadyGranted, BonusNotEligible, BonusRules, Welcome, network
from app.credits.service import Credits
from app.credits.settings import CreditsSettings
from app.kit.errors import AlreadyExists
from app.kit.money import credits
from app.kit.optimistic import Contended, full_jitter
from app.kit.stores.documents import Create, Write
from app.ports import Identity
from support.clock import ManualClock
from support.credits_world import DAY, SEED, deposit
from support.memory import MemoryDocuments
from support.world import MemoryPorts, WatchedThreads


@dataclass
class Town:
    """People as Auth knows them, and the bonus desk."""

    policy: BonusPolicy = field(default_factory=BonusPolicy)
    people: dict[str, Identity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock, documents = ManualClock(), MemoryDocuments()
        rules = BonusRules(
            self.policy,
            lambda uid: self.people.get(uid, Identity(uid)),
            self.clock,
            credits(50),
            lambda: self.client,
        )
        threads, ports = WatchedThreads(), MemoryPorts(documents=documents)
        self.documents, self.sleeps = documents, threads.sleeps
        self.credits = Credits(
            CreditsSettings(SEED),
            documents=documents,
            clock=self.clock,
            concurrency=threads,
            draw=ports.draw,
            opening=rules.opening,
            archive=ports.archive,
        )
        self.client = NOBODY
        self.welcome = Welcome(rules, self.credits, full_jitter(threads, ports.draw))

    def person(self, uid: str, email: str | None = None, *, verified: bool = True, provider: str = "google.com") -> str:
        self.people[uid] = Identity(
            uid,
            provider,
            f"{provider}-{uid}",
            email or f"{uid}@gmail.com",
            verified,
            self.clock.now_us() - DAY,
        )
        return uid

    def balance(self, uid: str, address: str | None = None) -> int:
        self._comes_from(uid, address)
        return self.credits.account(uid).balance

    def claim(self, uid: str, device: str | None = None, address: str | None = None) -> int:
        self._comes_from(uid, address)
        return self.welcome.claim(uid, device).entry.amount

    def _comes_from(self, uid: str, address: str | None) -> None:
        """Everybody calls from a network of their own unless told otherwise."""
        own = zlib.crc32(uid.encode())
        self.client = Client(address or f"10.{own >> 8 & 255}.{own & 255}.1")


@pytest.fixture
def town() -> Town:
    return Town()


class TestFirstTouch:
    def test_grants_it_to_a_person_that_auth_verified(self, town: Town) -> None:
        assert town.balance(town.person("alice")) == credits(1000)
        with pytest.raises(BonusAlreadyGranted):
            town.claim("alice")

    def test_opens_empty_without_evidence_and_says_what_to_do(self, town: Town) -> None:
        town.person("bob", verified=False, provider="password")
        assert town.balance("bob") == 0
        with pytest.raises(BonusNotEligible) as refused:
            town.claim("bob")
        assert refused.value.fields["reason"] == Ineligibility.VERIFY_EMAIL
        town.people["bob"] = replace(town.people["bob"], email_verified=True)
        assert town.claim("bob") == credits(1000)

    def test_is_the_same_when_many_touch_at_once(self, town: Town) -> None:
        """T-33"""
        town.person("alice")
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: town.balance("alice"), range(30))) == {credits(1000)}

    def test_gives_anonymous_visitors_nothing(self, town: Town) -> None:
        town.people["ghost"] = Identity("ghost", "anonymous")
        assert town.balance("ghost") == 0
        with pytest.raises(BonusNotEligible) as refused:
            town.claim("ghost")
        assert refused.value.reason is Ineligibility.SIGN_IN_WITH_EMAIL


class TestAFirstClaim:
    def test_that_opens_the_account_is_answered_with_what_that_granted(self, town: Town) -> None:
        town.person("alice")
        assert town.claim("alice") == credits(1000)
        with pytest.raises(BonusAlreadyGranted):
            town.claim("alice")
        assert town.balance("alice") == credits(1000)

    def test_at_the_same_time_as_others_is_answered_alike(self, town: Town) -> None:
        town.person("alice")
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda _: _told(town), range(8)))
        assert credits(1000) in told
        assert set(told) <= {credits(1000), 0}
        assert town.balance("alice") == credits(1000)


def _told(town: Town) -> int:
    try:
        return town.claim("alice")
    except BonusAlreadyGranted:
        return 0


class TestOncePerPerson:
    @pytest.mark.parametrize("spelling", ["al.ice@gmail.com", "ALICE@gmail.com", "alice+x@googlemail.com"])
    def test_whatever_the_spelling_of_the_mailbox(self, town: Town, spelling: str) -> None:
        town.balance(town.person("alice", "alice@gmail.com"))
        assert town.balance(town.person("again", spelling)) == 0
        with pytest.raises(BonusNotEligible) as refused:
            town.claim("again")
        assert refused.value.reason is Ineligibility.NOT_AVAILABLE

    def test_whatever_the_mailbox_of_one_provider_account(self, town: Town) -> None:
        town.balance(town.person("alice", "alice@gmail.com"))
        town.person("again", "other@gmail.com")
        town.people["again"] = replace(town.people["again"], provider_uid=town.people["alice"].provider_uid)
        assert town.balance("again") == 0

    def test_not_for_mail_that_nobody_keeps(self, town: Town) -> None:
        assert town.balance(town.person("bob", "bob@eu.mailinator.com")) == 0

    def test_when_two_claims_race(self, town: Town) -> None:
        for uid in ("one", "two", "three", "four"):
            town.person(uid, "same@gmail.com", verified=False)
            town.balance(uid)
            town.people[uid] = replace(town.people[uid], email_verified=True)

        def claim(uid: str) -> int:
            try:
                return town.claim(uid)
            except BonusNotEligible:
                return 0

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(claim, ("one", "two", "three", "four"))) == credits(1000)

    def test_a_claim_that_loses_the_race_for_a_mark_counts_on_what_the_winner_left(self, town: Town) -> None:
        """T-43: two accounts behind one network, which may back both."""
        for uid in ("one", "two"):
            town.person(uid, verified=False)
            town.balance(uid)
            town.people[uid] = replace(town.people[uid], email_verified=True)
        raced: list[bool] = []

        def race(_: Sequence[Write]) -> None:
            if not raced:
                raced.append(True)
                town.claim("two", address="203.0.113.2")

        town.documents.before_commit.append(race)
        assert town.claim("one", address="203.0.113.1") == credits(1000)
        assert len(town.sleeps) == 1

    def test_a_claim_that_loses_every_race_is_told_to_come_again(self, town: Town) -> None:
        town.person("alice", verified=False)
        town.balance("alice")
        town.people["alice"] = replace(town.people["alice"], email_verified=True)

        def always(writes: Sequence[Write]) -> None:
            if any(isinstance(write, Create) and write.path.startswith("bonus_marks/") for write in writes):
                raise AlreadyExists("another was faster", path=writes[-1].path)

        town.documents.before_commit.append(always)
        with pytest.raises(Contended):
            town.claim("alice")
        assert town.balance("alice") == 0


class TestAFarm:
    def test_of_unverified_accounts_gets_nothing(self, town: Town) -> None:
        """T-96: 1,699 accounts with one client-asserted fingerprint."""
        total = 0
        for number in range(1_699):
            uid = town.person(f"farm{number}", f"farm{number}@gmail.com", verified=False, provider="password")
            total += town.balance(uid)
            with pytest.raises(BonusNotEligible):
                town.claim(uid, device="the same for all")
        assert total == 0

    def test_on_its_own_domain_gets_the_bound_of_a_day(self, town: Town) -> None:
        """T-96: even mailboxes that verify are bounded, because their domain is one cluster."""
        for number in range(300):
            town.balance(town.person(f"farm{number}", f"u{number}@farm.example"))
        total = sum(town.balance(f"farm{number}") for number in range(300))
        assert total == town.policy.per_domain_daily * credits(1000)

    def test_on_subdomains_of_its_own_domain_gets_no_more(self, town: Town) -> None:
        """T-96: names below a domain cost nothing."""
        total = sum(town.balance(town.person(f"farm{n}", f"u@{n}.mail{n % 7}.farm.example")) for n in range(60))
        assert total == town.policy.per_domain_daily * credits(1000)

    @pytest.mark.parametrize("domain", ["gmail.com", "googlemail.com", "yahoo.co.uk"])
    def test_at_a_domain_of_millions_is_not_taken_for_one(self, town: Town, domain: str) -> None:
        total = sum(town.balance(town.person(f"user{n}", f"somebody{n}@{domain}")) for n in range(30))
        assert total == 30 * credits(1000)

    def test_below_a_domain_of_millions_gets_no_more(self, town: Town) -> None:
        """T-96: one mailbox at such a domain may be reached by any name below a domain of its own."""
        total = sum(town.balance(town.person(f"farm{n}", f"any{n}@alice.fastmail.com")) for n in range(30))
        assert total == town.policy.per_domain_daily * credits(1000)

    def test_that_verifies_before_its_first_call_gets_the_bound_of_its_network(self, town: Town) -> None:
        """T-104: 40 mailboxes of one network."""
        uids = [town.person(f"farm{number}") for number in range(40)]
        total = sum(town.balance(uid, f"203.0.113.{number}") for number, uid in enumerate(uids))
        assert total == town.policy.per_network_daily * credits(1000)
        for number, uid in enumerate(uids):
            with pytest.raises((BonusNotEligible, BonusAlreadyGranted)):
                town.claim(uid, address=f"203.0.113.{number}")

    def test_with_many_networks_of_one_ipv6_site_gets_the_bound_of_the_site(self, town: Town) -> None:
        total = sum(town.balance(town.person(f"farm{n}"), f"2001:db8:1:{n:x}::1") for n in range(60))
        assert total == town.policy.per_crowd_daily * credits(1000)

    def test_that_nobody_saw_the_address_of_is_bounded_too(self, town: Town) -> None:
        total = 0
        for number in range(60):
            uid = town.person(f"farm{number}")
            town.client = NOBODY
            total += town.credits.account(uid).balance
        assert total == town.policy.per_crowd_daily * credits(1000)

    def test_whose_first_call_is_the_claim_is_counted_by_its_device(self, town: Town) -> None:
        """T-104: the claim opens the account, which grants; the device counts there, too."""
        granted = 0
        for number in range(10):
            with contextlib.suppress(BonusNotEligible):
                granted += town.claim(town.person(f"farm{number}"), device="the same for all")
        assert granted == town.policy.per_device * credits(1000)

    def test_in_steps_is_bounded_at_each_step(self) -> None:
        """T-104: the part for verifying has the same guard as the part for opening."""
        town = Town(BonusPolicy(0, credits(300), need_verified=False))
        granted = 0
        for number in range(40):
            uid = town.person(f"farm{number}")
            town.balance(uid, f"203.0.113.{number}")
            with contextlib.suppress(BonusNotEligible):
                granted += town.claim(uid, address=f"203.0.113.{number}")
        assert granted == town.policy.per_network_daily * credits(300)

    def test_behind_one_network_gets_the_bound_of_a_day(self) -> None:
        """T-96"""
        town, total = Town(), 0
        for number in range(60):
            uid = town.person(f"farm{number}", f"farm{number}@gmail.com", verified=False)
            town.balance(uid)
            town.people[uid] = replace(town.people[uid], email_verified=True)
            try:
                total += town.claim(uid, address=f"203.0.113.{number}")
            except BonusNotEligible:
                continue
        assert total == town.policy.per_network_daily * credits(1000)

    def test_with_one_device_is_denied_by_it_and_another_device_grants_nothing(self, town: Town) -> None:
        """T-96: a fingerprint may only deny."""
        granted = 0
        for number in range(10):
            uid = town.person(f"farm{number}", f"farm{number}@gmail.com", verified=False)
            town.balance(uid)
            town.people[uid] = replace(town.people[uid], email_verified=True)
            try:
                granted += town.claim(uid, device="same")
            except BonusNotEligible as refused:
                assert refused.reason is Ineligibility.NOT_AVAILABLE
        assert granted == town.policy.per_device * credits(1000)
        town.balance(town.person("new", verified=False))
        with pytest.raises(BonusNotEligible):
            town.claim("new", device="never seen before")


class TestInSteps:
    def test_a_part_at_once_and_the_rest_on_verification_and_purchase(self) -> None:
        policy = BonusPolicy(credits(200), credits(300), credits(500), need_verified=False)
        town = Town(policy)
        town.person("alice", verified=False, provider="password")
        assert town.balance("alice") == credits(200)
        with pytest.raises(BonusNotEligible):
            town.claim("alice")
        town.people["alice"] = replace(town.people["alice"], email_verified=True)
        assert town.claim("alice") == credits(300)
        town.credits.post("alice", deposit("p", credits(10)))
        assert town.welcome.purchased("alice", "card-1").entry.amount == credits(500)
        assert town.balance("alice") == credits(1010)
        with pytest.raises(BonusAlreadyGranted):
            town.claim("alice")

    def test_one_card_backs_one_bonus(self) -> None:
        """T-97: 70 accounts, one card."""
        town = Town(BonusPolicy(credits(1), 0, credits(500)))
        for number in range(70):
            town.balance(town.person(f"u{number}"))
            with contextlib.suppress(BonusNotEligible):
                town.welcome.purchased(f"u{number}", "card-1")
        assert sum(town.balance(f"u{number}") for number in range(70)) == credits(70 + 500)


@pytest.mark.parametrize(
    ("domain", "owned"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("example.co.uk", "example.co.uk"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("a.example.anything.bd", "example.anything.bd"),
        ("a.ac.de", "ac.de"),
        ("a.unlisted.zz", "unlisted.zz"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_a_domain_is_what_its_owner_registered(domain: str, owned: str) -> None:
    assert registrable(domain) == owned


@pytest.mark.parametrize(
    ("email", "one"),
    [(" A.l+x@GMAIL.com ", "al@gmail.com"), ("a.l+x@web.de", "a.l@web.de"), ("a@googlemail.com.", "a@gmail.com")],
)
def test_a_mailbox_has_one_spelling(email: str, one: str) -> None:
    assert normalized(email) == one


def test_subdomains_of_disposable_domains_are_disposable() -> None:
    assert is_disposable("x@deep.sub.yopmail.com")
    assert not is_disposable("x@notyopmail.com")


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", None),
        (None, None),
    ],
)
def test_networks_are_neighbourhoods(address: str | None, prefix: str | None) -> None:
    assert network(address) == prefix
