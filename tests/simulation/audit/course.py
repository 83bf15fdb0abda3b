"""What must be true of each move of turns, sagas and account heads, which the final state alone does not show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from app.credits.ledger import document as account_document
from app.kit.clock import from_rfc3339, minutes
from app.kit.stores.documents import (
    Fields,
    Replace,
    Version,
    Write,
    int_field,
    list_field,
    map_field,
    text_field,
)
from app.orchestration.sagas.sagas import TIMER
from simulation.audit.prices import overasked, underreserved
from simulation.machine.kernel import CALM, Instance, Process
from simulation.outside.model_vendor import VendorAnswer
from simulation.workload import Known
from simulation.world import World
from support.memory import Change

_SKEW: Final = 4_000_000
"""Two clocks differ by less."""
_SLOW: Final = 5_000_000
"""A commit may take so long to reach its store."""
_PAID_WITHIN: Final = minutes(20)
"""How long a purchase waits for its payment: see `simulation.products`."""
_LEFT_BEHIND: Final = ("crashed", "reservation_lost")

Found = Iterator[str]


class Turns:
    """The turns of all conversations."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._spendable: dict[str, int] = {}
        """By reservation, what its account could have set aside for it."""
        self._doubtful: set[str] = set()
        """Paths of turns whose writer does not know whether they were written: nobody may be answering them."""
        self._running: dict[str, Fields] = {}
        """By question, the latest attempt at it."""
        self._by: dict[str, Instance | None] = {}
        """By reservation, the instance that answers."""
        self.found: list[str] = []
        self._longest_us = world.backends[0].system.settings.api.timeout_s * 1_000_000
        self._asks: dict[str, list[VendorAnswer]] = {}
        """By reservation, what the vendor was asked."""
        world.documents.watchers.append(self._committed)
        world.documents.doubts.append(self._doubted)
        world.outside.models.watchers.append(self._asked)

    def _doubted(self, writes: Sequence[Write]) -> None:
        self._doubtful |= {write.path for write in writes if "/messages/" in write.path}

    def _asked(self, asked: VendorAnswer) -> None:
        """A model is asked once a reservation stands that pays for it, and again only while that is right."""
        turn, vendor = self._running.get(asked.question), self._world.outside.models
        if turn is None:
            self.found.append(f"{asked.model} was asked {asked.question!r}, for which nothing is reserved")
            return
        self.found += overasked(asked, turn)
        reservation = text_field(turn, "reservation_id")
        without = self._known.without.get(text_field(turn, "id"), frozenset())
        self.found += underreserved(asked, turn, min(self._spendable.get(reservation, 0), self._limit(turn)), without)
        asks = self._asks.setdefault(text_field(turn, "reservation_id"), [])
        # Whoever stood still meanwhile may ask for an attempt that another one has replaced.
        before = [one for one in asks if one.asker is asked.asker or not self._world.faults.stall]
        if any(one.texts for one in before):
            self.found.append(f"{asked.model} was asked {asked.question!r} again, after text had come")
        if any(one.final or (one.once and one.model == asked.model) for one in before):
            self.found.append(f"{asked.model} was asked {asked.question!r} again, after an answer that forbids it")
        unread = vendor.unread.pop(asked.question, asked.model)
        if unread != asked.model and self._world.faults == CALM:
            self.found.append(f"{asked.model} was asked {asked.question!r}, which {unread} had never read")
        asks.append(asked)

    def _committed(self, changes: list[Change]) -> None:
        accounts = {path: (before, after) for path, before, after in changes if after and _is_account(path)}
        for _, account in accounts.values():
            self._held(account)
        for path, before, after in changes:
            if after is not None and path.startswith("users/") and "/messages/" in path:
                if after["state"] == "running":
                    if before is None or before["reservation_id"] != after["reservation_id"]:
                        self._reserved(after, accounts)
                    else:
                        self._extended(path, before, after, accounts)
                self.found += self._moved(path, before, after)

    def _held(self, account: Fields) -> None:
        """Notes what is held for each message. Somebody may have tampered with the account."""
        opens = account.get("reservations")
        for open in opens if isinstance(opens, list) else ():
            if isinstance(open, Mapping) and isinstance(amount := open.get("amount"), int):
                held = self._known.held.setdefault(str(open.get("id")).rpartition(".")[0], [amount])
                if held[-1] != amount:
                    held.append(amount)

    def _limit(self, turn: Fields) -> int:
        """What its owner allows it to cost."""
        return self._known.limits.get(text_field(turn, "id"), 10**12)

    def _reserved(self, turn: Fields, accounts: Mapping[str, tuple[Fields | None, Fields]]) -> None:
        """Notes how much could be reserved for it, where others took some of it in the same commit."""
        moved = accounts.get(f"accounts/{turn['account']}")
        if moved is not None:
            left, now_us = int_field(turn, "reserved"), self._world.kernel.now_us
            read = [account_document.read(one) for one in moved if one is not None]
            spendable = min([account.available(now_us) for account in read[:-1]] + [read[-1].available(now_us) + left])
            running = [sum(one.reference_type != "reservation" for one in account.reservations) for account in read]
            beside = max([*running[:-1], running[-1] - 1])
            # Those that run at once divide what each may grow to.
            self._spendable[text_field(turn, "reservation_id")] = min(spendable, 2 * spendable // (beside + 1))
            held = [one.id for one in read[-1].reservations if one.id.startswith(f"{turn['id']}.")]
            if len(held) > 1:
                self.found.append(f"{turn['id']} holds several reservations: {held}")

    def _extended(
        self, path: str, before: Fields, after: Fields, accounts: Mapping[str, tuple[Fields | None, Fields]]
    ) -> None:
        """A running turn changes in what is held for it alone: upwards, to its ceiling, and as its account says."""
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        held, moved = int_field(after, "reserved"), accounts.get(f"accounts/{after['account']}")
        if changed != {"reserved"} or not int_field(before, "reserved") < held <= int_field(after, "ceiling"):
            self.found.append(f"{path} runs and changed in {changed}: {before['reserved']} became {held}")
        open = [] if moved is None else account_document.read(moved[1]).reservations
        if [one.amount for one in open if one.id == after["reservation_id"]] != [held]:
            self.found.append(f"{path} says that {held} are held for it, and its account does not")

    def _moved(self, path: str, before: Fields | None, after: Fields) -> Found:
        if after["state"] == "running":
            self._running[text_field(after, "question")] = after
            current = self._world.kernel.current
            by = None if current is None else current.instance
            self._by.setdefault(text_field(after, "reservation_id"), by)
        if before is None:
            return
        yield from _numbered(path, before, after)
        late = before["reservation_id"] == after["reservation_id"] and after.get("reason") == "reservation_lost"
        if before["state"] == "error" and before["reason"] == "crashed" and late:
            # Whoever was taken for dead comes to its end after all. The text was read, and costs nothing.
            yield from self._ended(path, after)
        elif before["state"] != "running":
            if after["state"] != "running" or not _gave_nothing(before):
                yield f"{path} was {before['state']} and moved to {after['state']}"
        elif after["state"] == "running" and before["reservation_id"] == after["reservation_id"]:
            return
        elif after["state"] == "running":
            # An attempt that was left behind may be taken over once its lease is over, or its instance dead or silent.
            by = self._by.get(text_field(before, "reservation_id"))
            if (by is None or not by.dead) and self._answers(path, before):
                yield from self._left_behind(path, before, "replaced")
        else:
            yield from self._ended(path, after)

    def _ended(self, path: str, after: Fields) -> Found:
        if after["reason"] in _LEFT_BEHIND and self._answers(path, after):
            yield from self._left_behind(path, after, text_field(after, "reason"))

    def _answers(self, path: str, turn: Fields) -> bool:
        """Whether somebody surely gives this answer, and can say so."""
        world = self._world
        if world.faults.stall or world.realtime.outage.until_us or path in self._doubtful:
            return False
        return turn["instance"] in [one.system.chat.instance for one in world.backends]

    def _left_behind(self, path: str, turn: Fields, how: str) -> Found:
        """Whoever still answers is not taken for dead, and keeps its reservation (T-40)."""
        age_us = self._world.kernel.now_us - from_rfc3339(text_field(turn, "created_at"))
        if age_us < self._longest_us - _SKEW:
            yield f"{path} was {how} after {age_us / 1e6:.0f} s, while its answer may still have been given"


def _numbered(path: str, before: Fields, after: Fields) -> Found:
    """Attempts are counted, and each has a reservation of its own: the one before may still end its own (T-11)."""
    was, now = int_field(before, "attempt"), int_field(after, "attempt")
    if now < was:
        yield f"{path} went back from attempt {was} to {now}"
    if now > was and after["reservation_id"] == before["reservation_id"]:
        yield f"{path}: attempt {now} has the reservation of attempt {was}"


def _gave_nothing(ended: Fields) -> bool:
    """Whether the key of a turn may be answered again: it failed, or nobody was there to read, and it cost nothing."""
    unheard = not ended["answer"] and ended["reason"] != "cancelled_before_first_token"
    return ended["cost"] == 0 and (ended["state"] == "error" or unheard)


class Sagas:
    """The steps of all sagas."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: dict[str, list[str]] = {}
        """Steps that have to be undone when their saga fails, in the order in which they ended."""
        self._waits: dict[tuple[str, str], int] = {}
        self.found: list[str] = []
        world.documents.watchers.append(self._committed)

    def _committed(self, changes: list[Change]) -> None:
        for path, before, after in changes:
            name = path.rpartition("/")[2]
            if after is not None and path.startswith("sagas/"):
                self.found += self._moved(name, before, after)
        for path, before, after in changes:
            if after is not None and path.startswith("operations/") and after["name"] == TIMER:
                self.found += self._timed(before, after)

    def _moved(self, saga: str, before: Fields | None, after: Fields) -> Found:
        were, are = ({} if one is None else _statuses(one) for one in (before, after))
        ended = self._ended.setdefault(saga, [])
        moved = [step for step in are if were.get(step) != are[step]]
        for step in moved:
            if are[step] in ("done", "doubtful"):
                ended.append(step)
            elif are[step] == "waiting":
                self._waits[saga, step] = self._world.kernel.now_us
            elif are[step] == "failed" and str(after["failure"]).startswith("waited too long"):
                yield from self._in_time(saga, step, "given up")
        for step in moved:
            if are[step] == "undoing" and were.get(step) != "stuck":
                if step not in ended:  # It ended in doubt by this very commit.
                    ended.append(step)
                later = ended[ended.index(step) + 1 :]
                if any(are[one] != "undone" for one in later):
                    yield f"saga {saga} undoes {step}, and these ended later: {later}"

    def _timed(self, before: Fields | None, after: Fields) -> Found:
        if before is not None and before["state"] != "running" and after["state"] == "running":
            payload = map_field(after, "payload")
            yield from self._in_time(text_field(payload, "saga"), text_field(payload, "step"), "timed out")

    def _in_time(self, saga: str, step: str, how: str) -> Found:
        waited_us = self._world.kernel.now_us - self._waits.get((saga, step), 0)
        if waited_us < _PAID_WITHIN - _SKEW - _SLOW:
            yield f"saga {saga}: {step} was {how} after {waited_us / 1e6:.0f} s"


class Heads:
    """Accounts after a commit whose outcome is not known: they are read again before the next commit (T-34).

    Money does not rest on it, because a commit on an old head is refused; each such commit is in vain.
    """

    def __init__(self, world: World) -> None:
        self._kernel = world.kernel
        self._unsure: dict[tuple[Instance | None, str], Version | None] = {}
        self._read: dict[tuple[Process | None, str], Version | None] = {}
        self.found: list[str] = []
        documents = world.documents
        documents.reads.append(self._was_read)
        documents.tries.append(self._tried)
        documents.doubts.append(self._doubted)

    def _was_read(self, path: str, version: Version | None) -> None:
        if _is_account(path):
            self._unsure.pop((self._instance, path), None)
            self._read[self._kernel.current, path] = version

    def _tried(self, writes: Sequence[Write]) -> None:
        for path, version in _heads(writes):
            unsure = self._unsure.get((self._instance, path))
            if unsure is not None and unsure == version and self._read.get((self._kernel.current, path)) != version:
                self.found.append(f"{path} was written again on a head that a failed commit had left in doubt")

    def _doubted(self, writes: Sequence[Write]) -> None:
        for path, version in _heads(writes):
            self._unsure[self._instance, path] = version
            self._read.pop((self._kernel.current, path), None)

    @property
    def _instance(self) -> Instance | None:
        return self._kernel.current.instance if self._kernel.current is not None else None


def _heads(writes: Sequence[Write]) -> list[tuple[str, Version | None]]:
    return [(one.path, one.version) for one in writes if isinstance(one, Replace) and _is_account(one.path)]


def _is_account(path: str) -> bool:
    return path.startswith("accounts/") and path.count("/") == 1


def _statuses(saga: Fields) -> dict[str, str]:
    steps = map_field(saga, "steps")
    return {str(name): text_field(map_field(steps, str(name)), "status") for name in list_field(saga, "order")}
