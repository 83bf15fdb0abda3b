"""An accountant: takes statements over HTTP while everything goes on, and verifies them as any reader would.

What a statement must say is added up from the entries themselves; what the verifier must say of it, and of one that
somebody has altered, stands in docs/verification.md.
"""

import contextlib
import copy
import csv
import functools
import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

from app.api.auth import Principal
from app.credits import verify
from app.credits.proofs.signing import Signer
from app.kit.errors import Failure
from app.kit.stores.documents import Replace
from simulation.edge import HttpRequest, serve
from simulation.instance import Backend
from simulation.money.books import Books
from simulation.money.cashier import REASONS
from simulation.money.lies import CUT, IN_ENTRIES, IN_THE_REST, OF_CHECKPOINTS, Lie, Stop
from support.hostile import rechain
from support.tampering import STRANGER, Export, Json, refit, resigned

_KINDS: Final = ("application/json", "application/x-ndjson", "text/csv")
_SIGNER: Final = Signer(bytes(range(32)))
"""The ledger's own key, which an insider may use."""
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"

Found = Iterator[str]


@dataclass(frozen=True)
class _Taken:
    """A statement as it was answered, and between which of the account's entries it was asked for."""

    uid: str
    kind: str
    first: str | None
    last: str | None
    data: bytes
    since: int
    until: int


@dataclass(frozen=True)
class _Verdict:
    """What the verifier answers: its exit status, its line of JSON and its sentence."""

    status: int
    told: Mapping[str, Json]
    sentence: str


