"""`Documents` on Cloud Firestore, through Google's generated client.

It uses the generated client because the high-level one builds three layers of objects for each write, on the path of
every message, and because there each write has its own precondition (`WriteBatch.set` takes none). The two calls that
every message makes, GetDocument and Commit, go to the client's channel without its wrappers, which take longer than
gRPC itself; what the wrappers do for them (retries, errors, routing) is done here.
Firestore's errors become `Conflict`, `AlreadyExists` and `Unavailable` here and nowhere else.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol
from urllib.parse import quote

import grpc
from google.api_core import exceptions
from google.api_core.grpc_helpers import wrap_errors
from google.api_core.retry import Retry, if_exception_type
from google.api_core.timeout import TimeToDeadlineTimeout
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import StructuredQuery, document, firestore
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from app.kit.errors import AlreadyExists, Conflict, InvariantViolation, Unavailable, ensure
from app.kit.stores.documents import (
    Create,
    Delete,
    Document,
    Increment,
    Merge,
    Query,
    Replace,
    Unchanged,
    Value,
    Version,
    Where,
    Write,
)
from app.kit.stores.firestore_values import RawFields, RawValue, decode, encode, fill, fill_fields

_PbValue: Callable[..., RawValue] = document.Value.pb()
_PbDocument = document.Document.pb()
_PbGetRequest = firestore.GetDocumentRequest.pb()
_PbCommitRequest = firestore.CommitRequest.pb()
_PbCommitResponse = firestore.CommitResponse.pb()
_PbQueryRequest: Callable[..., Message] = firestore.RunQueryRequest.pb()

_TIMEOUT_S: Final = 15
"""For every call: without one the client may hang, https://github.com/googleapis/google-cloud-python/issues/15619."""
_RETRY: Final = Retry(
    if_exception_type(exceptions.ServiceUnavailable, exceptions.ResourceExhausted, exceptions.InternalServerError),
    initial=0.1,
    maximum=2,
    timeout=_TIMEOUT_S,
)
"""For every read. The client's own repeats whatever timed out as well, and goes on for one minute or five."""


class _RawDocument(Protocol):
    """A received google.firestore.v1.Document; the generated classes have no types."""

    name: str
    fields: RawFields
    update_time: Timestamp


class _RawPaths(Protocol):
    field_paths: list[str]

    def SetInParent(self) -> None: ...


class _RawPrecondition(Protocol):
    exists: bool
    update_time: Timestamp


class _RawTransform(Protocol):
    field_path: str
    increment: RawValue


class _RawTransforms(Protocol):
    def add(self) -> _RawTransform: ...


class _RawWrite(Protocol):
    """A google.firestore.v1.Write."""

    update: _RawDocument
    delete: str
    update_mask: _RawPaths
    update_transforms: _RawTransforms
    current_document: _RawPrecondition


_OPERATORS: Final[Mapping[str, int]] = {
    "<": 1,
    "<=": 2,
    ">": 3,
    ">=": 4,
    "==": 5,
    "array_contains": 7,
    "in": 8,
}
"""StructuredQuery.FieldFilter.Operator, https://firebase.google.com/docs/firestore/reference/rpc."""

Interceptor = Callable[[grpc.Channel], grpc.Channel]


def connect(project: str, *, intercept: Interceptor | None = None) -> "FirestoreDocuments":
    """The default database of `project`, or the emulator that FIRESTORE_EMULATOR_HOST names.

    `intercept` may wrap the emulator's channel: the benches count operations there.
    """
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if emulator:
        channel = grpc.insecure_channel(emulator)
        transport = FirestoreGrpcTransport(channel=intercept(channel) if intercept else channel)
    else:
        transport = FirestoreGrpcTransport()
    return FirestoreDocuments(FirestoreClient(transport=transport), PlainCalls(transport.grpc_channel), project)


