"""One turn: a question, its answer and what it cost. Its document is also the idempotency record of its key. Pure.

    running ──> done      answered to its end, or to the end that the user or the money set
       └──────> error     the vendor failed, or the function was killed

An attempt that ended without a charge and in `error`, or without a word because its client was gone, may be repeated
under the same key (T-11, T-115).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from app.assistant import choice as choices
from app.assistant.choice import Chosen
from app.chat.branching.tree import Spent, read_spent
from app.chat.search.words import words
from app.kit.errors import ensure
from app.kit.stores.documents import (
    Fields,
    Value,
    int_field,
    list_field,
    map_field,
    optional_text,
    text_field,
    unknown,
)

TurnState = Literal["running", "done", "error"]
FinishReason = Literal["stop", "length", "budget", "cancelled", "error"]

ENDED_STATES: Final = ("done", "error")
_CANCELLED: Final = "cancelled_before_first_token"
"""The reason of the billing policy for an answer that its user did not want any more."""


@dataclass(frozen=True, slots=True)
class TurnProblem:
    """Why a turn failed, as its owner may know it."""

    code: str
    title: str
    detail: str
    status: int


@dataclass(frozen=True, slots=True)
class End:
    """How a turn ended. `cost` and `available` are micro-credits; `usage` holds tokens per bucket.

    `route_reason`: why another model answered than the one that was asked; empty when that one did.
    """

    state: TurnState
    finish_reason: FinishReason
    reason: str
    answer: str
    answered_by: str
    ended_at: str
    cost: int = 0
    available: int = 0
    transaction_id: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    estimated: bool = False
    problem: TurnProblem | None = None
    route_reason: str = ""

    @property
    def spent(self) -> Spent:
        """Its cost and tokens: cached ones are part of the input, reasoning is part of the output."""
        count = self.usage.get
        read = count("input", 0) + count("cached_input", 0) + count("cache_write", 0)
        return Spent(self.cost, read, count("output", 0) + count("reasoning", 0) + count("image", 0))


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn. `end` is None while it runs; `reserved` is micro-credits; times are RFC 3339 text. `choice` tells why the
    model was chosen, None where the user named it or it is the default.

    `parent` is the turn that it answers, empty for a first message, and None in a turn that was written before
    conversations were trees. `before` is what its branch cost up to the parent, None where that is not known. `loose`:
    the tree of its conversation does not have it yet, because it has not ended, or its function died.
    """

    id: str
    account: str
    conversation_id: str
    attempt: int
    request_hash: str
    question: str
    images: tuple[str, ...]
    model: str
    route: str
    reservation_id: str
    reserved: int
    max_output_tokens: int
    clamped: bool
    instance: str
    created_at: str
    lease_until: str
    end: End | None = None
    choice: Chosen | None = None
    parent: str | None = None
    before: Spent | None = None
    loose: bool = False

    @property
    def branch(self) -> Spent | None:
        """What its branch has cost up to and with it; None where that is not known."""
        if self.before is None or self.end is None:
            return self.before
        return self.before + self.end.spent

    @property
    def state(self) -> TurnState:
        """`running` until it has ended."""
        return "running" if self.end is None else self.end.state

    @property
    def repeatable(self) -> bool:
        """Whether it cost nothing and gave nothing that its user wanted, so that the same key may try again."""
        end = self.end
        if end is None or end.cost:
            return False
        return end.state == "error" or (not end.answer and end.reason != _CANCELLED)


def write(turn: Turn) -> dict[str, Value]:
    """The whole document."""
    fields: dict[str, Value] = {
        "id": turn.id,
        "account": turn.account,
        "conversation_id": turn.conversation_id,
        "attempt": turn.attempt,
        "request_hash": turn.request_hash,
        "question": turn.question,
        "images": [*turn.images],
        "model": turn.model,
        "route": turn.route,
        "reservation_id": turn.reservation_id,
        "reserved": turn.reserved,
        "max_output_tokens": turn.max_output_tokens,
        "clamped": turn.clamped,
        "instance": turn.instance,
        "created_at": turn.created_at,
        "lease_until": turn.lease_until,
        "state": "running",
        "choice": None if turn.choice is None else choices.write(turn.choice),
        "before": None if turn.before is None else turn.before.write(),
        "loose": turn.loose,
        "words": [*words(turn.question, "" if turn.end is None else turn.end.answer)],
    }
    if turn.parent is not None:
        fields["parent"] = turn.parent
    return fields if turn.end is None else {**fields, **write_end(turn.end)}


