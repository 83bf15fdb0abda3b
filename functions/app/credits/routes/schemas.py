"""What the credit routes take and return. Amounts are decimal texts outside."""

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, RootModel, model_validator

from app.api.schemas import (
    AmountIn,
    BreachId,
    ConversationId,
    CorrectionId,
    CreditAmount,
    Cursor,
    Id,
    ModelId,
    PageParameters,
    Parameters,
    ReferenceId,
    RequestBody,
    ReservationId,
    ResponseBody,
    TimeIn,
    Timestamp,
    TransactionId,
    UserId,
    microseconds,
)
from app.credits.core.account import AccountStatus
from app.credits.core.entry import Kind
from app.kit.money import to_decimal
from app.kit.stores.documents import Fields, int_field, map_field, text_field


class BalanceAnswer(ResponseBody):
    """`balance` is the sum of all entries; `available` is what can be spent now."""

    balance: CreditAmount
    reserved: CreditAmount
    available: CreditAmount
    debt: CreditAmount
    sequence: int
    low: bool
    updated_at: Timestamp


class BalanceParameters(Parameters):
    at: TimeIn | None = Field(default=None, description="The balance as it was then")


class PastBalanceAnswer(ResponseBody):
    """After the last entry at that time. What was reserved then is not in the ledger."""

    at: Timestamp
    balance: CreditAmount
    sequence: int
    transaction_id: str | None
    hash: str | None


class BalanceEither(RootModel[BalanceAnswer | PastBalanceAnswer]):
    """Now, or with `at` then."""


class ReferenceAnswer(ResponseBody):
    """What caused an entry."""

    type: str
    id: str


class EntryAnswer(ResponseBody):
    """One line of the ledger; `id` is the transaction id."""

    id: Id
    sequence: int
    kind: Kind
    amount: CreditAmount
    balance_after: CreditAmount
    reference: ReferenceAnswer
    reason: str
    description: str
    created_at: Timestamp
    hash: str
    prev_hash: str


_SHOWN = ("id", "sequence", "kind", "reason", "description", "created_at", "hash", "prev_hash")


def entry_answer(entry: Fields) -> EntryAnswer:
    """A stored entry as the history shows it."""
    reference = map_field(entry, "reference")
    return EntryAnswer.model_validate(
        {
            **{name: entry[name] for name in _SHOWN},
            "amount": to_decimal(int_field(entry, "amount")),
            "balance_after": to_decimal(int_field(entry, "balance_after")),
            "reference": ReferenceAnswer(type=text_field(reference, "type"), id=text_field(reference, "id")),
        }
    )


class HistoryParameters(PageParameters):
    """Times are inclusive."""

    kind: Kind | None = None
    from_: TimeIn | None = Field(default=None, alias="from")
    to: TimeIn | None = None
    reference: ReferenceId | None = None


class TermAnswer(ResponseBody):
    """One summand of the balance, and where its receipt is."""

    transaction_id: Id
    kind: Kind
    amount: CreditAmount
    balance_after: CreditAmount
    reason: str
    created_at: Timestamp
    receipt: str


class ExplanationAnswer(ResponseBody):
    """`brought_forward` and the terms' amounts sum to `balance`."""

    balance: CreditAmount
    brought_forward: CreditAmount
    terms: list[TermAnswer]
    next_cursor: str | None


class CorrectionBody(RequestBody):
    """Either an amount (a decimal, negative to take away) or the transaction to undo."""

    uid: UserId
    reason: str = Field(min_length=3, max_length=200)
    amount: str | None = Field(default=None, pattern=r"^-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$")
    reverses: TransactionId | None = None


class CorrectionAnswer(ResponseBody):
    id: str
    state: Literal["proposed", "approved", "rejected"]
    account: str
    amount: CreditAmount
    reverses: str | None
    reason: str
    proposed_by: str
    proposed_at: Timestamp
    decided_by: str | None
    transaction_id: str | None


class CorrectionPath(Parameters):
    correction_id: CorrectionId


class RepairBody(RequestBody):
    uid: UserId
    write: bool = True
    status: AccountStatus | None = Field(
        default=None, strict=False, description="For an account whose own status is lost"
    )


class RepairAnswer(ResponseBody):
    """Whether the stored account was not what its entries say."""

    repaired: bool
    balance_was: CreditAmount | None
    balance: CreditAmount
    sequence: int
    status: AccountStatus
    lost: list[str] = Field(description="What the entries do not tell and the stored account did not hold any more")


class BreachPath(Parameters):
    """`account-{uid}`, or `checkpoints` for the chain of checkpoints itself."""

    subject: BreachId


class BreachAnswer(ResponseBody):
    """The first entry (or checkpoint) that is wrong, and the check that failed there."""

    subject: str
    account: str | None
    state: Literal["open", "suspected", "resolved"]
    sequence: int | None
    check: str | None
    found_at: Timestamp


class BreachesAnswer(ResponseBody):
    items: list[BreachAnswer]


