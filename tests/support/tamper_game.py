"""The world of the tamper game: somebody with full rights on both databases and no key, while sweeps run in between."""

import contextlib

from app.credits.proofs.archived import account_of
from app.kit.clock import to_rfc3339
from app.kit.errors import Failure, Unavailable
from app.kit.stores.documents import Delete, Merge
from support.credits_world import deposit, promo, reserve, settle
from support.tamper_strategies import Loot
from support.world import World

DAY_US = 24 * 3600 * 1_000_000


class Game:
    """A backend with two accounts, played to the point where the attacker acts. With a `crowd`, so many others come
    before them in the verification in turn, which verifies one with each sweep. `quiet`: everything is sealed, and
    nothing happens any more.
    """

    def __init__(self, *, crowd: int = 0, quiet: bool = False) -> None:
        self.world = World(variables={"CHAIN_CHECKS_PER_SWEEP": "1"} if crowd else {})
        self.loot = Loot(self.world.documents)
        self.bank = self.world.system.credits.service
        self.number = 0
        for uid in ("alice", "bob", *(f"aaa{number:03d}" for number in range(crowd))):
            self.bank.account(uid)
        self.loot.opened = self.loot.now()
        self.sweep()
        self.loot.first = self.loot.now()
        expires = self.world.clock.now_us() + 90 * DAY_US
        for uid in ("alice", "bob"):
            self.bank.post(uid, deposit(f"pay-{uid}", 5_000_000))
            self.bank.post(uid, promo(f"gift-{uid}", 2_000_000, expires))
        self.spend("alice")
        self.sweep()
        self.loot.spent = self.loot.now()
        self.spend("alice")
        self.sweep()
        self.spend("alice")
        if quiet:
            self.sweep()
            self.sweep()
        self.loot.last = self.loot.now()

    def spend(self, uid: str) -> None:
        """A message of this user."""
        self.number += 1
        self.bank.reserve(uid, reserve(f"r{self.number}", 1000))
        self.bank.settle(uid, settle(f"r{self.number}", 700))

    def sweep(self, *, fresh: bool = False) -> None:
        """A minute later; with `fresh`, on an instance that remembers nothing."""
        self.world.clock.advance(minutes=1)
        system = self.world.instance() if fresh else self.world.system
        with contextlib.suppress(Unavailable):  # a chore failed, of which the sweep tells the scheduler
            system.orchestration.sweep()

    def honest_life(self) -> None:
        """Everybody goes on, as far as they can."""
        for uid in ("alice", "bob", f"guest{self.number}"):
            with contextlib.suppress(Failure, ValueError):
                self.bank.post(uid, deposit(f"more-{uid}-{self.number}", 10))
            with contextlib.suppress(Failure, ValueError):
                self.spend(uid)

    def broken(self) -> set[str]:
        """What operators see."""
        [invariant] = [one for one in self.world.system.credits.invariants() if one.name == "chains_extend_their_seals"]
        return set(invariant.broken())

    def erase_the_alarm(self) -> None:
        """The attacker deletes what he finds of his discovery."""
        for subject in self.broken():
            self.world.documents.commit([Delete(f"breaches/{subject}")])
            uid = account_of(subject)
            if uid is not None and self.world.documents.get(f"accounts/{uid}") is not None:
                self.world.documents.commit([Merge(f"accounts/{uid}", {"status": "active"})])

    def forge_a_pardon(self) -> None:
        """The attacker accepts the chains as they stand, in the name of two administrators and without their key."""
        for subject in self.broken():
            breach = self.loot.now().get(f"breaches/{subject}", {})
            account = self.loot.now().get(f"accounts/{account_of(subject)}", {})
            forged = {
                "type": "credits-breach-resolution",
                "subject": subject,
                "since": breach.get("since"),
                "accept": account_of(subject) is not None,
                "by": "root",
                "reason": "mine",
                "at": to_rfc3339(self.world.clock.now_us()),
                "approved_by": "boss",
                "sequence": account.get("sequence", 0),
                "head_hash": account.get("head_hash", ""),
                "key_id": self.bank.sign(bytes(32))[1],
                "signature": self.bank.sign(bytes(32))[0],
            }
            self.world.documents.commit([Merge(f"breaches/{subject}", {"resolution": forged})])