class Accountant:
    """Takes statements of any account in its owner's name."""

    def __init__(self, books: Books) -> None:
        self._books, self._world, self._kernel = books, books.world, books.world.kernel
        self._random = self._kernel.random
        self._taken: list[_Taken] = []
        self._keys_file: bytes | None = None

    def works(self, uids: Sequence[str], times: int, *, most_s: int = 150) -> None:
        """Takes some at random moments. Must be called by a process."""
        for _ in range(times):
            self._kernel.sleep(self._random.randrange(most_s * 1_000_000))
            uid, kind = self._random.choice(uids), self._random.choice(_KINDS)
            first, last = self._period(uid)
            since = self._books.sequence(uid)
            asking = partial(self._ask, uid=uid, kind=kind, first=first, last=last)
            answer = self._world.request("accountant", asking)
            if not isinstance(answer, Failure):
                self._took(_Taken(uid, kind, first, last, answer[1], since, self._books.sequence(uid)), answer[0])

    def verdict(self) -> Found:
        """Whether every statement that was taken says what the entries say, and verifies."""
        taken, self._taken = self._taken, []
        for one in taken:
            for what in self._csv(one) if one.kind == "text/csv" else self._json(one):
                yield f"the statement of {one.uid} ({one.kind}) from {one.first} to {one.last}: {what}"

    def looks_closely(self, uid: str) -> Found:
        """Takes statements of an account at rest, alters them, and has each of them verified."""
        for first, last in (self._period(uid), self._after_the_end(uid)):
            here, kind = self._books.sequence(uid), self._random.choice(_KINDS)
            status, data = self._ask(self._random.choice(self._world.backends), uid, kind, first, last)
            self._took(_Taken(uid, kind, first, last, data, here, here), status)
        yield from self.verdict()
        _, data = self._ask(self._world.backends[0], uid, _KINDS[0], None, None)
        whole = cast(Export, json.loads(data))
        if len(whole["report"]["entries"]) > 3:
            short = _shortened(whole)
            yield from self._lies(whole, short)
            yield from self._parts(short)
            yield from self._keys(short)
        yield from self._tables(uid)
        yield from self._unproven(uid)

    def _took(self, taken: _Taken, status: int) -> None:
        if status == 200:
            self._taken.append(taken)
        elif status not in (404, 429, 503):
            self._books.found.append(f"{taken.uid} asked for a statement and was answered {status}: {taken.data!r}")

    def _ask(self, backend: Backend, uid: str, kind: str, first: str | None, last: str | None) -> tuple[int, bytes]:
        query = "&".join(f"{name}={at}" for name, at in (("from", first), ("to", last)) if at is not None)
        token = self._world.outside.tokens.issue(Principal(uid))
        request = HttpRequest("GET", "/v1/credits/audit", token, b"", query, {"Accept": kind})
        answer = serve(backend.system, request)
        return answer.status, answer.whole()

    def _period(self, uid: str) -> tuple[str | None, str | None]:
        """Open, or between two entries, or after all of them."""
        times = sorted(str(entry["created_at"]) for entry in self._stored(uid))
        if not times or self._random.random() < 0.4:
            return None, None
        if self._random.random() < 0.2:
            return self._after_the_end(uid)
        first, last = sorted(self._random.choices(times, k=2))
        return self._random.choice(((first, last), (None, last), (first, None)))

    def _after_the_end(self, uid: str) -> tuple[str | None, str | None]:
        at = str(self._stored(uid)[-1]["created_at"]) if self._stored(uid) else ""
        return (f"{at[:-1][:19]}.999999Z", None) if at[20:26] != "999999" and at else (None, None)

    def _stored(self, uid: str) -> list[Mapping[str, Json]]:
        """The entries as they are stored."""
        return [entry.fields() for entry in self._books.entries(uid)]

    def _json(self, taken: _Taken) -> Found:
        """Of one statement, or of one in parts."""
        reports = [json.loads(line)["report"] for line in taken.data.decode().splitlines() if line]
        head = reports[-1]["head"]["sequence"]
        if not taken.since <= head <= taken.until:
            yield f"it ends at entry {head}, asked between {taken.since} and {taken.until}"
        before, inside = self._divided(taken, head)
        if [entry for report in reports for entry in report["entries"]] != inside:
            yield "its entries are not the account's"
        totals: dict[str, int] = {}
        for entry in inside:
            totals[entry["kind"]] = totals.get(entry["kind"], 0) + entry["amount"]
        sums = [sum(entry["amount"] for entry in some) for some in (before, [*before, *inside])]
        told = [reports[0]["opening_balance"], reports[-1]["closing_balance"]]
        if told != sums or (len(reports) == 1 and reports[0]["totals"] != totals):
            yield f"it opens and closes with {told}, the entries with {sums}"
        verdict = self._verified(taken.data)
        wanted = {"valid": True, "entries": len(inside), "period": _extent(before, inside, head)}
        wanted |= {"checkpoint": _sealed(before, inside, reports[-1]["coverage"])}
        if verdict.status != 0 or any(verdict.told.get(name) != value for name, value in wanted.items()):
            yield f"the verifier says {verdict}, should say {wanted}"

    def _divided(self, taken: _Taken, head: int) -> tuple[list[Json], list[Json]]:
        """The entries before its period, and those in it."""
        entries = self._stored(taken.uid)[:head]
        first, last = taken.first or "", taken.last or "~"
        return (
            [dict(one) for one in entries if one["created_at"] < first],
            [dict(one) for one in entries if first <= one["created_at"] <= last],
        )

    def _csv(self, taken: _Taken) -> Found:
        rows = list(csv.DictReader(io.StringIO(taken.data.decode(), newline="")))
        records = [row["record"] for row in rows]
        if records != ["opening", *["entry"] * (len(rows) - 3), "closing", "signature"]:
            yield f"its rows are {records}"
            return
        whose = {(row["account"], row["from"], row["to"]) for row in rows}
        if whose != {(taken.uid, taken.first or "", taken.last or "")}:
            yield f"its rows name {whose}"
        head = int(rows[-2]["sequence"]) if taken.last is None else taken.until
        before, inside = self._divided(taken, head)
        told = [(row["id"], _micro(row["amount"]), _text(row["reason"])) for row in rows[1:-2]]
        if told != [(entry["id"], entry["amount"], entry["reason"]) for entry in inside]:
            yield "its entries are not the account's"
        sums = [sum(entry["amount"] for entry in some) for some in (before, [*before, *inside])]
        if [_micro(row["balance_after"]) for row in (rows[0], rows[-2])] != sums:
            yield f"it does not open and close with {sums}"
        yield from (f"{cell!r} is a formula" for row in rows for cell in row.values() if _runs(cell))
        if (verdict := self._verified(taken.data)).status != 0 or verdict.told["account"] != taken.uid:
            yield f"the verifier says {verdict}"

    def _lies(self, whole: Export, short: Export) -> Found:
        """Some lies of an insider."""
        sealed = [self._random.choice((*IN_THE_REST, *[CUT] * 3))] if self._random.random() < 0.5 else []
        for lie in (*self._random.sample(IN_ENTRIES, 5), *self._random.sample(IN_THE_REST, 3), *sealed):
            export = copy.deepcopy(whole if lie in sealed else short)
            if (stop := self._told(lie, export)) is None:
                continue
            verdict = self._verified(_line(resigned(export, _SIGNER)))
            if (verdict.status, verdict.told.get("check"), verdict.told.get("sequence")) != (1, *stop):
                yield f"an insider's lie ({lie.__name__}) must stop at {stop}, the verifier says {verdict}"
        if self._random.random() < 0.3:
            yield from self._outsiders(short)

    def _told(self, lie: Lie, export: Export) -> Stop | None:
        if export["report"]["coverage"] is None and (lie is CUT or lie in OF_CHECKPOINTS):
            return None
        stop = lie(export["report"], self._random)
        if stop is not None and (lie in IN_ENTRIES or lie is CUT):
            rechain(export, _SIGNER)
            refit(export["report"])
        return stop

    def _outsiders(self, whole: Export) -> Found:
        """Somebody without the key changes an entry, or signs with another key."""
        export = copy.deepcopy(whole)
        entry = self._random.choice(export["report"]["entries"])
        entry[self._random.choice(("reason", "created_at", "key", "input", "description"))] += "1"
        verdict = self._verified(_line(export))
        if verdict.status != 1 or verdict.told["sequence"] != entry["sequence"]:
            yield f"entry {entry['sequence']} was changed, and the verifier says {verdict}"
        verdict = self._verified(_line(resigned(copy.deepcopy(whole), STRANGER)))
        if verdict.told.get("check") != "report_signature":
            yield f"a stranger has signed, and the verifier says {verdict}"

    def _parts(self, whole: Export) -> Found:
        """A statement in two parts: whole together, a part each alone, nothing when put together wrongly."""
        first, second = copy.deepcopy(whole), copy.deepcopy(whole)
        head, at = whole["report"]["head"], self._random.randrange(1, len(whole["report"]["entries"]))
        first["report"].update(entries=whole["report"]["entries"][:at], coverage=None)
        refit(first["report"])
        first["report"].update(head=head, part={"number": 1, "last": False})
        state, balance = first["report"]["closing"], first["report"]["closing_balance"]
        second["report"].update(entries=whole["report"]["entries"][at:], opening=state, opening_balance=balance)
        refit(second["report"])
        second["report"].update(head=head, part={"number": 2, "last": True})
        one, two = (_line(resigned(part, _SIGNER)) for part in (first, second))
        count = len(whole["report"]["entries"])
        ways = (
            (one + two, (0, count, "covered")),
            (two, (0, count - at, "part")),
            (two + one, (1, count - at, None)),
            (one + one, (1, at, None)),
        )
        for data, wanted in ((one, (0, at, "part")), self._random.choice(ways)):
            verdict = self._verified(data)
            if (verdict.status, verdict.told.get("entries"), verdict.told.get("period")) != wanted:
                yield f"of two parts the verifier says {verdict}, should say {wanted}"

    def _keys(self, whole: Export) -> Found:
        """A key that was at its end before an entry was made cannot have signed that."""
        entries = whole["report"]["entries"]
        at = self._random.randrange(1, len(entries))
        while at < len(entries) and entries[at]["created_at"] == entries[at - 1]["created_at"]:
            at += 1
        keys = self._published()
        if at < len(entries):
            keys["keys"][0]["not_after"] = entries[at - 1]["created_at"]
            verdict = self._verified(_line(whole), keys)
            if (verdict.told.get("check"), verdict.told.get("sequence")) != ("key", entries[at]["sequence"]):
                yield f"the key had ended before {entries[at]['sequence']}, and the verifier says {verdict}"

    def _tables(self, uid: str) -> Found:
        """A CSV statement as spreadsheets save it, and one in which somebody has changed a cell."""
        _, data = self._ask(self._world.backends[0], uid, "text/csv", None, None)
        if (verdict := self._verified(_BOM + data)).status != 0:
            yield f"a byte order mark in front breaks a CSV statement: {verdict}"
        ways = (data.replace(b"\r\n", b"\n"), _BOM + data.replace(b'"', b""), data.replace(b'","', b'";"'))
        for saved in ways:
            verdict = self._verified(saved)
            if verdict.status != 1 or "saved" not in verdict.sentence:
                yield f"another program saved a CSV statement, and the verifier says {verdict}"
        verdict = self._verified(data.replace(b'"entry"', b'"Entry"', 1))
        if verdict.status != 1 and b'"entry"' in data:
            yield f"a cell of a CSV statement was changed, and the verifier says {verdict}"

    def _unproven(self, uid: str) -> Found:
        """No statement is signed of an account whose balance somebody has changed by hand."""
        real, path = self._world.documents.real, f"accounts/{uid}"
        stored = real.get(path)
        assert stored is not None
        real.commit([Replace(path, {**stored.fields, "balance": cast(int, stored.fields["balance"]) + 1})])
        kind = self._random.choice(_KINDS)
        status, data = self._ask(self._world.backends[0], uid, kind, None, None)
        real.commit([Replace(path, stored.fields)])
        if status != 409:
            yield f"the balance of {uid} was changed by hand, and a statement ({kind}) was answered {status}: {data!r}"

    def _verified(self, data: bytes, keys: Json = None) -> _Verdict:
        """What the command line verifier says of a file."""
        folder = Path(_folder().name)
        (folder / "statement").write_bytes(data)
        (folder / "keys.json").write_text(json.dumps(keys or self._published()))
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = verify.main([str(folder / "statement"), str(folder / "keys.json")])
        return _Verdict(status, json.loads(out.getvalue() or "{}"), error.getvalue())

    def _published(self) -> Json:
        if self._keys_file is None:
            answer = serve(self._world.backends[0].system, HttpRequest("GET", "/v1/credits/keys", ""))
            self._keys_file = answer.whole()
        return json.loads(self._keys_file)


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


