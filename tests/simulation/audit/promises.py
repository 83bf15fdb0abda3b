"""What must be true when all is quiet of the bonus, of seals over the ledger, and of requests that were sent twice."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from app.credits.core.entry import Entry, Kind
from app.kit.ids import derived
from app.kit.stores.documents import Fields, int_field
from app.ports import Identity
from simulation.audit.records import Records
from simulation.devices import Told
from simulation.instance import ON_VERIFIED, WELCOME
from simulation.money.books import GIFT
from simulation.workload import Known
from simulation.world import World

_PARTS: Final = {"welcome": WELCOME, "welcome:verified": ON_VERIFIED}
_MOST_PER_MARK: Final = 20
_NOT_KEPT: Final = frozenset({408, 409, 425, 429})
"""Answers that only say "not now"."""

Found = Iterator[str]


def bonus(world: World, records: Records) -> Found:
    """Each part at most once per person, with a mark for it; and whoever deserved it from the start has the first, if
    they ever came for their credits: some do nothing but errands.
    """
    people: dict[str, list[Entry]] = {}
    for uid in records.uids():
        who = world.outside.people.known.get(uid, Identity(uid))
        grants = [one for one in records.entries(uid) if one.kind is Kind.GRANT and not one.key.startswith(GIFT)]
        for entry in grants:
            if not who.email_verified or entry.amount != _PARTS.get(entry.key):
                yield f"{uid} was given {entry.amount} as {entry.key}"
        if who.email is not None:
            people.setdefault(_mailbox(who.email), []).extend(grants)
    for mailbox, grants in people.items():
        yield from _given(records, mailbox, [entry.key for entry in grants])
    deserving = {_mailbox(str(world.outside.people.known[uid].email)) for uid in world.outside.people.deserving}
    for mailbox in sorted(deserving & people.keys()):
        if "welcome" not in [entry.key for entry in people[mailbox]]:
            yield f"{mailbox} was given nothing"
    for mark in records.documents("bonus_marks/"):
        if not 0 < int_field(mark.fields, "count") <= _MOST_PER_MARK:
            yield f"mark {mark.id} counts {mark.fields['count']}"
    yield from _purchases(records)


def _given(records: Records, mailbox: str, keys: list[str]) -> Found:
    """What one person was given, in all accounts."""
    for key, part in (("welcome", "opening"), ("welcome:verified", "verified")):
        mark = records.one(f"bonus_marks/{derived('bon', part, 'email', mailbox)}")
        if keys.count(key) > 1 or (int_field(mark.fields, "count") if mark else 0) != keys.count(key):
            yield f"{mailbox} was given {key} {keys.count(key)} times, the mark says {mark}"


def _purchases(records: Records) -> Found:
    """The bonus looked at every deposit."""
    looked = [one for one in records.documents("operations/") if one.fields["name"] == "welcome.on.CreditsDeposited"]
    deposits = sum(entry.kind is Kind.DEPOSIT for uid in records.uids() for entry in records.entries(uid))
    if len(looked) != deposits:
        yield f"the bonus looked at {len(looked)} of {deposits} deposits"


def _mailbox(email: str) -> str:
    name, _, domain = email.lower().partition("@")
    return f"{name.partition('+')[0]}@{domain}"


def sealed(world: World, records: Records) -> Found:
    """The ledger's key is published; checkpoints make a chain, are archived, and cover every account's last entry."""
    credits = world.backends[0].credits
    if len(records.documents("ledger_keys/")) != 1:
        yield "the key of the ledger is not published"
    checkpoints = sorted(records.documents("checkpoints/"), key=lambda one: one.path)
    for one, other in pairwise(one.fields for one in checkpoints):
        if int_field(other, "number") != int_field(one, "number") + 1:
            yield f"checkpoint {other['number']} follows {one['number']}"
        if other["prev_hash"] != one["hash"]:
            yield f"checkpoint {other['number']} does not follow from the one before"
    for checkpoint in checkpoints:
        yield from _archived(world, checkpoint.fields)
    yield from _copied(world, records)
    for uid in records.uids():
        coverage, sequence = credits.checkpoints.coverage(uid), records.account(uid).sequence
        if not sequence:
            continue
        if coverage is None or coverage.sequence != sequence:
            yield f"{uid} has {sequence} entries, its last checkpoint covers {coverage and coverage.sequence}"
        elif not coverage.holds(credits.ledger.keys):
            yield f"{uid}: its checkpoint does not verify"


def _copied(world: World, records: Records) -> Found:
    """What the archive holds can be read in Firestore."""
    for name in world.outside.archive.kept:
        if name.startswith("checkpoints/") and records.one(name.removesuffix(".json")) is None:
            yield f"{name} is in the archive, and nobody can read it in Firestore"
    for uid in records.uids():
        seal, sequence = records.one(f"sealed/{uid}"), records.account(uid).sequence
        if sequence and (seal is None or seal.fields["sequence"] != sequence):
            yield f"{uid} has {sequence} entries, the copy of its seal is {seal and seal.fields}"


def _archived(world: World, checkpoint: Fields) -> Found:
    name = f"checkpoints/{int_field(checkpoint, 'number'):012d}.json"
    kept = world.outside.archive.kept.get(name)
    if kept is None or json.loads(kept)["checkpoint"]["root"] != checkpoint["root"]:
        yield f"checkpoint {checkpoint['number']} is not in the archive"


def keyed(world: World, known: Known) -> Found:
    """Requests with one key and body get one answer."""
    faults = world.faults
    sure = not (faults.crash or faults.stall or faults.unavailable or faults.conflict)
    for key, told in known.keyed.items():
        answers = [one for one in told if one.status < 500 and one.status not in _NOT_KEPT]
        replayed = {_said(one) for one in answers if one.replayed}
        first = [_said(one) for one in answers if not one.replayed]
        if len(replayed) > 1:
            yield f"key {key} was repeated with {replayed}"
        if sure and (len(first) > 1 or not replayed <= {*first}):
            yield f"key {key} was answered {first}, and then {replayed}"


def _said(told: Told) -> tuple[int, str]:
    """Status and body; every problem names the request that met it, and a kept one the first request."""
    return told.status, json.dumps({name: value for name, value in told.fields.items() if name != "request_id"})
