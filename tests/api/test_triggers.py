"""The edge of background functions: events as the platform sends them."""

import json

import pytest
from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData  # type: ignore[import-untyped]  # ships no types

from app.api.triggers import DocumentWritten, on_document_written, with_retry
from app.kit.stores.documents import Fields
from app.kit.stores.firestore_values import encode

HEARD: list[DocumentWritten] = []


@on_document_written(document="accounts/{uid}", retry=True)
def hear(event: DocumentWritten) -> None:
    HEARD.append(event)


@on_document_written(document="accounts/{uid}", retry=False)
def fails(_: DocumentWritten) -> None:
    raise RuntimeError("the store is away")


def event(value: Fields | None, *, as_json: bool = False) -> CloudEvent:
    data = DocumentEventData()
    if value is not None:
        stored = DocumentEventData.pb(data).value
        stored.name = "projects/p/databases/(default)/documents/accounts/alice"
        for name, field in value.items():
            stored.fields[name].ParseFromString(encode(field).SerializeToString())
    payload = json.loads(DocumentEventData.to_json(data)) if as_json else DocumentEventData.serialize(data)
    attributes = {
        "type": "google.cloud.firestore.document.v1.written",
        "source": "//firestore.googleapis.com/projects/p/databases/(default)",
        "id": "evt_1",
        "document": "accounts/alice",
        "datacontenttype": "application/json" if as_json else "application/protobuf",
    }
    return CloudEvent(attributes, payload)


@pytest.fixture(autouse=True)
def silence() -> None:
    HEARD.clear()


class TestAWrittenDocument:
    @pytest.mark.parametrize("as_json", [False, True])
    def test_arrives_with_its_fields(self, as_json: bool) -> None:
        fields: Fields = {
            "balance": 2**53 - 1,
            "debt": 0,
            "lots": [{"id": "lot_1", "remaining": 5}],
            "level": "ok",
            "gone": None,
        }
        hear(event(fields, as_json=as_json))
        assert [DocumentWritten("evt_1", {"uid": "alice"}, fields)] == HEARD

    @pytest.mark.parametrize("as_json", [False, True])
    def test_that_was_deleted_has_none(self, as_json: bool) -> None:
        hear(event(None, as_json=as_json))
        assert [DocumentWritten("evt_1", {"uid": "alice"}, None)] == HEARD

    def test_that_cannot_be_handled_fails_the_function_so_that_it_is_repeated(self) -> None:
        with pytest.raises(RuntimeError):
            fails(event({"balance": 1}))


class TestTheManifest:
    def test_says_whether_to_repeat(self) -> None:
        assert hear.__firebase_endpoint__.eventTrigger["retry"] is True  # type: ignore[attr-defined]  # the SDK's
        assert fails.__firebase_endpoint__.eventTrigger["retry"] is False  # type: ignore[attr-defined]  # the SDK's
        assert with_retry(fails).__firebase_endpoint__.eventTrigger["retry"] is True  # type: ignore[attr-defined]  # the SDK's
