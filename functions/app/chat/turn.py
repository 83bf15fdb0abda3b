"""One turn: a question, its answer and what it cost. Its document is also the idempotency record of its key. Pure.

    running ──> done      answered to its end, or to the end that the user or the money set
       └──────> error     the vendor failed, or the function was killed

An attempt that ended without a charge and in `error`, or without a word because its client was gone, may be repeated
under the same key (T-11, T-115).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast, get_args

from app.assistant import choice as choices
from app.assistant.choice import Chosen
from app.chat.branching.tree import Spent, is_id, read_spent
from app.chat.search.words import words
from app.kit.clock import to_rfc3339
from app.kit.errors import InvariantViolation, ensure
from app.kit.stores.documents import (
    Document,
    Fields,
    Value,
    int_field,
    list_field,
    map_field,
    optional_text,
    text_field,
    unknown,
)
from app.kit.stores.reading import FieldReader, flag_field, time_field, unread_reason
from app.models.tools.calls import ToolCall

TurnState = Literal["running", "done", "error"]
FinishReason = Literal["stop", "length", "budget", "cancelled", "error"]

_BUCKETS: Final = frozenset({"input", "cached_input", "cache_write", "output", "reasoning", "image"})
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

    `route_reason`: why another model answered than the one that was asked; empty when that one did. `calls` are the
    tools that the model calls, which only a completion can offer it.
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
    calls: tuple[ToolCall, ...] = ()

    @property
    def spent(self) -> Spent:
        """Its cost and tokens: cached ones are part of the input, reasoning is part of the output."""
        count = self.usage.get
        read = count("input", 0) + count("cached_input", 0) + count("cache_write", 0)
        return Spent(self.cost, read, count("output", 0) + count("reasoning", 0) + count("image", 0))


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn. `end` is None while it runs; times are RFC 3339 text. `reserved` is what is held for it, and `ceiling`
    the most that may be, both in micro-credits. `choice` tells why the model was chosen, None where the user named it
    or it is the default.

    `parent` is the turn that it answers, empty for a first message, and None in a turn that was written before
    conversations were trees. `before` is what its branch cost up to the parent, None where that is not known. `loose`:
    the tree of its conversation does not have it yet, because it has not ended, or its function died.

    `claim` is what the file of an imported turn says of it beside its texts; see `importing.own`.

    `unread` names the fields whose stored values cannot be read. It is empty in every turn that money moves for.
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
    claim: str | None = None
    unread: frozenset[str] = frozenset()
    ceiling: int = 0

    @property
    def branch(self) -> Spent | None:
        """What its branch has cost up to and with it; None where that is not known."""
        if self.unread & {"before", "state", "cost", "usage"}:
            return None
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
        "ceiling": turn.ceiling,
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
    if turn.claim is not None:
        fields["claim"] = turn.claim
    return fields if turn.end is None else {**fields, **write_end(turn.end)}


def write_end(end: End) -> dict[str, Value]:
    """The fields that change when a turn ends."""
    problem = end.problem
    calls: list[Value] = [{"id": one.id, "name": one.name, "arguments": one.arguments} for one in end.calls]
    return {
        **({"calls": calls} if calls else {}),
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


_NAMES: Final = frozenset(one.name for kind in (Turn, End) for one in dataclasses.fields(kind)) - {"unread"}
"""A document's fields are called as those of the two values, but for `end`, which is none."""


def read(fields: Fields) -> Turn:
    """The turn that a document holds. Whoever settles, repeats or closes a turn reads it so.

    Raises:
        InvariantViolation: a field cannot be read.
    """
    reader = FieldReader(fields)
    found = _read(reader)
    ensure(not reader.unread, unread_reason(reader.unread))
    return found


