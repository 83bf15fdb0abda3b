"""`/credits/...`: history, proofs, audit, receipts and keys."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import flask
from flask_openapi import APIBlueprint

from app.api.auth import caller, public, require
from app.api.context import wanted
from app.api.paging import Cursors, as_id, as_integer, as_time
from app.api.schemas import Page, PageParameters, Problem, microseconds
from app.credits.proofs.explaining import explain
from app.credits.proofs.reading import HistoryFilter
from app.credits.proofs.verification import Link, Verified
from app.credits.routes.schemas import (
    AuditAnswer,
    AuditParameters,
    ChainAnswer,
    ChainParameters,
    EntryAnswer,
    ExplanationAnswer,
    HistoryParameters,
    KeyAnswer,
    KeysAnswer,
    ProofAnswer,
    SealAnswer,
    TermAnswer,
    TransactionPath,
    entry_answer,
)
from app.credits.service import Credits
from app.credits.statements.audit import AuditPeriod
from app.credits.statements.table import csv_of
from app.kit.errors import NotFound
from app.kit.money import MAX_MICRO, to_decimal
from app.kit.stores.documents import Fields, Value, int_field

_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STATEMENTS: Final = ("application/json", "text/csv", "application/x-ndjson")


def add_ledger_routes(blueprint: APIBlueprint, credits: Credits) -> None:
    """Adds them to the credits' blueprint."""
    _add_history(blueprint, credits)
    _add_proofs(blueprint, credits)
    _add_statements(blueprint, credits)


def _add_history(blueprint: APIBlueprint, credits: Credits) -> None:
    @blueprint.get(
        "/credits/history", summary="Own entries, newest first; also as CSV", responses={200: Page[EntryAnswer]}
    )
    def history(query: HistoryParameters) -> Page[EntryAnswer] | flask.Response:
        uid = caller().uid
        credits.account(uid)
        chosen = HistoryFilter(query.kind, microseconds(query.from_), microseconds(query.to), query.reference)
        cursors = Cursors("history", _sequence_and_id, (uid, query.kind, chosen.from_us, chosen.to_us, query.reference))
        found = credits.history(uid, chosen)
        if wants_csv():
            page, more = cursors.listed(found, _table_row, query.limit, query.cursor)
            return _csv_page(page, more)
        items, more = cursors.listed(found, entry_answer, query.limit, query.cursor)
        return Page[EntryAnswer](items=[*items], next_cursor=more)

    @blueprint.get("/credits/explain", summary="The balance as a sum, term by term", responses={200: ExplanationAnswer})
    def explanation(query: PageParameters) -> ExplanationAnswer:
        uid = caller().uid
        credits.account(uid)
        page, more = _terms(credits, query, Cursors("explain", _sequence, (uid,)))
        told = explain(page)
        return ExplanationAnswer(
            balance=to_decimal(told.balance),
            brought_forward=to_decimal(told.brought_forward),
            terms=[_term(entry) for entry in page],
            next_cursor=more,
        )


def _add_proofs(blueprint: APIBlueprint, credits: Credits) -> None:
    @blueprint.get(
        "/credits/verify/<transaction_id>",
        summary="Recompute one entry",
        responses={200: ProofAnswer, 404: Problem},
    )
    def verify(path: TransactionPath) -> ProofAnswer:
        proof = credits.verify(caller().uid, path.transaction_id)
        key = None if proof.public_key is None else KeyAnswer.model_validate(proof.public_key)
        return ProofAnswer(valid=proof.valid, checks=proof.checks, entry=dict(proof.entry), public_key=key)

    @blueprint.get("/credits/validate-chain", summary="Recompute the own chain", responses={200: ChainAnswer})
    def validate_chain(query: ChainParameters) -> ChainAnswer:
        uid = caller().uid
        cursors = Cursors("validate-chain", _link, (uid,))
        position = cursors.read(query.cursor)
        report = credits.validate_chain(uid, None if position is None else Link(uid, *position))
        at, check = _fault(report.verified)
        return ChainAnswer(
            valid=report.valid,
            entries=report.verified.entries,
            sequence=report.verified.link.sequence,
            head_hash=report.head_hash,
            balance=to_decimal(report.balance),
            first_bad_sequence=at,
            failed_check=check,
            next_cursor=None if report.after is None else cursors.write(_position(report.after)),
        )

    @blueprint.get(
        "/credits/checkpoint",
        summary="The last checkpoint over the own account, with its inclusion proof",
        responses={200: SealAnswer, 404: Problem},
    )
    def checkpoint() -> SealAnswer:
        coverage = credits.checkpoints.coverage(caller().uid)
        if coverage is None:
            raise NotFound("No checkpoint covers this account yet; one is made every few minutes.")
        valid = coverage.holds(credits.ledger.keys)
        return SealAnswer(seal=dict(coverage.seal), checkpoint=dict(coverage.checkpoint), valid=valid)

    @blueprint.get("/credits/keys", summary="Public signing keys (JWKS)", responses={200: KeysAnswer})
    @public
    def keys() -> KeysAnswer:
        return KeysAnswer(keys=[KeyAnswer.model_validate(key) for key in credits.keys()["keys"]])


