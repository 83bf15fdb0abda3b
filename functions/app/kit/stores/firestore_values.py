"""Values of fields as Firestore's messages, and back.

https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#value
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from google.cloud.firestore_v1.types import document
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import NULL_VALUE
from google.protobuf.timestamp_pb2 import Timestamp

from app.kit.stores.documents import Fields, Opaque, Value

_PbValue: Callable[..., Message] = document.Value.pb()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _RawMap(Protocol):
    fields: Mapping[str, "RawValue"]


class _RawList(Protocol):
    values: Sequence["RawValue"]


class RawValue(Protocol):
    """A received google.firestore.v1.Value; the generated classes have no types."""

    boolean_value: bool
    integer_value: int
    double_value: float
    string_value: str
    timestamp_value: Timestamp
    map_value: _RawMap
    array_value: _RawList

    def WhichOneof(self, oneof_group: str, /) -> str | None: ...
    def SerializeToString(self) -> bytes: ...


def encode(value: Value) -> Message:
    """A field's value as Firestore's message."""
    match value:
        case str():
            return _PbValue(string_value=value)
        case bool():
            return _PbValue(boolean_value=value)
        case int():
            return _PbValue(integer_value=value)
        case None:
            return _PbValue(null_value=NULL_VALUE)
        case float():
            return _PbValue(double_value=value)
        case datetime():
            return _PbValue(timestamp_value=timestamp((value - _EPOCH) // timedelta(microseconds=1) * 1000))
        case Opaque():
            message = _PbValue()
            message.ParseFromString(value.encoded)
            return message
        case Mapping():
            return _PbValue(map_value={"fields": encode_fields(value)})
        case Sequence():
            return _PbValue(array_value={"values": [encode(member) for member in value]})


def decode(value: RawValue) -> Value:
    """The value in Firestore's message."""
    match value.WhichOneof("value_type"):
        case "null_value":
            return None
        case "boolean_value":
            return value.boolean_value
        case "integer_value":
            return value.integer_value
        case "double_value":
            return value.double_value
        case "string_value":
            return value.string_value
        case "timestamp_value":
            return _EPOCH + timedelta(microseconds=value.timestamp_value.ToNanoseconds() // 1000)
        case "map_value":
            return {name: decode(member) for name, member in value.map_value.fields.items()}
        case "array_value":
            return [decode(member) for member in value.array_value.values]
        case kind:
            return Opaque(kind or "nothing", value.SerializeToString())


def encode_fields(fields: Fields) -> dict[str, Message]:
    """The fields of a document or of a map."""
    return {name: encode(value) for name, value in fields.items()}


def timestamp(nanoseconds: int) -> Timestamp:
    """A time in nanoseconds since 1970."""
    at = Timestamp()
    at.FromNanoseconds(nanoseconds)
    return at
