"""The three kinds of failure that this backend raises.

    Failure
    ├── Rejection             the caller's mistake: a 4xx status, a stable code, typed fields; not an error in the log
    ├── Fault                 a dependency failed: retried, then 503
    │   ├── Conflict          an optimistic write lost against another writer: read again, decide again
    │   └── Unavailable       a dependency did not answer, or asked to come back later
    └── InvariantViolation    a bug of ours: stop, keep the evidence, page somebody

Adapters translate the errors of their SDK into these; nothing above an adapter imports an SDK.
"""

from collections.abc import Mapping
from typing import ClassVar


class Failure(Exception):
    """Base of everything that this backend raises on purpose."""


class Rejection(Failure):
    """The caller asked for something that cannot be granted. Nothing was changed.

    Subclasses set `status` (HTTP), `code` (stable snake_case) and `title`; `fields` are the extras of the
    problem object (RFC 9457) and must be JSON values.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "The request cannot be granted"

    def __init__(self, detail: str, **fields: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields: Mapping[str, object] = fields


class NotFound(Rejection):
    """There is no such thing, or it belongs to somebody else; callers cannot see which."""

    status = 404
    code = "not_found"
    title = "Not found"


class Unauthenticated(Rejection):
    """The request has no credential, or one that does not verify."""

    status = 401
    code = "unauthenticated"
    title = "Sign in first"


class Forbidden(Rejection):
    """The caller is known, but may not do this."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class KeyReused(Rejection):
    """The same idempotency key came with another input."""

    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency key reused"


class Invalid(Rejection):
    """The input has the right shape, but its values cannot be accepted."""

    status = 422
    code = "validation_failed"
    title = "Invalid request"


class Fault(Failure):
    """A dependency failed. Trying again later may help; the caller did nothing wrong.

    `title` and `told` are all that a client learns of it; `detail` is for the log.
    """

    code: ClassVar[str] = "unavailable"
    title: ClassVar[str] = "Temporarily unavailable"
    told: ClassVar[str] = "A service that we depend on did not answer. Trying again later may help."

    def __init__(self, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class Conflict(Fault):
    """An optimistic write lost: a document was not in the state that the write expects."""

    code = "conflict"

    def __init__(self, detail: str, *, path: str | None = None) -> None:
        super().__init__(detail)
        self.path = path


class AlreadyExists(Conflict):
    """A `Create` found a document that exists already."""

    code = "already_exists"


class Unavailable(Fault):
    """A dependency did not answer, or asked to come back later."""


class InvariantViolation(Failure):
    """Something that must always hold does not. Nothing may be written after this."""


def ensure(condition: bool, invariant: str) -> None:
    """Raises `InvariantViolation` unless `condition` holds. For our own code's promises, never for a caller's input."""
    if not condition:
        raise InvariantViolation(invariant)