def _add_statements(blueprint: APIBlueprint, credits: Credits) -> None:
    @blueprint.get(
        "/credits/receipts/<transaction_id>",
        summary="One entry as a signed receipt (JWS)",
        responses={200: {"content": {"application/jose": {"schema": {"type": "string"}}}}, 404: Problem},
    )
    def receipt(path: TransactionPath) -> flask.Response:
        return flask.Response(credits.receipt(caller().uid, path.transaction_id), mimetype="application/jose")

    @blueprint.get(
        "/credits/audit",
        summary="Signed statement of a period; also as CSV, and in parts as application/x-ndjson",
        description="Up to 5,000 entries in one; with Accept: application/x-ndjson any number, one statement per line.",
        responses={200: AuditAnswer, 403: Problem, 404: Problem, 409: Problem, 422: Problem},
    )
    def audit(query: AuditParameters) -> AuditAnswer | flask.Response:
        uid, period = _whose(query), AuditPeriod(microseconds(query.from_), microseconds(query.to))
        if uid == caller().uid:
            credits.account(uid)
        match _wanted(*_STATEMENTS):
            case "text/csv":
                return _signed_csv(credits, credits.audit_csv(uid, period))
            case "application/x-ndjson":
                return _lines(credits.signed_parts(uid, period))
            case _:
                return AuditAnswer.model_validate(credits.signed_audit(uid, period))


def _lines(parts: Iterator[dict[str, Value]]) -> flask.Response:
    """One statement per line, made while they are sent. The first is made before, so that a refusal has its status."""
    first = next(parts)
    texts = (json.dumps(part, ensure_ascii=False, separators=(",", ":")) + "\n" for part in chain([first], parts))
    return flask.Response(texts, content_type="application/x-ndjson")


def _terms(
    credits: Credits, query: PageParameters, cursors: Cursors[tuple[int]]
) -> tuple[Sequence[Fields], str | None]:
    """The caller's own entries, of which none may be missing."""
    after = cursors.read(query.cursor)
    position = None if after is None else after[0]
    found = credits.ledger.newest(caller().uid, HistoryFilter(), query.limit + 1, position)
    return cursors.page(found, query.limit, lambda entry: (int_field(entry, "sequence"),))


def _table_row(entry: Fields) -> Fields:
    """An entry of which a table can be made."""
    csv_of([entry])
    return entry


def _sequence(parts: Sequence[object]) -> tuple[int]:
    [sequence] = parts
    return (as_integer(sequence, least=1),)


def _sequence_and_id(parts: Sequence[object]) -> tuple[int, str]:
    """Of documents that were spoilt, several may hold one sequence."""
    sequence, id = parts
    return as_integer(sequence), as_id(id)


def _link(parts: Sequence[object]) -> tuple[int, str, int, int, str]:
    """How far a chain was verified; see `Link`. Amounts beyond what an account can hold have no spelling."""
    sequence, head, balance, debt, at = parts
    if not isinstance(head, str) or not _HASH.fullmatch(head):
        raise ValueError("no hash")
    return (
        as_integer(sequence, least=1),
        head,
        as_integer(balance, least=-MAX_MICRO, most=MAX_MICRO),
        as_integer(debt, least=0, most=MAX_MICRO),
        as_time(at),
    )


def _position(link: Link) -> tuple[int, str, int, int, str]:
    return link.sequence, link.head_hash, link.balance, link.debt, link.created_at


def wants_csv() -> bool:
    """Whether the caller prefers CSV over JSON."""
    return _wanted("application/json", "text/csv") == "text/csv"


def _wanted(*offered: str) -> str:
    """Which of the media types the caller prefers; the first one when all are the same to them."""
    return wanted(*offered, default=offered[0])


def _whose(query: AuditParameters) -> str:
    who = caller()
    if query.uid is None or query.uid == who.uid:
        return who.uid
    require("admin")
    return query.uid


def _term(entry: Fields) -> TermAnswer:
    return TermAnswer.model_validate(
        {
            **{name: entry[name] for name in ("kind", "reason", "created_at")},
            "transaction_id": entry["id"],
            "amount": to_decimal(int_field(entry, "amount")),
            "balance_after": to_decimal(int_field(entry, "balance_after")),
            "receipt": f"/v1/credits/receipts/{entry['id']}",
        }
    )


def _fault(verified: Verified) -> tuple[int | None, str | None]:
    fault = verified.fault
    return (fault.sequence, fault.check) if fault else (None, None)


def _csv_page(page: Sequence[Fields], more: str | None) -> flask.Response:
    response = flask.Response(csv_of(page), content_type="text/csv; charset=utf-8")
    if more is not None:
        response.headers["X-Next-Cursor"] = more
    return response


def _signed_csv(credits: Credits, text: str) -> flask.Response:
    """CSV has no room for a signature inside, so it stands in headers: Ed25519 over the SHA-256 of the body."""
    signature, kid = credits.sign(hashlib.sha256(text.encode()).digest())
    headers = {"X-Ledger-Signature": signature, "X-Ledger-Key-Id": kid}
    return flask.Response(text, headers=headers, content_type="text/csv; charset=utf-8")
