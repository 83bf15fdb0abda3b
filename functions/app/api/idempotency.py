"""Idempotency keys: a POST that is sent twice is done once, and both requests get the first answer.

There is one document per user and key. It is created before the work starts, so that of two racing requests one works
and the other gets a 409; afterwards it holds the answer. When an attempt dies, its lease runs out and the key may be
tried again. Handlers that store their answer themselves (a chat turn) only read the key here.

Refuses to know what the work is. https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, cast

import flask
from flask.typing import ResponseReturnValue

from app.api import auth, context, problems
from app.kit import telemetry
from app.kit.clock import Clock, from_rfc3339, seconds, to_rfc3339
from app.kit.errors import AlreadyExists, Conflict, Fault, KeyReused, Rejection
from app.kit.ids import derived
from app.kit.stores.documents import Create, Delete, Document, Documents, Replace, Value, Version, text_field

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
LEASE_US: Final = seconds(330)
"""A little longer than the function may run, so that a lease never ends under a request that still works."""
KEPT: Final = timedelta(hours=24)
MAX_ANSWER: Final = 256 * 1024
"""Bytes of the largest answer that is kept; a Firestore document holds 1 MiB."""
_MARK: Final = "__credits_idempotent__"
_NOT_KEPT: Final = frozenset({408, 425, 429})
"""Answers that only say "not now": the same key may be tried again."""

_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?", re.ASCII)

RouteHandler = Callable[..., object]
"""As flask-openapi takes it: returns a model, a model and a status, or what Flask can make an answer of."""
View = TypeVar("View", bound=Callable[..., object])


class IdempotencyInProgress(Rejection):
    """The first request with this key is still running."""

    status = 409
    code = "idempotency_in_progress"
    title = "The first request with this key is still running"


class AnswerNotKept(Rejection):
    """The first request was done, and its answer was too large to keep."""

    status = 409
    code = "idempotency_answer_not_kept"
    title = "Done already; the answer was too large to keep"


class BadKey(Rejection):
    """The key is not 1 to 255 printable ASCII characters."""

    status = 400
    code = "idempotency_key_malformed"
    title = "The Idempotency-Key is malformed"


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished answer. `body` is None when it was too large to keep."""

    status: int
    body: str | None
    media_type: str


@dataclass(frozen=True, slots=True)
class KeyedAttempt:
    """The right to do the work, until the lease ends or another takes it over."""

    path: str
    version: Version
    fingerprint: str


def idempotency_key() -> str | None:
    """The key of the request being served, if any; for handlers that store their answer themselves.

    Raises:
        BadKey: it is not 1-255 printable ASCII characters.
    """
    key = flask.request.headers.get(HEADER)
    if key is not None and not _PRINTABLE.fullmatch(key):
        raise BadKey(f"{HEADER} takes 1 to 255 printable ASCII characters.")
    return key


def takes_key(view: View) -> View:
    """Marks a handler that takes the key, for the OpenAPI document."""
    setattr(view, _MARK, True)
    return view


def takes_a_key(view: Callable[..., object]) -> bool:
    """Whether this handler takes an idempotency key."""
    return bool(getattr(view, _MARK, False))