def write_end(end: End) -> dict[str, Value]:
    """The fields that change when a turn ends."""
    problem = end.problem
    return {
        "state": end.state,
        "finish_reason": end.finish_reason,
        "reason": end.reason,
        "answer": end.answer,
        "answered_by": end.answered_by,
        "ended_at": end.ended_at,
        "cost": end.cost,
        "available": end.available,
        "transaction_id": end.transaction_id,
        "usage": {**end.usage},
        "estimated": end.estimated,
        "route_reason": end.route_reason,
        "problem": None
        if problem is None
        else {"code": problem.code, "title": problem.title, "detail": problem.detail, "status": problem.status},
    }


def others(stored: Fields) -> dict[str, Value]:
    """What a document holds that is not known here; the attempt that takes its place keeps it."""
    return unknown(stored, {*_NAMES, "words"})


_NAMES: Final = frozenset(one.name for kind in (Turn, End) for one in dataclasses.fields(kind))
"""A document's fields are called as those of the two values, but for `end`, which is none."""


def read(fields: Fields) -> Turn:
    """The turn that a document holds."""
    return Turn(
        id=text_field(fields, "id"),
        account=text_field(fields, "account"),
        conversation_id=text_field(fields, "conversation_id"),
        attempt=int_field(fields, "attempt"),
        request_hash=text_field(fields, "request_hash"),
        question=text_field(fields, "question"),
        images=tuple(str(one) for one in list_field(fields, "images")),
        model=text_field(fields, "model"),
        route=text_field(fields, "route"),
        reservation_id=text_field(fields, "reservation_id"),
        reserved=int_field(fields, "reserved"),
        max_output_tokens=int_field(fields, "max_output_tokens"),
        clamped=fields.get("clamped") is True,
        instance=text_field(fields, "instance"),
        created_at=text_field(fields, "created_at"),
        lease_until=text_field(fields, "lease_until"),
        choice=None if fields.get("choice") is None else choices.read(map_field(fields, "choice")),
        parent=optional_text(fields, "parent"),
        before=read_spent(fields.get("before")),
        loose=fields.get("loose") is True,
        end=None if text_field(fields, "state") == "running" else _read_end(fields),
    )


def _read_end(fields: Fields) -> End:
    transaction = fields.get("transaction_id")
    return End(
        state=cast(TurnState, _one_of(text_field(fields, "state"), ENDED_STATES)),
        finish_reason=cast(FinishReason, _one_of(text_field(fields, "finish_reason"), get_args(FinishReason))),
        reason=text_field(fields, "reason"),
        answer=text_field(fields, "answer"),
        answered_by=text_field(fields, "answered_by"),
        ended_at=text_field(fields, "ended_at"),
        cost=int_field(fields, "cost"),
        available=int_field(fields, "available"),
        transaction_id=transaction if isinstance(transaction, str) else None,
        usage={name: count for name, count in map_field(fields, "usage").items() if type(count) is int},
        estimated=fields.get("estimated") is True,
        problem=_read_problem(fields),
        # Turns that ended before this field was written lack it.
        route_reason=text_field(fields, "route_reason") if fields.get("route_reason") else "",
    )


def _read_problem(fields: Fields) -> TurnProblem | None:
    if fields.get("problem") is None:
        return None
    problem = map_field(fields, "problem")
    return TurnProblem(
        code=text_field(problem, "code"),
        title=text_field(problem, "title"),
        detail=text_field(problem, "detail"),
        status=int_field(problem, "status"),
    )


def _one_of(value: str, known: tuple[str, ...]) -> str:
    ensure(value in known, f"a stored turn is {value[:20]!r}, which no turn can be")
    return value
