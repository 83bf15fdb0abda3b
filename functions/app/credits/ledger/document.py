"""The account as a Firestore document and back. Times are RFC 3339 text, amounts integers."""

from collections.abc import Sequence
from typing import Final

from app.credits.core.account import Account, AccountStatus, BalanceLevel, Hold, Lot, LotSource, Reservation
from app.credits.core.budgets import Line
from app.kit.clock import from_rfc3339, optional_rfc3339, to_rfc3339
from app.kit.stores.documents import (
    Fields,
    Value,
    as_map,
    int_field,
    list_field,
    optional_text,
    optional_time,
    text_field,
    unknown,
)


def account_path(uid: str) -> str:
    return f"accounts/{uid}"


def entries_path(uid: str) -> str:
    return f"accounts/{uid}/entries"


def entry_path(uid: str, sequence: int) -> str:
    return f"accounts/{uid}/entries/{sequence:012d}"


def write(account: Account) -> dict[str, Value]:
    """The fields of the document that holds `account`."""
    return {
        "uid": account.uid,
        "status": account.status.value,
        "balance": account.balance,
        "reserved": account.reserved,
        "debt": account.debt,
        "sequence": account.sequence,
        "head_hash": account.head_hash,
        "lots": [_lot_fields(lot) for lot in account.lots],
        "reservations": [_reservation_fields(open) for open in account.reservations],
        "recent": list(account.recent),
        "forgot": account.forgot,
        "level": account.level.value,
        "low_threshold": account.low_threshold,
        "version": account.version,
        "disputes": list(account.disputes),
        "budgets": [line.text() for line in account.budgets],
        "opened_at": to_rfc3339(account.opened_at_us),
        "updated_at": to_rfc3339(account.updated_at_us),
        "next_expiry_at": optional_rfc3339(account.next_expiry_at_us),
    }


def read(fields: Fields) -> Account:
    """The account in a document; raises InvariantViolation when it holds none."""
    lots = tuple(_lot(as_map(lot)) for lot in list_field(fields, "lots"))
    return Account(
        uid=text_field(fields, "uid"),
        status=AccountStatus(text_field(fields, "status")),
        balance=int_field(fields, "balance"),
        reserved=int_field(fields, "reserved"),
        debt=int_field(fields, "debt"),
        sequence=int_field(fields, "sequence"),
        head_hash=text_field(fields, "head_hash"),
        lots=lots,
        reservations=tuple(_reservation(as_map(open)) for open in list_field(fields, "reservations")),
        recent=tuple(str(text) for text in list_field(fields, "recent")),
        forgot=bool(fields.get("forgot")),
        level=BalanceLevel(text_field(fields, "level")),
        low_threshold=int_field(fields, "low_threshold"),
        version=int_field(fields, "version"),
        disputes=_disputes(fields, lots),
        # Documents of before budgets lack the field.
        budgets=tuple(Line.parse(str(text)) for text in list_field(fields, "budgets")) if "budgets" in fields else (),
        opened_at_us=from_rfc3339(text_field(fields, "opened_at")),
        updated_at_us=from_rfc3339(text_field(fields, "updated_at")),
    )


def _disputes(fields: Fields, lots: Sequence[Lot]) -> tuple[str, ...]:
    """The disputed payments; documents of before this field say it by their frozen lots."""
    named = list_field(fields, "disputes") if "disputes" in fields else []
    frozen = [lot.payment_id for lot in lots if lot.frozen and lot.payment_id is not None]
    return tuple(dict.fromkeys([*map(str, named), *frozen]))


def _lot_fields(lot: Lot) -> dict[str, Value]:
    return {
        **lot.others,
        "id": lot.id,
        "source": lot.source.value,
        "remaining": lot.remaining,
        "held": lot.held,
        "made": lot.made,
        "expires_at": optional_rfc3339(lot.expires_at_us),
        "payment_id": lot.payment_id,
        "frozen": lot.frozen,
        "noticed": lot.noticed,
    }


def _lot(fields: Fields) -> Lot:
    return Lot(
        id=text_field(fields, "id"),
        source=LotSource(text_field(fields, "source")),
        remaining=int_field(fields, "remaining"),
        held=int_field(fields, "held"),
        made=int_field(fields, "made"),
        expires_at_us=optional_time(fields, "expires_at"),
        payment_id=optional_text(fields, "payment_id"),
        frozen=bool(fields.get("frozen")),
        noticed=int_field(fields, "noticed"),
        others=unknown(fields, _LOT),
    )


def _reservation_fields(reservation: Reservation) -> dict[str, Value]:
    reference = {"type": reservation.reference_type, "id": reservation.reference_id}
    return {
        **reservation.others,
        "id": reservation.id,
        "amount": reservation.amount,
        "holds": [{**hold.others, "lot": hold.lot_id, "amount": hold.amount} for hold in reservation.holds],
        "purpose": reservation.purpose,
        "reference": {**reservation.reference_others, **reference},
        "created_at": to_rfc3339(reservation.created_at_us),
        "expires_at": to_rfc3339(reservation.expires_at_us),
        "input": reservation.input,
        **({"api_key": reservation.api_key} if reservation.api_key else {}),
    }


def _reservation(fields: Fields) -> Reservation:
    reference = as_map(fields.get("reference"))
    return Reservation(
        id=text_field(fields, "id"),
        amount=int_field(fields, "amount"),
        holds=tuple(_hold(as_map(hold)) for hold in list_field(fields, "holds")),
        purpose=text_field(fields, "purpose"),
        reference_type=text_field(reference, "type"),
        reference_id=text_field(reference, "id"),
        created_at_us=from_rfc3339(text_field(fields, "created_at")),
        expires_at_us=from_rfc3339(text_field(fields, "expires_at")),
        input=text_field(fields, "input"),
        api_key=optional_text(fields, "api_key") or "",
        others=unknown(fields, _RESERVATION),
        reference_others=unknown(reference, _REFERENCE),
    )


def _hold(fields: Fields) -> Hold:
    return Hold(text_field(fields, "lot"), int_field(fields, "amount"), unknown(fields, _HOLD))


_LOT: Final = frozenset(_lot_fields(Lot("", LotSource.PAID, 0, 0)))
_RESERVATION: Final = frozenset(_reservation_fields(Reservation("", 0, (), "", "", "", 0, 0, api_key="key")))
_REFERENCE: Final = frozenset({"type", "id"})
_HOLD: Final = frozenset({"lot", "amount"})
