"""Credits, plugged in: accounts, the ledger, its proofs and the live balance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.feature import Feature, Figure, Invariant, late
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.api.callables import CallableHandler
    from app.credits.balance_mirror import BalanceMirror
    from app.credits.core.account import Account
    from app.credits.core.events import Publish
    from app.credits.ledger.step import AccountOpening
    from app.credits.proofs.sealing import SealedLink
    from app.credits.routes.schemas import OperationPrice, PricedOperation
    from app.credits.service import Credits
    from app.credits.settings import CreditsSettings
    from app.kit.stores.documents import Documents, Fields
    from app.orchestration.sweeper import Chore

SEALED_AT_ONCE = 5_000
"""Most accounts of one checkpoint."""
_COUNTED = 100


@dataclass(frozen=True, slots=True)
class CreditsHooks:
    """What features above decide: the first entries of an account, who hears of its events, what a model call costs."""

    opening: "Callable[[str], AccountOpening]"
    publish: "Publish"
    price: "Callable[[str, PricedOperation], OperationPrice]"
    opens_unseen: "Callable[[], bool]" = lambda: True
    """Whether an account is opened for somebody whose address nobody saw."""


class CreditsFeature(Feature):
    """`documents` is the outbox, so that events which a commit publishes are delivered right after it."""

    def __init__(self, ports: Ports, settings: "CreditsSettings", documents: "Documents", hooks: CreditsHooks) -> None:
        super().__init__()
        self._ports, self._settings, self._documents, self._hooks = ports, settings, documents, hooks

    @once
    def service(self) -> "Credits":
        """The use cases."""
        from app.credits.service import Credits

        return Credits(
            self._settings,
            documents=self._documents,
            clock=self._ports.clock,
            concurrency=self._ports.concurrency,
            draw=self._ports.draw,
            archive=self._ports.archive,
            opening=self._hooks.opening,
            publish=self._hooks.publish,
            agrees=_agrees,
        )

    @once
    def mirror(self) -> "BalanceMirror":
        """The balance that clients listen to."""
        from app.credits.balance_mirror import BalanceMirror

        return BalanceMirror(self._ports.documents, self._ports.realtime, self._ports.clock)

    def open_account(self, uid: str) -> None:
        """Opens the account of a user who comes online for the first time. Ignores ids that no token could carry.

        Where the opening asks where its user comes from, the first request opens it instead: an event does not know.
        """
        from app.api.auth import is_user_id

        if is_user_id(uid) and self._hooks.opens_unseen():
            self.service.account(uid)

    def account_written(self, fields: "Fields | None") -> None:
        """Brings the live balance up to an account document that was written."""
        self.mirror.account_written(fields)

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.api.idempotency import Idempotency
        from app.credits.corrections.corrections import Corrections
        from app.credits.corrections.repair import Repairs
        from app.credits.corrections.statuses import Statuses
        from app.credits.routes.account_routes import CreditsRoutes, account_routes
        from app.credits.routes.admin_routes import admin_routes
        from app.credits.routes.breach_routes import breach_routes
        from app.credits.routes.status_routes import status_routes

        ports = self._ports
        services = CreditsRoutes(
            credits=late(lambda: self.service),
            mirror=late(lambda: self.mirror),
            ids=late(lambda: ports.ids),
            records=late(lambda: Idempotency(ports.documents, ports.clock)),
            price=self._hooks.price,
        )
        corrections = late(lambda: Corrections(self._documents, ports.clock, ports.ids, self.service, ports.archive))
        sealed = self._sealed
        repairs = late(lambda: Repairs(self._documents, self.service.ledger, ports.clock, sealed))
        statuses = late(lambda: Statuses(self._documents, ports.clock, ports.ids, self.service))
        status = status_routes(statuses, services.records)
        breaches = breach_routes(late(lambda: self.service))
        return [account_routes(services), admin_routes(corrections, repairs, services.records), status, breaches]

    def _sealed(self, uid: str) -> "SealedLink | None":
        """The last sealed head of an account, as the archive has it: Firestore's copy may have been put back."""
        return self.service.checkpoints.evidence(uid)

    def callables(self) -> "Mapping[str, CallableHandler]":
        return {"get_balance": lambda call: self.service.balance(call.who.uid)}

    def chores(self) -> "Sequence[Chore]":
        from app.orchestration.sweeper import Chore

        return [
            Chore("overdue reservations and lots", lambda limit: self.service.expire_due(limit).accounts),
            Chore("signing key", lambda _: self.service.publish_key()),
            Chore("checkpoint", lambda limit: int(self.service.checkpoints.seal(limit) is not None), SEALED_AT_ONCE),
            Chore("chains", lambda limit: self.service.rotation.verify_next(limit), self._settings.chain_checks),
            Chore("mirrors", self._compare_mirrors, realtime=True),
        ]

    def _compare_mirrors(self, limit: int) -> int:
        return self.mirror.compare_next(self._ports.clock.now_us(), limit).repaired

    def figures(self) -> Iterable[Figure]:
        if (compared := self.mirror.last_comparison()) is not None:
            help = "Longest that a mirror was found behind its account, in the last comparison"
            yield Figure("mirror_lag_microseconds", help, compared.worst_lag_us)
            yield Figure("mirrors_repaired", "Mirrors that the last comparison repaired", compared.repaired)
        rotation = self.service.rotation
        help = "Since the last whole round over all chains began; since 1970 while none ended"
        yield Figure("chain_verification_age_seconds", help, rotation.age_us() // 1_000_000)
        rounds = rotation.rounds()
        yield Figure("chains_verified", "Accounts that the last whole round verified", rounds.accounts)
        help = "Chains that the rounds found to hold what we signed and this version does not know"
        yield Figure("chains_not_judged", help, rounds.unjudged)
        broken = len(self.service.checkpoints.breaches.open().first(_COUNTED))
        yield Figure("chains_broken", "Chains that do not extend what was sealed, up to 100", broken)

    def invariants(self) -> Sequence[Invariant]:
        return [
            Invariant("reservations_end_in_time", lambda: self.service.long_overdue()),
            Invariant("signing_key_has_no_end", lambda: self.service.ending_key()),
            Invariant("chains_extend_their_seals", lambda: self.service.checkpoints.breaches.subjects()),
        ]


def _agrees(account: "Account", entries: "Sequence[Fields]") -> bool:
    """Whether an account's lots are what all of its entries add up to."""
    from app.credits.core import entry
    from app.credits.corrections import fold
    from app.kit.errors import InvariantViolation

    try:
        truth = fold.fold(entry.read(fields) for fields in entries)
    except InvariantViolation:
        return False
    return fold.comparable(fold.derived(account)) == fold.comparable(truth)
