"""The adapter to Firebase Auth: verifies ID tokens with firebase_admin and reads our claims out of them.

A verified token is remembered for five minutes, never past its end: a page sends the same token with every request, and
each verification goes through an HTTP cache for Google's certificates and an RSA check. Only a digest of the token is
kept. That a user was looked up is remembered for a minute, and only for what spends; a role is never remembered. Tokens
of the Auth emulator have no signature, so `Settings.from_env` refuses a deployed function that names an emulator. The
composition root must have initialised firebase_admin's app.
"""

import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from app.api.auth import (
    ROLES,
    Freshness,
    Principal,
    Role,
    TokenExpired,
    TokenInvalid,
    UserIdUnusable,
    is_user_id,
)
from app.kit.clock import Clock, minutes, seconds
from app.kit.errors import Unavailable

if TYPE_CHECKING:
    from app.kit.google.users import AuthUsers

REMEMBERED_US: Final = minutes(5)
RECENT_US: Final = minutes(1)
"""For so long a user who was looked up may spend without being looked up again."""
SILENT_US: Final = seconds(30)
"""For so long after a look-up that Auth did not answer an instance serves who spends by the token alone."""
PATIENCE_S: Final = 2
"""How long a look-up may take."""
LEEWAY_S: Final = 5
"""How far Google's clock and ours may differ, in both directions (T-122)."""
MOST_REMEMBERED: Final = 10_000


class TokenSource(Protocol):
    """Firebase Auth, as far as tokens go."""

    def claims(self, token: str, /) -> Mapping[str, object]:
        """The claims of a token that verifies. See `TokenVerifier` for the errors."""
        ...

    def present_role(self, uid: str, issued_s: object, /) -> object:
        """The role that Auth names now for a user, whose token was issued at this Unix time.

        Raises:
            TokenInvalid: the user is gone or disabled, or the token was revoked.
            Unavailable: Auth did not answer.
        """
        ...


_INVALID: Final = "The ID token could not be verified."
_UNUSABLE: Final = (
    "A user's id has 1 to 128 characters, none of them a control character or one of . $ # [ ] / and does not start "
    "with two underscores. Sign up under another id."
)


class FirebaseAuth:
    """`TokenSource` over firebase_admin, and over our own look-up of users."""

    def claims(self, token: str, /) -> Mapping[str, object]:
        from firebase_admin import auth, exceptions
        from google.auth.exceptions import GoogleAuthError

        try:
            claims: dict[str, object] = auth.verify_id_token(token, clock_skew_seconds=LEEWAY_S)
        except auth.ExpiredIdTokenError as error:
            raise TokenExpired("The ID token has expired; refresh it.") from error
        except auth.CertificateFetchError as error:
            raise Unavailable("the keys of Firebase Auth could not be fetched") from error
        except (auth.InvalidIdTokenError, ValueError) as error:
            raise TokenInvalid(_INVALID) from error
        except (exceptions.FirebaseError, GoogleAuthError) as error:
            raise Unavailable("Firebase Auth did not answer") from error
        return claims

    def present_role(self, uid: str, issued_s: object, /) -> object:
        user = _users().find(uid)
        # Both times are Auth's own; a token of the second in which others were revoked is a new one.
        if user is None or user.disabled or not isinstance(issued_s, int) or issued_s < user.valid_since_s:
            raise TokenInvalid(_INVALID)
        return user.role


