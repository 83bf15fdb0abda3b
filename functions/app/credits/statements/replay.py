"""Replays verified entries: the lots, debt and balance that they leave. Knows only JSON and public keys.

docs/verification.md specifies the checks. The fold is that of `corrections/fold.py`, from the bodies of entries: this
module must decide about entries that a verifier was given, and never about those that the ledger itself has read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from app.credits.core.account import LotSource
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import ChainFault, EntryBody, Link, LotBody, follow
from app.kit.stores.documents import Value

_SOURCES: Final = frozenset(LotSource)


@dataclass(frozen=True, slots=True)
class ReplayedLot:
    """What is left of a lot, and where it came from."""

    remaining: int
    source: str
    expires_at: str | None
    payment_id: str | None


class ChainReplay:
    """A chain that is verified up to `link`, with the lots that it leaves. Keeps each entry's key and id."""

    def __init__(self, link: Link, lots: Mapping[str, ReplayedLot] | None = None) -> None:
        self.link = link
        self.lots = dict(lots or {})
        self._used: set[tuple[str, str]] = set()

    def follow(self, entry: object, keys: KeyRing) -> ChainFault | None:
        """Goes on by one entry, or names the first check that fails and stays where it was."""
        after = follow(entry, keys, self.link)
        if isinstance(after, ChainFault):
            return after
        body = cast(EntryBody, entry)
        lots = folded(self.lots, body["lots"])
        if lots is None:
            return ChainFault(after.sequence, "fold")
        own = {("key", body["key"]), ("id", body["id"])}
        if own & self._used:
            return ChainFault(after.sequence, "twice")
        self._used |= own
        self.link, self.lots = after, lots
        return None

    def state(self) -> dict[str, Value]:
        """Where the chain stands, as statements say it."""
        return {
            "sequence": self.link.sequence,
            "hash": self.link.head_hash,
            "created_at": self.link.created_at or None,
            "debt": self.link.debt,
            "lots": [
                {
                    "id": id,
                    "remaining": lot.remaining,
                    "source": lot.source,
                    "expires_at": lot.expires_at,
                    "payment_id": lot.payment_id,
                }
                for id, lot in sorted(self.lots.items())
            ],
        }


def folded(lots: Mapping[str, ReplayedLot], lines: Iterable[LotBody]) -> dict[str, ReplayedLot] | None:
    """The lots after an entry's lines; None when one falls below zero, or a line tells another origin of its lot.

    Lines that add come first: a correction may take from a lot that it also makes.
    """
    after = dict(lots)
    for line in sorted(lines, key=lambda line: line["amount"] < 0):
        told = ReplayedLot(0, line["source"], line["expires_at"], line["payment_id"])
        lot = after.get(line["id"], told)
        if told.source not in _SOURCES or told != replace(lot, remaining=0):
            return None
        after[line["id"]] = replace(lot, remaining=lot.remaining + line["amount"])
        if after[line["id"]].remaining < 0:
            return None
    return {id: lot for id, lot in after.items() if lot.remaining}
