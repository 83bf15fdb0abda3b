"""The edge of background functions: reads their events, and logs and repeats handlers that fail.

Google's decorator for Firestore events builds a client and a tree of snapshots for each event, and importing it takes
as long as the rest of a cold start; handlers here need the path and the fields. So the same manifest is written without
it (a test compares the two), and with `retry`, which that decorator cannot set
(https://github.com/firebase/firebase-functions-python/issues/165).
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from cloudevents.http import CloudEvent
from firebase_functions.options import FirestoreOptions
from firebase_functions.private.manifest import EventTrigger, ManifestEndpoint
from firebase_functions.private.path_pattern import PathPattern

from app.kit.errors import ensure

if TYPE_CHECKING:
    from app.kit.stores.documents import Fields

WRITTEN: Final = "google.cloud.firestore.document.v1.written"
TriggerHandler = Callable[["DocumentWritten"], None]
Function = TypeVar("Function", bound=Callable[..., object])


class DocumentWritten(NamedTuple):
    """A document was created, changed or deleted. Delivered at least once, in any order (T-44, T-46)."""

    id: str
    """The event's id, one for all functions that a write triggers: a key needs the function's name too (T-45)."""
    params: Mapping[str, str]
    fields: "Fields | None"
    """The fields after the write; None when the document was deleted."""


def on_document_written(
    *, document: str, retry: bool, **options: Any
) -> Callable[[TriggerHandler], Callable[[CloudEvent], None]]:
    """Declares a function that is called for every write to documents that match `document`.

    With `retry` the platform repeats a failed event for a day, so the handler must be idempotent. `options` are those
    of `firebase_functions.options.RuntimeOptions`.
    """
    declared = FirestoreOptions(document=document, **options)
    pattern = PathPattern(document.strip("/"))

    def decorate(handler: TriggerHandler) -> Callable[[CloudEvent], None]:
        @functools.wraps(handler)
        def function(raw: CloudEvent) -> None:
            logged(handler)(_read(raw, pattern))

        endpoint = declared._endpoint(event_type=WRITTEN, func_name=handler.__name__, document_pattern=pattern)
        _trigger_of(endpoint)["retry"] = retry
        function.__firebase_endpoint__ = endpoint  # type: ignore[attr-defined]  # where the SDK looks for it
        return function

    return decorate


def with_retry(function: Function) -> Function:
    """Has the platform repeat failed events of an SDK's trigger for a day. Stands above the trigger's decorator."""
    _trigger_of(function.__firebase_endpoint__)["retry"] = True  # type: ignore[attr-defined]  # the SDK's manifest
    return function


def _trigger_of(endpoint: ManifestEndpoint) -> EventTrigger:
    ensure(endpoint.eventTrigger is not None, "a background function has an event trigger")
    return cast(EventTrigger, endpoint.eventTrigger)


def logged(handler: Function) -> Function:
    """Logs the traceback of a handler that fails, and raises its error again for the platform."""

    @functools.wraps(handler)
    def wrapped(*arguments: object) -> object:
        from app.kit import telemetry  # late: a background function's module is loaded by every cold start

        try:
            return handler(*arguments)
        except Exception as error:
            telemetry.log("events").error("event_handler_failed", function=handler.__name__, exc_info=error)
            raise

    return wrapped  # type: ignore[return-value]  # of the same signature


def _read(raw: CloudEvent, pattern: PathPattern) -> DocumentWritten:
    attributes = raw.get_attributes()
    return DocumentWritten(attributes["id"], pattern.extract_matches(attributes["document"]), _fields(raw.get_data()))


def _fields(payload: object) -> "Fields | None":
    # Imported late, like the next: only this function needs them.
    from google.events.cloud.firestore import DocumentEventData  # type: ignore[import-untyped]  # ships no types

    from app.kit.stores.firestore_values import decode

    # Structured events carry JSON, which the parser of cloudevents has read already; binary ones carry protobuf.
    as_json = isinstance(payload, Mapping)
    data = DocumentEventData.from_json(json.dumps(payload)) if as_json else DocumentEventData.deserialize(payload)
    stored = DocumentEventData.pb(data)
    if not stored.HasField("value"):
        return None
    return {name: decode(value) for name, value in stored.value.fields.items()}
