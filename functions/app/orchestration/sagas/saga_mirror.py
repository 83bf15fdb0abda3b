"""Shows a saga's progress to its owner: `/users/{uid}/tasks/{saga id}`, from the trigger on the saga's document.

Triggers come late, twice and in any order (T-44, T-46). The mirror therefore reads the stored saga and never replaces a
later revision.
"""

from app.kit.stores.documents import Documents
from app.kit.stores.realtime import Json, Realtime
from app.orchestration.sagas.saga import SagaState, SagaStatus, StepStatus
from app.orchestration.sagas.saga_document import from_document, path_of


class SagaMirror:
    """Writes what owners see. The backend never reads it."""

    def __init__(self, documents: Documents, realtime: Realtime) -> None:
        self._documents = documents
        self._realtime = realtime

    def reflect(self, saga_id: str) -> None:
        """Brings the mirror up to date with the stored saga."""
        stored = self._documents.get(path_of(saga_id))
        if stored is None:
            return
        state = from_document(stored)
        if state.account is None:
            return
        shown = view(state)

        def decide(current: Json) -> Json:
            known = current.get("revision") if isinstance(current, dict) else None
            return current if isinstance(known, int) and known >= state.revision else shown

        self._realtime.transact(f"users/{state.account}/tasks/{state.id}", decide)


def view(state: SagaState) -> dict[str, Json]:
    """What the owner sees. `progress` is from 0 to 1, `updated_at` in milliseconds since 1970."""
    at = [name for name, step in state.steps.items() if step.status in (StepStatus.RUNNING, StepStatus.WAITING)]
    shown: dict[str, Json] = {
        "kind": state.name,
        "status": state.status.value,
        "progress": 1 if state.status is SagaStatus.SUCCEEDED else state.progress() / 1000,
        "step": at[0] if at else "",
        "updated_at": state.updated_us // 1000,
        "revision": state.revision,
    }
    if state.failure is not None:
        shown["error"] = state.failure
    return shown
