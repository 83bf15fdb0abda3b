"""What Firestore's refusals mean: a lost race is tried again, a mistake of the deployment is logged as our error."""

import contextlib
from collections.abc import Callable, Sequence
from typing import cast

import grpc
import pytest
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import RefreshError
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.types import document

from app.api import problems
from app.kit.errors import Conflict, InvariantViolation, Unavailable
from app.kit.stores.documents import Create, Delete, Merge, Query, Replace, Version, Where, Write
from app.kit.stores.firestore import FirestoreDocuments, PlainCalls

NO_INDEX = exceptions.FailedPrecondition("The query requires an index. You can create it here: https://console")
NO_DATABASE = exceptions.NotFound("The database (default) does not exist for project demo")
STALE = exceptions.FailedPrecondition("the stored version does not match the required base version")


class Refusing:
    """Firestore, as it refuses every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _refuse(self, *_: object, **__: object) -> None:
        raise self._error

    get_document = batch_get_documents = run_query = commit = _refuse


CALLS: dict[str, Callable[[FirestoreDocuments], object]] = {
    "one document": lambda store: store.get("accounts/alice"),
    "several documents": lambda store: store.get_all(["accounts/alice", "accounts/bob"]),
    "a query": lambda store: store.query(Query("operations", (Where("state", "==", "queued"),), ("due_at",))),
    "an unconditional write": lambda store: store.commit([Merge("accounts/alice", {"a": 1}), Delete("accounts/bob")]),
}


def store(error: Exception) -> FirestoreDocuments:
    refusing = Refusing(error)
    return FirestoreDocuments(cast(FirestoreClient, refusing), cast(PlainCalls, refusing), "demo")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", [NO_INDEX, NO_DATABASE], ids=["index", "database"])
def test_what_is_missing_in_a_deployment_is_no_lost_race(call: str, error: Exception) -> None:
    """T-116: it would be tried again for ever, and answered with 503 as if it were busy."""
    if (call, error) == ("one document", NO_DATABASE):
        assert CALLS[call](store(error)) is None, "a document that does not exist has the same answer"
        return
    with pytest.raises(InvariantViolation, match="index or the database") as caught:
        CALLS[call](store(error))
    described = problems.describe(caught.value)
    assert (described.status, described.severity) == (500, "bug")


@pytest.mark.parametrize(
    "writes",
    [
        [Create("accounts/alice", {})],
        [Replace("accounts/alice", {}, Version(1))],
        [Merge("accounts/bob", {"a": 1}), Delete("accounts/alice", Version(1))],
    ],
    ids=["create", "replace", "delete among others"],
)
def test_a_condition_that_does_not_hold_is_one(writes: Sequence[Write]) -> None:
    for error in (STALE, exceptions.NotFound("No document to update"), exceptions.AlreadyExists("x")):
        with pytest.raises(Conflict):
            store(error).commit(writes)


@pytest.mark.parametrize("call", CALLS)
def test_contention_and_silence_are_tried_again(call: str) -> None:
    with pytest.raises(Conflict):
        CALLS[call](store(exceptions.Aborted("too much contention")))
    with pytest.raises(Unavailable):
        CALLS[call](store(exceptions.ServiceUnavailable("x")))


@pytest.mark.parametrize("call", CALLS)
def test_credentials_that_google_does_not_give_are_an_outage(call: str) -> None:
    """The server of the machine's tokens may be away as any other."""
    with pytest.raises(Unavailable):
        CALLS[call](store(RefreshError("metadata server")))


class Counting(FirestoreClient):
    """Firestore without anything in it. Keeps how each call may be repeated, and how long each try may take."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, object]] = []

    def __getattribute__(self, name: str) -> object:
        def answer(*_: object, retry: object = "by default", timeout: object = None, **__: object) -> list[object]:
            self.calls.append((retry, timeout))
            return []

        return answer if name in ("batch_get_documents", "run_query") else super().__getattribute__(name)


class Lost(grpc.RpcError):
    """The error of a call that ended with `status`."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._status

    def details(self) -> str:
        return "said the server"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Channel:
    """A channel whose calls end in these ways, one after the other, and then with an empty document."""

    def __init__(self, *ends: grpc.StatusCode) -> None:
        self._ends = list(ends)
        self.asked: list[tuple[str, object, dict[str, str]]] = []

    def unary_unary(self, method: str, **_: object) -> Callable[..., object]:
        def call(_: object, *, timeout: object, metadata: Sequence[tuple[str, str]]) -> object:
            self.asked.append((method.rpartition("/")[2], timeout, dict(metadata)))
            if self._ends:
                raise Lost(self._ends.pop(0))
            return document.Document.pb()(name="projects/demo/databases/(default)/documents/a/b")

        return call


def over(channel: Channel) -> FirestoreDocuments:
    return FirestoreDocuments(Counting(), PlainCalls(cast("grpc.Channel", channel)), "demo")


def test_a_read_is_repeated_for_no_longer_than_one_try_may_take() -> None:
    """By default the client repeats what timed out, and a query waits for five minutes."""
    client = Counting()
    for call in list(CALLS)[1:3]:
        CALLS[call](FirestoreDocuments(client, PlainCalls(cast("grpc.Channel", Channel())), "demo"))
    assert len(client.calls) == 2
    for retry, timeout in client.calls:
        assert isinstance(retry, Retry)
        assert retry.timeout == timeout == 15
        assert retry._predicate(exceptions.ServiceUnavailable("x"))
        assert not retry._predicate(exceptions.DeadlineExceeded("x"))


def test_a_plain_read_is_repeated_while_nobody_is_there_and_a_commit_never() -> None:
    away, late = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
    channel = Channel(away, late)
    with pytest.raises(Unavailable):
        over(channel).get("accounts/alice")
    assert [method for method, _, _ in channel.asked] == ["GetDocument"] * 2
    first, second = (patience for _, patience, _ in channel.asked)
    assert isinstance(second, float)
    assert first == 15
    assert 10 < second < 15, "what is left of it"
    channel = Channel(away, away)
    with pytest.raises(Unavailable):
        over(channel).commit([Merge("accounts/alice", {"a": 1})])
    assert [(method, patience) for method, patience, _ in channel.asked] == [("Commit", 15)]


def test_a_plain_call_says_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's front end routes by these headers, https://google.aip.dev/client-libraries/4222."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    channel = Channel()
    over(channel).get("accounts/al ice@\u00e9")
    asked = channel.asked[0][2]
    assert asked["google-cloud-resource-prefix"] == "projects/demo/databases/(default)"
    named = "projects%2Fdemo%2Fdatabases%2F%28default%29%2Fdocuments%2Faccounts%2Fal%20ice%40%C3%A9"
    assert asked["x-goog-request-params"] == f"name={named}"
    channel = Channel()
    with contextlib.suppress(AttributeError):  # It answers a commit with a document.
        over(channel).commit([Merge("accounts/alice", {"a": 1})])
    asked = channel.asked[0][2]
    assert asked["x-goog-request-params"] == "database=projects%2Fdemo%2Fdatabases%2F%28default%29"
    assert "authorization" not in asked, "the owner of the emulator is nobody in production"