def shown(stored: Document) -> Turn:
    """The turn of a document for its owner to see, also when fields of it are spoilt: `unread` names these.

    Raises:
        InvariantViolation: neither its state nor its question can be read, so it is no turn.
    """
    reader = FieldReader(stored.fields)
    found = _read(reader)
    ensure(not {"state", "question"} <= reader.unread.keys(), "a turn has a state and a question")
    _, account, _, conversation_id, *_ = stored.path.split("/")
    return replace(
        found,
        id=stored.id,
        account=account,
        conversation_id=conversation_id,
        created_at=found.created_at or to_rfc3339(stored.version // 1000),
        unread=frozenset(reader.unread),
    )


def _read(reader: FieldReader) -> Turn:
    take = reader.take
    return Turn(
        id=take("id", text_field, ""),
        account=take("account", text_field, ""),
        conversation_id=take("conversation_id", text_field, ""),
        attempt=take("attempt", int_field, 0),
        request_hash=take("request_hash", text_field, ""),
        question=take("question", text_field, ""),
        images=take("images", _images, ()),
        model=take("model", text_field, ""),
        route=take("route", text_field, ""),
        reservation_id=take("reservation_id", text_field, ""),
        reserved=take("reserved", _amount, 0),
        # Turns from before this field was written had all of it reserved from the beginning.
        ceiling=take("ceiling" if "ceiling" in reader.fields else "reserved", _amount, 0),
        max_output_tokens=take("max_output_tokens", int_field, 0),
        clamped=take("clamped", flag_field, False),
        instance=take("instance", text_field, ""),
        created_at=take("created_at", time_field, ""),
        lease_until=take("lease_until", text_field, ""),
        choice=take("choice", _choice, None),
        parent=take("parent", _parent, None),
        before=take("before", read_spent, None),
        loose=take("loose", flag_field, False),
        claim=take("claim", optional_text, None),
        end=_read_end(reader),
    )


def _read_end(reader: FieldReader) -> End | None:
    take = reader.take
    otherwise: TurnState = "error" if "ended_at" in reader.fields else "running"
    state = take("state", _state, otherwise)
    if state == "running":
        return None
    return End(
        state=state,
        finish_reason=take("finish_reason", _finish_reason, "error"),
        reason=take("reason", text_field, ""),
        answer=take("answer", text_field, ""),
        answered_by=take("answered_by", text_field, ""),
        ended_at=take("ended_at", time_field, ""),
        cost=take("cost", _amount, 0),
        available=take("available", int_field, 0),
        transaction_id=take("transaction_id", optional_text, None),
        usage=take("usage", _usage, {}),
        estimated=take("estimated", flag_field, False),
        problem=take("problem", _problem, None),
        # Turns that ended before this field was written lack it.
        route_reason=take("route_reason", optional_text, None) or "",
        calls=take("calls", _calls, ()),
    )


def _amount(fields: Fields, name: str) -> int:
    amount = int_field(fields, name)
    ensure(amount >= 0, "an amount is not negative")
    return amount


def _images(fields: Fields, name: str) -> tuple[str, ...]:
    images = list_field(fields, name)
    ensure(all(isinstance(one, str) for one in images), "images are addresses")
    return tuple(str(one) for one in images)


def _calls(fields: Fields, name: str) -> tuple[ToolCall, ...]:
    return tuple(_call(one) for one in list_field(fields, name)) if name in fields else ()


def _call(stored: Value) -> ToolCall:
    if not isinstance(stored, Mapping):
        raise InvariantViolation("a tool call is an object")
    return ToolCall(text_field(stored, "id"), text_field(stored, "name"), text_field(stored, "arguments"))


def _choice(fields: Fields, name: str) -> Chosen | None:
    return None if fields.get(name) is None else choices.read(map_field(fields, name))


def _parent(fields: Fields, name: str) -> str | None:
    parent = optional_text(fields, name)
    ensure(not parent or is_id(parent), "a parent is a turn")
    return parent


def _state(fields: Fields, name: str) -> TurnState:
    return cast(TurnState, _one_of(text_field(fields, name), get_args(TurnState)))


def _finish_reason(fields: Fields, name: str) -> FinishReason:
    return cast(FinishReason, _one_of(text_field(fields, name), get_args(FinishReason)))


def _usage(fields: Fields, name: str) -> dict[str, int]:
    usage = map_field(fields, name)
    counts = {bucket: count for bucket, count in usage.items() if isinstance(count, int) and type(count) is not bool}
    ensure(not (_BUCKETS & usage.keys()) - counts.keys(), "tokens are counted in integers")
    return counts


def _problem(fields: Fields, name: str) -> TurnProblem | None:
    if fields.get(name) is None:
        return None
    problem = map_field(fields, name)
    return TurnProblem(
        code=text_field(problem, "code"),
        title=text_field(problem, "title"),
        detail=text_field(problem, "detail"),
        status=int_field(problem, "status"),
    )


def _one_of(value: str, known: tuple[str, ...]) -> str:
    ensure(value in known, f"a stored turn is {value[:20]!r}, which no turn can be")
    return value