class PlainCalls:
    """GetDocument, which is repeated like every read, and Commit, which is not. They take and give plain messages.

    Raises the errors of `google.api_core.exceptions`, as the generated client.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._get_document = wrap_errors(
            channel.unary_unary(
                "/google.firestore.v1.Firestore/GetDocument",
                request_serializer=_PbGetRequest.SerializeToString,
                response_deserializer=_PbDocument.FromString,
            )
        )
        self.commit = wrap_errors(
            channel.unary_unary(
                "/google.firestore.v1.Firestore/Commit",
                request_serializer=_PbCommitRequest.SerializeToString,
                response_deserializer=_PbCommitResponse.FromString,
            )
        )

    def get_document(self, request: Message, *, metadata: Sequence[tuple[str, str]]) -> _RawDocument:
        """The document. All tries together take `_TIMEOUT_S`, so each may take what is left of it."""
        within = TimeToDeadlineTimeout(timeout=_TIMEOUT_S)
        raw: _RawDocument = _RETRY(within(self._get_document))(request, metadata=metadata)
        return raw


class FirestoreDocuments:
    """`Documents` on Firestore. Thread-safe; holds one channel."""

    def __init__(self, client: FirestoreClient, plain: PlainCalls, project: str) -> None:
        """`plain` uses the channel of `client`."""
        self._client = client
        self._plain = plain
        self._database = f"projects/{project}/databases/(default)"
        self._root = f"{self._database}/documents"
        self._metadata: tuple[tuple[str, str], ...] = (
            ("google-cloud-resource-prefix", self._database),
            ("authorization", "Bearer owner"),
        )
        if not os.environ.get("FIRESTORE_EMULATOR_HOST"):
            self._metadata = self._metadata[:1]
        self._commit_metadata = (*self._metadata, ("x-goog-request-params", f"database={quote(self._database, '')}"))

    def get(self, path: str) -> Document | None:
        with _translated(path):
            name = self._name(path)
            routing = ("x-goog-request-params", f"name={quote(name, '')}")
            try:
                raw = self._plain.get_document(_PbGetRequest(name=name), metadata=(*self._metadata, routing))
            except exceptions.NotFound:
                return None
        return self._document(raw)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        if len(set(paths)) <= 1:
            # A batch get is a stream, for which gRPC starts a thread: it takes twice the time of a plain call.
            return [self.get(paths[0])] * len(paths) if paths else []
        found: dict[str, Document] = {}
        with _translated(paths[0]):
            request = firestore.BatchGetDocumentsRequest.pb()(
                database=self._database, documents=[self._name(path) for path in dict.fromkeys(paths)]
            )
            for answer in self._client.batch_get_documents(
                firestore.BatchGetDocumentsRequest.wrap(request),
                retry=_RETRY,
                timeout=_TIMEOUT_S,
                metadata=self._metadata,
            ):
                raw = firestore.BatchGetDocumentsResponse.pb(answer)
                if raw.WhichOneof("result") == "found":
                    there = self._document(raw.found)
                    found[there.path] = there
        return [found.get(path) for path in paths]

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        if not writes:
            return []
        with _translated(writes[0].path, conditional=any(map(_is_conditional, writes))):
            request = _PbCommitRequest(database=self._database)
            for one in writes:
                self._fill_write(request.writes.add(), one)
            answer = self._plain.commit(request, timeout=_TIMEOUT_S, metadata=self._commit_metadata)
        return [Version(result.update_time.ToNanoseconds()) for result in answer.write_results]

    def query(self, query: Query) -> list[Document]:
        with _translated(query.collection):
            request = firestore.RunQueryRequest.wrap(self._encode_query(query))
            answers = self._client.run_query(request, retry=_RETRY, timeout=_TIMEOUT_S, metadata=self._metadata)
            raw = [firestore.RunQueryResponse.pb(answer) for answer in answers]
        return [self._document(answer.document) for answer in raw if answer.HasField("document")]

    def _encode_query(self, query: Query) -> Message:
        parent, _, collection = query.collection.rpartition("/")
        structured = StructuredQuery.pb()(where=_encode_filter(query.where))
        structured.from_.add(collection_id=collection, all_descendants=query.group)
        fields = query.whole_order
        for field in fields:
            order = structured.order_by.add(direction=2 if field.startswith("-") else 1)
            order.field.field_path = field.lstrip("-")
        if query.limit is not None:
            structured.limit.value = query.limit
        ensure(len(query.start_after) <= len(fields), "a cursor has no more values than the order has fields")
        for field, bound in zip(fields, query.start_after):
            structured.start_at.values.append(self._encode_bound(query, field, bound))
        return _PbQueryRequest(parent=f"{self._root}/{parent}" if parent else self._root, structured_query=structured)

    def _encode_bound(self, query: Query, field: str, bound: Value) -> RawValue:
        if field.lstrip("-") == "__name__":
            return _PbValue(reference_value=self._name(str(bound) if query.group else f"{query.collection}/{bound}"))
        return encode(bound)

    def _name(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _document(self, raw: _RawDocument) -> Document:
        path = raw.name.removeprefix(self._root + "/")
        fields = {name: decode(value) for name, value in raw.fields.items()}
        return Document(path, fields, Version(raw.update_time.ToNanoseconds()))

    def _fill_write(self, into: _RawWrite, one: Write) -> None:
        name = self._name(one.path)
        match one:
            case Create():
                into.update.name = name
                fill_fields(into.update.fields, one.fields)
                into.current_document.exists = False
            case Replace():
                into.update.name = name
                fill_fields(into.update.fields, one.fields)
                if one.keep_others:
                    _mask(into, [_quoted(field) for field in one.fields])
                _only_at(into, one.version)
            case Delete():
                into.delete = name
                _only_at(into, one.version)
            case Merge():
                into.update.name = name
                _fill_merge(into, one)
            case Unchanged():
                # An update that names no field is a precondition and nothing else.
                into.update.name = name
                _mask(into, [])
                _only_at(into, one.version)


def _mask(into: _RawWrite, paths: Sequence[str]) -> None:
    into.update_mask.SetInParent()
    into.update_mask.field_paths.extend(paths)


def _only_at(into: _RawWrite, version: Version | None) -> None:
    if version is not None:
        into.current_document.update_time.FromNanoseconds(version)


def _fill_merge(into: _RawWrite, one: Merge) -> None:
    plain: dict[str, Value] = {}
    mask: list[str] = []
    for key, value in one.fields.items():
        names = (key,) if isinstance(key, str) else key
        field = ".".join(_quoted(part) for part in names)
        if isinstance(value, Increment):
            transform = into.update_transforms.add()
            transform.field_path = field
            fill(transform.increment, value.by)
            continue
        mask.append(field)
        _put(plain, names, value)
    fill_fields(into.update.fields, plain)
    _mask(into, mask)


def _put(fields: dict[str, Value], names: Sequence[str], value: Value) -> None:
    for parent in names[:-1]:
        inner = fields.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise InvariantViolation(f"a merge writes both {parent} and something inside it")
        fields = inner
    fields[names[-1]] = value


@functools.lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    """A field name in a path: bare when it is a plain identifier, else in back-ticks."""
    if name.isascii() and name.isidentifier():
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _encode_filter(conditions: Sequence[Where]) -> object:
    """A StructuredQuery.Filter; None for no condition."""
    filters = [_encode_condition(condition) for condition in conditions]
    if not filters:
        return None
    if len(filters) == 1:
        return filters[0]
    return {"composite_filter": {"op": 1, "filters": filters}}


def _encode_condition(condition: Where) -> dict[str, object]:
    field = {"field_path": condition.field}
    if condition.value is None and condition.op == "==":
        return {"unary_filter": {"op": 3, "field": field}}
    return {
        "field_filter": {"field": field, "op": _OPERATORS[condition.op], "value": encode(condition.value)},
    }


def _is_conditional(one: Write) -> bool:
    """Whether another writer can make it fail."""
    return isinstance(one, Create | Unchanged) or (isinstance(one, Replace | Delete) and one.version is not None)


@contextmanager
def _translated(path: str, *, conditional: bool = False) -> Iterator[None]:
    """Turns Google's errors into ours; also those of building a request: more than 64 bits, half of a surrogate pair, a
    time without a zone.

    A lost race is FAILED_PRECONDITION (another version), ALREADY_EXISTS or ABORTED (lock contention), or NOT_FOUND
    when the document to replace or delete is gone. Where nothing is conditional, the same answers mean that an index or
    the database is missing: a mistake of the deployment, which no second try mends.
    """
    try:
        yield
    except exceptions.AlreadyExists as error:
        raise AlreadyExists(f"the document exists already: {error.message}", path=path) from error
    except (exceptions.FailedPrecondition, exceptions.NotFound) as error:
        if not conditional:
            raise InvariantViolation(f"Firestore lacks an index or the database: {error.message}") from error
        raise Conflict(f"the document was written by another: {error.message}", path=path) from error
    except exceptions.Aborted as error:
        raise Conflict(f"the document was written by another: {error.message}", path=path) from error
    except exceptions.InvalidArgument as error:
        raise InvariantViolation(f"Firestore cannot store this: {error.message}") from error
    except GoogleAuthError as error:
        raise Unavailable(f"Google gave no credentials for Firestore: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvariantViolation(f"Firestore's messages cannot hold this: {error}") from error
    except exceptions.GoogleAPICallError as error:
        raise Unavailable(f"Firestore did not answer: {error.message}") from error
    except exceptions.RetryError as error:
        raise Unavailable(f"Firestore did not answer in time: {error}") from error
