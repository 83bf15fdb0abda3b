"""Two administrators who correct over HTTP, with keys and repeats, and somebody who forges proposals in Firestore."""

from collections.abc import Mapping
from typing import Final

from app.api.auth import Principal
from app.credits.core.entry import Kind
from app.kit.clock import to_rfc3339
from app.kit.errors import Failure, InvariantViolation
from app.kit.money import to_decimal
from app.kit.stores.documents import Create, Fields, Replace, Value
from simulation.audit.records import Records
from simulation.devices import Http, Told
from simulation.instance import Backend
from simulation.money.books import Act, Books, Way

ADMINISTRATORS: Final = ("root", "second")
_CORRECTIONS: Final = "/v1/credits/corrections"
_IN_PROGRESS: Final = "idempotency_in_progress"
_TRIES: Final = 12
_PLAIN: Final = (Kind.SETTLE, Kind.GRANT, Kind.ADJUST)
"""Entries of which something is left to undo, mostly."""


class Office:
    """What administrators do about accounts, each step as one of them, seldom without a second one."""

    def __init__(self, books: Books) -> None:
        self._books, self._world, self._kernel = books, books.world, books.world.kernel
        self._count = 0
        kernel, keyed = self._kernel, dict[str, list[Told]]()
        tokens = self._world.outside.tokens
        self._hands = {
            uid: Http(kernel, uid, tokens.issue(Principal(uid, role="admin")), keyed) for uid in ADMINISTRATORS
        }

    def reverse(self, uid: str, entry: str) -> bool:
        """One proposes to undo an entry, the other approves; whether it was undone."""
        return self._corrects(uid, {"reverses": entry})

    def works(self, uid: str, times: int) -> None:
        """Some corrections of an account that exists, and what goes wrong in an office."""
        doings = [self._adjusts, self._undoes, self._rejects, self._rejects, self._forged]
        for doing in (self._undoes_twice, *self._kernel.random.sample(doings, times - 1)):
            self._kernel.sleep(self._kernel.random.randrange(60_000_000))
            doing(uid)

    def send(self, who: str, path: str, body: Mapping[str, object] | None, key: str = "") -> Told | None:
        """What one of them is answered in the end; None when that is not known."""

        def once(backend: Backend) -> Told:
            return self._hands[who].raw(backend, "POST", path, body, None, key)

        for _ in range(_TRIES):
            told = self._world.request(f"{who} {path}", once)
            if isinstance(told, Failure):
                if isinstance(told, InvariantViolation):
                    self._books.found.append(f"{who} {path}: {told}")
            elif told.status >= 500 and told.status != 503:
                self._books.found.append(f"{who} {path} {body} was answered {told.status}: {told.text}")
                return None
            elif told.status not in (429, 503) and told.fields.get("code") != _IN_PROGRESS:
                return told
            self._kernel.sleep(self._kernel.random.randrange(1_000_000, 60_000_000))
        return None

    def _adjusts(self, uid: str) -> None:
        amount = self._kernel.random.choice((-7, -1, 1, 3)) * 1_000_000
        self._corrects(uid, {"amount": to_decimal(amount)}, amount)

    def _undoes(self, uid: str) -> None:
        if entry := self._any(uid):
            self.reverse(uid, entry)

    def _undoes_twice(self, uid: str) -> None:
        """Both propose to undo the same entry, and each approves what the other proposed."""
        entries = self._books.entries(uid)
        keys = {entry.key for entry in entries}
        whole = [one.id for one in entries if one.kind in _PLAIN and f"reversal:{one.id}" not in keys]
        if not whole:
            return
        entry = self._kernel.random.choice(whole)
        made = {by: self._proposes(by, uid, {"reverses": entry}) for by in ADMINISTRATORS}
        for by, id in made.items():
            if id is not None:
                self._approves(_other(by), id, Act(uid, "reversal", entry, 0, self._books.sequence(uid)))

    def _rejects(self, uid: str) -> None:
        """A proposal that is rejected, and approved afterwards by somebody who did not look."""
        by = self._kernel.random.choice(ADMINISTRATORS)
        id = self._proposes(by, uid, {"amount": "5"})
        if id is None:
            return
        proposed = self._world.documents.real.get(f"corrections/{id}")
        told = self.send(_other(by), f"{_CORRECTIONS}/{id}/reject", None)
        if told is not None and told.status not in (200, 409):
            self._books.found.append(f"correction {id} was rejected and answered {told.status}: {told.text}")
        if proposed is not None and told is not None and told.status == 200 and self._kernel.chance(0.85):
            # Somebody who may write to Firestore puts it back to what it was, with its signature.
            self._world.documents.real.commit([Replace(proposed.path, proposed.fields)])
        approved = self.send(_other(by), f"{_CORRECTIONS}/{id}/approve", None)
        if approved is not None and approved.status != 409:
            self._books.found.append(f"correction {id} was rejected and then approved: {approved.text}")

    def _forged(self, uid: str) -> None:
        """Somebody who may write to Firestore writes a proposal, or copies one; an administrator falls for it."""
        random, id = self._kernel.random, self._name("cor_forged")
        stored = [one.fields for one in Records(self._world.documents.real).documents("corrections/")]
        how = random.choice(("bare", "of another") if not stored else ("bare", "of another", "copied", "copied"))
        fields: dict[str, Value] = {**(random.choice(stored) if stored else _bare(uid, self._kernel.now_us)), "id": id}
        if how == "bare":
            fields = {**_bare(uid, self._kernel.now_us), "id": id}
        elif how == "copied":
            fields = {**random.choice(stored)}
        else:
            fields["amount"], fields["reverses"] = 900_000_000, None
        fields.update(state="proposed", decided_by=None, transaction_id=None)
        self._world.documents.real.commit([Create(f"corrections/{id}", fields)])
        by = _other(str(fields["proposed_by"]))
        for act in ("approve", "reject"):
            told = self.send(by, f"{_CORRECTIONS}/{id}/{act}", None)
            if told is not None and (told.status, told.fields.get("code")) != (409, "correction_forged"):
                self._books.found.append(f"a forged proposal ({how}) was answered {told.status}: {told.text}")

    def _corrects(self, uid: str, what: Mapping[str, str], amount: int = 0) -> bool:
        by = self._kernel.random.choice(ADMINISTRATORS)
        id = self._proposes(by, uid, what)
        if id is None:
            return False
        if self._kernel.chance(0.1):
            alone = self.send(by, f"{_CORRECTIONS}/{id}/approve", None)
            if alone is not None and alone.status != 403:
                self._books.found.append(f"{by} approved what they proposed: {alone.text}")
        way: Way = "reversal" if "reverses" in what else "adjustment"
        act = Act(uid, way, what.get("reverses", id), amount, self._books.sequence(uid))
        return self._approves(_other(by), id, act)

    def _proposes(self, by: str, uid: str, what: Mapping[str, str]) -> str | None:
        """The proposal's id, if one was made. Repeated under its key it is the same, and another body is refused."""
        key, body = self._name("propose"), {"uid": uid, "reason": "correct it", **what}
        since = self._books.sequence(uid)
        told = self.send(by, _CORRECTIONS, body, key)
        if told is None or told.status >= 400:
            if told is not None and "reverses" in what:
                until, code = self._books.sequence(uid), str(told.fields["code"])
                self._books.acts.append(Act(uid, "reversal", what["reverses"], 0, since, until, refused=code))
            return None
        id = str(told.fields["id"])
        self._books.proposals[id] = (by, uid)
        if self._kernel.chance(0.3):
            again = self.send(by, _CORRECTIONS, body, key)
            if again is not None and again.fields.get("id") != id:
                self._books.found.append(f"{by} proposed {body} twice under one key: {told.text}, {again.text}")
        if self._kernel.chance(0.15):
            other = self.send(by, _CORRECTIONS, {**body, "reason": "another one"}, key)
            if other is not None and other.status != 422:
                self._books.found.append(f"another proposal under the key {key} was answered {other.text}")
        return id

    def _approves(self, by: str, id: str, act: Act) -> bool:
        """Whether the proposal's own entry was posted, whoever approves it however often."""
        self._books.approvers.setdefault(id, set()).add(by)
        for _ in range(1 + self._kernel.chance(0.3)):
            key = self._name("approve") if self._kernel.chance(0.5) else ""
            told = self.send(by, f"{_CORRECTIONS}/{id}/approve", None, key)
            act.until = self._books.sequence(act.uid)
            if told is None:
                continue
            if told.status == 200:
                if told.fields["state"] == "approved":
                    act.entry = str(told.fields["transaction_id"])
                else:
                    self._books.found.append(f"correction {id} was approved, and is {told.fields['state']}")
            elif not act.entry:
                act.refused = str(told.fields["code"])
            else:
                self._books.found.append(f"correction {id} was approved, and then refused: {told.text}")
        self._books.acts.append(act)
        return bool(act.entry)

    def _any(self, uid: str) -> str:
        """Some entry, if there is one. What ends disputes is left to those who know of them."""
        ids = [entry.id for entry in self._books.entries(uid) if entry.kind not in (Kind.DEPOSIT, Kind.CLAWBACK)]
        return self._kernel.random.choice(ids) if ids else ""

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}-{self._kernel.random.randrange(1000)}"


def _other(by: str) -> str:
    return ADMINISTRATORS[1 - ADMINISTRATORS.index(by)]


def _bare(uid: str, at_us: int) -> Fields:
    return {
        "account": uid,
        "amount": 900_000_000,
        "reverses": None,
        "reason": "goodwill",
        "proposed_by": "root",
        "proposed_at": to_rfc3339(at_us),
    }