class ResolutionBody(RequestBody):
    """`accept`: the chain counts as it stands, once two administrators said so of the same chain within an hour;
    otherwise it must extend what was sealed again.
    """

    reason: str = Field(min_length=3, max_length=200)
    accept: bool = False


class ReserveBody(RequestBody):
    """`expires_in` is in seconds."""

    amount: AmountIn = Field(gt=0)
    purpose: str = Field(min_length=1, max_length=100)
    expires_in: int | None = Field(default=None, ge=1, le=24 * 3600)


class ReleaseBody(RequestBody):
    reservation_id: ReservationId


class ReservationAnswer(ResponseBody):
    """`captured` is what a settled one was charged."""

    id: str
    amount: CreditAmount
    captured: CreditAmount
    state: Literal["open", "settled", "released", "expired"]
    expires_at: Timestamp | None


class ReservationsAnswer(ResponseBody):
    """Open ones first, then those closed lately, newest first."""

    items: list[ReservationAnswer]


class TransactionPath(Parameters):
    transaction_id: TransactionId


class KeyAnswer(ResponseBody):
    """A public key (RFC 7517, RFC 8037). What is dated before or after its bounds is not signed by it."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    not_before: Timestamp | None = None
    not_after: Timestamp | None = None


class KeysAnswer(ResponseBody):
    """A JWK set."""

    keys: list[KeyAnswer]


class ProofAnswer(ResponseBody):
    """`entry` is the exact JSON that is hashed, with `hash` and `signature`; amounts in it are micro-credits."""

    valid: bool
    checks: dict[str, bool]
    entry: dict[str, object]
    public_key: KeyAnswer | None


class ChainParameters(Parameters):
    cursor: Cursor | None = None


class ChainAnswer(ResponseBody):
    """`entries` counts those verified in this part; with `next_cursor` there are more."""

    valid: bool
    entries: int
    sequence: int
    head_hash: str
    balance: CreditAmount
    first_bad_sequence: int | None
    failed_check: str | None
    next_cursor: str | None


class SealAnswer(ResponseBody):
    """`seal` is the account's leaf with its RFC 6962 inclusion proof; `checkpoint` holds the signed root."""

    seal: dict[str, object]
    checkpoint: dict[str, object]
    valid: bool


class AuditParameters(Parameters):
    """`uid` is for administrators. Both times are inclusive."""

    from_: TimeIn | None = Field(default=None, alias="from")
    to: TimeIn | None = None
    uid: UserId | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        first, last = microseconds(self.from_), microseconds(self.to)
        if first is not None and last is not None and first > last:
            raise ValueError("from is not after to")
        return self


class AuditAnswer(ResponseBody):
    """docs/verification.md says what is in `report` and how it is verified.

    `hash` is SHA-256 over the canonical JSON (RFC 8785) of `report`, `signature` Ed25519 over that hash.
    """

    report: dict[str, object]
    hash: str
    key_id: str
    signature: str


class SyncAnswer(ResponseBody):
    """What the mirror showed, what is true, and whether it had to be repaired."""

    mirror_was: dict[str, object] | None
    authoritative: BalanceAnswer
    repaired: bool


class PackageAnswer(ResponseBody):
    """Something to buy."""

    id: str
    credits: CreditAmount
    price: int
    currency: str


class LowBalanceAnswer(ResponseBody):
    low: bool
    threshold: CreditAmount
    available: CreditAmount
    recommended_packages: list[PackageAnswer]


class ThresholdBody(RequestBody):
    """Warn below this many credits; 0 warns only when nothing is left."""

    threshold: AmountIn


class PricedOperation(RequestBody):
    """A message, to be priced as it would be if it were sent now."""

    conversation_id: ConversationId | None = Field(
        default=None, description="Where it would be sent: its window and system prompt are paid for. None: a new one"
    )
    model: ModelId | None = None
    content: str = Field(default="", max_length=100_000)
    images: int = Field(default=0, ge=0, le=8)
    max_output_tokens: int | None = Field(default=None, ge=1, description="Bounds `ceiling`, and never `required`")


@dataclass(frozen=True, slots=True)
class OperationPrice:
    """What an operation needs at least and costs at most, in micro-credits."""

    needed: int
    ceiling: int


class CheckBody(RequestBody):
    """Either an amount or an operation to price."""

    amount: AmountIn | None = Field(default=None, gt=0)
    operation: PricedOperation | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.amount is None) == (self.operation is None):
            raise ValueError("give either an amount or an operation")
        return self


class CheckAnswer(ResponseBody):
    """A message is refused with 402 exactly when it is not `sufficient`, as long as neither account nor conversation
    changes. Between `required` and `ceiling` its answer may be shortened to what is available.
    """

    sufficient: bool
    required: CreditAmount = Field(description="The amount; of an operation, the least that it can be started with")
    available: CreditAmount
    shortfall: CreditAmount
    ceiling: CreditAmount | None = Field(default=None, description="Of an operation: the most that it can cost")
    packages: list[PackageAnswer]
    methods: list[str]