@functools.cache
def _users() -> "AuthUsers":
    from app.kit.google import users

    return users.connect()


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A token that verified, until when that counts, and until when its user counts as looked up.

    `issued_s`: its claim `iat`, of any type.
    """

    who: Principal
    issued_s: object
    until_us: int
    recent_until_us: int = 0


class FirebaseTokens:
    """`TokenVerifier` over Firebase Auth. Thread-safe."""

    def __init__(self, clock: Clock, source: TokenSource | None = None) -> None:
        self._clock = clock
        self._source = source or FirebaseAuth()
        self._known: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._looking_up: dict[bytes, Future[Principal]] = {}
        self._silent_until_us = 0
        self._lock = threading.Lock()

    def __call__(self, token: str, /, *, freshness: Freshness = Freshness.TOKEN) -> Principal:
        if freshness is Freshness.NOW:
            claims = self._source.claims(token)
            who = principal(claims)
            return replace(who, role=_role(self._source.present_role(who.uid, claims.get("iat"))))
        digest = hashlib.sha256(token.encode()).digest()
        recent = freshness is Freshness.RECENT
        with self._lock:
            known = self._recall(digest)
            if known and (not recent or self._clock.now_us() < known.recent_until_us):
                return known.who
            if not recent or self._clock.now_us() < self._silent_until_us:
                mine = begun = None
            elif (begun := self._looking_up.get(digest)) is None:
                mine = self._looking_up[digest] = Future()
        try:
            # Not by the token meanwhile: a disabled user would be served who sends two requests at once.
            if begun is not None:
                return begun.result(PATIENCE_S)
            if mine is not None:
                return self._look_up(token, digest, known, mine)
        except (Unavailable, TimeoutError) as fault:
            self._silent_until_us = self._clock.now_us() + SILENT_US
            # While Auth does not answer, the token must do: whoever pays is not kept waiting by a third party.
            from app.kit import telemetry  # late: a callable's module is loaded by every function's cold start

            telemetry.log("api").warning("user_not_looked_up", reason=str(fault))
            with self._lock:
                known = self._recall(digest)  # The token may have ended meanwhile.
        return self._remembered(digest, known or self._verified(token), recent=recent)

    def _look_up(self, token: str, digest: bytes, known: _Verdict | None, told: Future[Principal]) -> Principal:
        """Looks the user up for all requests with this token that come meanwhile."""
        try:
            verdict = known or self._verified(token)
            self._source.present_role(verdict.who.uid, verdict.issued_s)
            who = self._remembered(digest, verdict, recent=True)
        except BaseException as error:
            told.set_exception(error)
            raise
        else:
            told.set_result(who)
            return who
        finally:
            with self._lock:
                del self._looking_up[digest]

    def _verified(self, token: str) -> _Verdict:
        claims = self._source.claims(token)
        who = replace(principal(claims), role="user")
        expires_s = claims.get("exp")
        ends_us = seconds(expires_s) if isinstance(expires_s, int) else 0
        return _Verdict(who, claims.get("iat"), min(ends_us, self._clock.now_us() + REMEMBERED_US))

    def _recall(self, digest: bytes) -> _Verdict | None:
        """Called with the lock held."""
        known = self._known.get(digest)
        return known if known and self._clock.now_us() < known.until_us else None

    def _remembered(self, digest: bytes, verdict: _Verdict, *, recent: bool) -> Principal:
        if recent:
            verdict = replace(verdict, recent_until_us=self._clock.now_us() + RECENT_US)
        with self._lock:
            self._known[digest] = verdict
            self._known.move_to_end(digest)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return verdict.who


def principal(claims: Mapping[str, object]) -> Principal:
    """The principal that the claims of a verified token name.

    Raises:
        TokenInvalid: they name nobody.
        UserIdUnusable: they name somebody whose id cannot be a path.
    """
    uid = claims.get("uid") or claims.get("sub")
    if not isinstance(uid, str) or not uid:
        raise TokenInvalid(_INVALID)
    if not is_user_id(uid):
        raise UserIdUnusable(_UNUSABLE)
    email = claims.get("email")
    firebase = claims.get("firebase")
    provider = firebase.get("sign_in_provider") if isinstance(firebase, Mapping) else None
    return Principal(
        uid=uid,
        role=_role(claims.get("role")),
        email=email if isinstance(email, str) else None,
        email_verified=claims.get("email_verified") is True,
        sign_in_provider=provider if isinstance(provider, str) else None,
    )


def _role(claim: object) -> Role:
    """The role that the claim names; an unknown one counts as `user`."""
    return next((role for role in ROLES if role == claim), "user")