def fingerprint(method: str, path: str, body: object) -> str:
    """SHA-256 of method, path and body, whatever the order of names in the JSON."""
    text = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Idempotency:
    """The records, over the authoritative store."""

    def __init__(self, documents: Documents, clock: Clock, *, lease_us: int = LEASE_US) -> None:
        self._documents = documents
        self._clock = clock
        self._lease_us = lease_us

    def begin(self, uid: str, key: str, request: str) -> KeyedAttempt | Kept:
        """Takes the key for `uid`, or returns the answer that was kept. `request` is a `fingerprint`.

        Raises:
            KeyReused: the key was used for another request.
            IdempotencyInProgress: the first request is still running.
        """
        path = f"idempotency/{derived('idk', uid, key)}"
        fields = self._running(request)
        try:
            version = self._documents.commit([Create(path, fields)])[0]
        except AlreadyExists:
            return self._existing(path, request, fields)
        return KeyedAttempt(path, version, request)

    def finish(self, attempt: KeyedAttempt, answer: Kept) -> None:
        """Keeps the answer, unless another attempt took over after the lease had ended."""
        body = answer.body if answer.body is not None and len(answer.body.encode()) <= MAX_ANSWER else None
        fields: dict[str, Value] = {
            "state": "done",
            "fingerprint": attempt.fingerprint,
            "status": answer.status,
            "body": body,
            "media_type": answer.media_type,
            "expire_at": self._expire_at(),
        }
        self._write_if_still_ours(Replace(attempt.path, fields, attempt.version))

    def forget(self, attempt: KeyedAttempt) -> None:
        """Frees the key for another try. The work may have been done, so it must be idempotent itself."""
        self._write_if_still_ours(Delete(attempt.path, attempt.version))

    def _existing(self, path: str, request: str, fields: dict[str, Value]) -> KeyedAttempt | Kept:
        found = self._documents.get(path)
        if found is None:
            raise _in_progress(1)  # it was freed or expired between our two calls
        if self._expired(found):
            return self._take_over(found, request, fields)
        if text_field(found.fields, "fingerprint") != request:
            raise KeyReused("This Idempotency-Key was used for another request.")
        if text_field(found.fields, "state") == "done":
            return _kept(found)
        left_us = from_rfc3339(text_field(found.fields, "lease_until")) - self._clock.now_us()
        if left_us > 0:
            raise _in_progress(min(5, left_us // 1_000_000 + 1))
        return self._take_over(found, request, fields)

    def _take_over(self, found: Document, request: str, fields: dict[str, Value]) -> KeyedAttempt:
        try:
            version = self._documents.commit([Replace(found.path, fields, found.version)])[0]
        except Conflict as error:
            raise _in_progress(1) from error
        return KeyedAttempt(found.path, version, request)

    def _write_if_still_ours(self, write: Replace | Delete) -> None:
        try:
            self._documents.commit([write])
        except Conflict:
            # The lease had ended and another attempt holds the key: its outcome is the one to keep.
            return
        except Fault as fault:
            # The work is done, or has failed in its own way, and the caller is told so. The lease frees the key.
            telemetry.log("api").warning("idempotency_key_left_open", path=write.path, reason=str(fault))

    def _running(self, request: str) -> dict[str, Value]:
        return {
            "state": "running",
            "fingerprint": request,
            "lease_until": to_rfc3339(self._clock.now_us() + self._lease_us),
            "expire_at": self._expire_at(),
        }

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_us() / 1_000_000, UTC)

    def _expire_at(self) -> datetime:
        """What Firestore's TTL policy reads; it deletes within a day after that, so readers check it as well."""
        return self._now() + KEPT

    def _expired(self, found: Document) -> bool:
        expire_at = found.fields.get("expire_at")
        return isinstance(expire_at, datetime) and expire_at <= self._now()


def idempotent(records: Idempotency) -> Callable[[RouteHandler], RouteHandler]:
    """Decorates a handler, below the route's decorator. Without a key the handler simply runs.

    Rejections are kept like answers. After a fault or a bug the key is freed: the handler's writes are atomic and have
    keys of their own, so a retry finds what was made.
    """

    def decorate(handler: RouteHandler) -> RouteHandler:
        @functools.wraps(handler)
        def guarded(**arguments: object) -> object:
            key = idempotency_key()
            if key is None:
                return handler(**arguments)
            asked = fingerprint(flask.request.method, flask.request.path, flask.request.get_json(silent=True))
            begun = records.begin(auth.caller().uid, key, asked)
            if isinstance(begun, Kept):
                return _replay(begun)
            return _run(records, begun, lambda: handler(**arguments))

        return takes_key(guarded)

    return decorate


def _run(records: Idempotency, attempt: KeyedAttempt, work: Callable[[], object]) -> flask.Response:
    try:
        response = flask.current_app.make_response(cast(ResponseReturnValue, work()))
    except Rejection as refusal:
        described = problems.describe(refusal)
        if described.status in _NOT_KEPT:
            records.forget(attempt)
        else:
            body = json.dumps(described.body(context.request_id()), ensure_ascii=False, default=str)
            records.finish(attempt, Kept(described.status, body, problems.MEDIA_TYPE))
        raise
    except BaseException:
        records.forget(attempt)
        raise
    if response.status_code >= 500 or response.is_streamed:
        records.forget(attempt)
    else:
        records.finish(
            attempt,
            Kept(response.status_code, response.get_data(as_text=True), response.mimetype or "application/json"),
        )
    return response


def _replay(kept: Kept) -> flask.Response:
    if kept.body is None:
        raise AnswerNotKept("The first request with this key was done; its answer was too large to keep.")
    return flask.Response(kept.body, kept.status, {REPLAYED: "true"}, mimetype=kept.media_type)


def _kept(found: Document) -> Kept:
    status, body = found.fields.get("status"), found.fields.get("body")
    return Kept(
        status=status if isinstance(status, int) else 200,
        body=body if isinstance(body, str) else None,
        media_type=text_field(found.fields, "media_type"),
    )


def _in_progress(retry_after_s: int) -> IdempotencyInProgress:
    return IdempotencyInProgress(
        "The first request with this Idempotency-Key is still running.", retry_after_s=retry_after_s
    )