def _shortened(whole: Export, most: int = 9) -> Export:
    """The account as it was after its first entries, as an insider writes it: nobody can tell without a checkpoint."""
    export = copy.deepcopy(whole)
    export["report"].update(entries=export["report"]["entries"][:most], coverage=None)
    refit(export["report"])
    return resigned(export, _SIGNER)


def _line(export: Export) -> bytes:
    return json.dumps(export).encode() + b"\n"


def _extent(before: Sequence[Json], inside: Sequence[Json], head: int) -> str:
    if not before and len(inside) == head:
        return "covered"
    return "part" if inside else "not covered"


def _sealed(before: Sequence[Json], inside: Sequence[Json], coverage: Json) -> str:
    """How much of the entries in the file a checkpoint seals; without entries, of the one before them."""
    known = [entry["sequence"] for entry in inside or before[-1:]]
    sealed = coverage["seal"]["sequence"] if coverage is not None else 0
    if sealed not in known:
        return "not covered"
    return "covered" if sealed == known[-1] else "part"


def _micro(amount: str) -> int:
    whole, _, part = amount.removeprefix("-").partition(".")
    micro = int(whole) * 1_000_000 + int(part.ljust(6, "0") or "0")
    return -micro if amount.startswith("-") else micro


def _text(cell: str) -> str:
    """A cell as it was written: one of the reasons that have an apostrophe in front because they could run."""
    return cell[1:] if cell[:1] == "'" and cell[1:] in REASONS else cell


def _runs(cell: str) -> bool:
    """Whether a spreadsheet could take a cell for a formula: one of our hostile reasons as it stands."""
    return cell in REASONS[2:] or (cell[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(cell))
