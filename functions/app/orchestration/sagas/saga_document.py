"""How a saga is stored in Firestore: `sagas/{id}`. `check_at` is for the sweeper; null once only a person can help, or
when the saga has ended.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from app.kit.clock import from_rfc3339, minutes, optional_rfc3339, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import (
    Document,
    Fields,
    Value,
    as_map,
    int_field,
    list_field,
    map_field,
    optional_text,
    optional_time,
    text_field,
    unknown,
)
from app.orchestration.sagas.saga import ENDED, Moment, SagaState, SagaStatus, StepState, StepStatus

COLLECTION: Final = "sagas"
KEEP: Final = timedelta(days=90)
"""How long ended sagas are kept."""
CHECK_US: Final = {
    SagaStatus.RUNNING: minutes(15),
    SagaStatus.COMPENSATING: minutes(15),
    SagaStatus.WAITING: minutes(360),
}
"""How long after its last change the sweeper checks a saga, by status."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def path_of(saga_id: str) -> str:
    """The path of a saga's document."""
    return f"{COLLECTION}/{saga_id}"


def to_fields(state: SagaState) -> dict[str, Value]:
    """The document's fields."""
    ended = state.status in ENDED
    check_us = CHECK_US.get(state.status)
    expires = _EPOCH + timedelta(microseconds=state.updated_us) + KEEP
    return {
        "name": state.name,
        "version": state.version,
        "account": state.account,
        "input": state.input,
        "status": state.status.value,
        "steps": {**state.other_steps, **{name: _step_fields(step) for name, step in state.steps.items()}},
        "order": list(state.steps),
        "created_at": to_rfc3339(state.created_us),
        "updated_at": to_rfc3339(state.updated_us),
        "revision": state.revision,
        "facts": dict(state.facts),
        "failure": state.failure,
        "timeline": [_moment_fields(moment) for moment in state.timeline],
        "check_at": None if check_us is None else to_rfc3339(state.updated_us + check_us),
        "expire_at": expires if ended else None,
    }


def from_document(document: Document) -> SagaState:
    """The saga stored in `document`. The steps' order is a field of its own, because Firestore's maps have none.

    Raises:
        InvariantViolation: it is malformed, or was written by a later version of this code.
    """
    try:
        return _read(document)
    except ValueError as error:
        raise InvariantViolation(f"{document.path} cannot be read: {error}") from error


def _read(document: Document) -> SagaState:
    fields = document.fields
    steps, order = map_field(fields, "steps"), [str(name) for name in list_field(fields, "order")]
    return SagaState(
        id=document.id,
        name=text_field(fields, "name"),
        version=int_field(fields, "version"),
        account=optional_text(fields, "account"),
        input=map_field(fields, "input"),
        status=SagaStatus(text_field(fields, "status")),
        steps={name: _step(map_field(steps, name)) for name in order},
        created_us=from_rfc3339(text_field(fields, "created_at")),
        updated_us=from_rfc3339(text_field(fields, "updated_at")),
        revision=int_field(fields, "revision"),
        facts={name: as_map(fact) for name, fact in map_field(fields, "facts").items()},
        failure=optional_text(fields, "failure"),
        timeline=tuple(_moment(as_map(line)) for line in list_field(fields, "timeline")),
        other_steps=unknown(steps, order),
    )


def _step_fields(step: StepState) -> Fields:
    started = optional_rfc3339(step.started_us)
    known = {"status": step.status.value, "result": step.result, "started_at": started, "ended": step.ended}
    return {**step.others, **known}


def _step(fields: Fields) -> StepState:
    ended = fields.get("ended")
    return StepState(
        status=StepStatus(text_field(fields, "status")),
        result=map_field(fields, "result"),
        started_us=optional_time(fields, "started_at"),
        ended=ended if isinstance(ended, int) else None,
        others=unknown(fields, _STEP),
    )


def _moment_fields(moment: Moment) -> Fields:
    known = {"at": to_rfc3339(moment.at_us), "step": moment.step, "what": moment.what, "detail": moment.detail}
    return {**moment.others, **known}


def _moment(fields: Fields) -> Moment:
    return Moment(
        at_us=from_rfc3339(text_field(fields, "at")),
        step=text_field(fields, "step"),
        what=text_field(fields, "what"),
        detail=text_field(fields, "detail"),
        others=unknown(fields, _MOMENT),
    )


_STEP: Final = frozenset(_step_fields(StepState()))
_MOMENT: Final = frozenset(_moment_fields(Moment(0, "", "")))
