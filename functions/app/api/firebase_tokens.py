"""The adapter to Firebase Auth: verifies ID tokens with firebase_admin and reads our claims out of them.

A verified token is remembered for five minutes, never past its end: a page sends the same token with every request, and
each verification goes through an HTTP cache for Google's certificates and an RSA check. Only a digest of the token is
kept. Tokens of the Auth emulator have no signature, so `Settings.from_env` refuses a deployed function that names an
emulator. The composition root must have initialised firebase_admin's app.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from app.api.auth import ROLES, Principal, Role, TokenExpired, TokenInvalid, is_user_id
from app.kit.clock import Clock, minutes, seconds
from app.kit.errors import Unavailable

REMEMBERED_US: Final = minutes(5)
MOST_REMEMBERED: Final = 10_000
TokenVerification = Callable[[str, bool], Mapping[str, object]]

_INVALID: Final = "The ID token could not be verified."


def claims_of(token: str, fresh: bool) -> Mapping[str, object]:
    """The claims of a token that verifies; see `TokenVerifier` for `fresh` and the errors."""
    from firebase_admin import auth, exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        claims: dict[str, object] = auth.verify_id_token(token, check_revoked=fresh)
        if fresh:
            claims["role"] = (auth.get_user(claims["uid"]).custom_claims or {}).get("role")
    except auth.ExpiredIdTokenError as error:
        raise TokenExpired("The ID token has expired; refresh it.") from error
    except auth.CertificateFetchError as error:
        raise Unavailable("the keys of Firebase Auth could not be fetched") from error
    except (auth.InvalidIdTokenError, auth.UserDisabledError, auth.UserNotFoundError, ValueError) as error:
        raise TokenInvalid(_INVALID) from error
    except (exceptions.FirebaseError, GoogleAuthError) as error:
        raise Unavailable("Firebase Auth did not answer") from error
    return claims


class FirebaseTokens:
    """`TokenVerifier` over Firebase Auth. Thread-safe."""

    def __init__(self, clock: Clock, claims_of: TokenVerification = claims_of) -> None:
        self._clock = clock
        self._claims_of = claims_of
        self._known: OrderedDict[bytes, tuple[Principal, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, token: str, /, *, fresh: bool = False) -> Principal:
        digest = hashlib.sha256(token.encode()).digest()
        if not fresh and (known := self._recall(digest)):
            return known
        claims = self._claims_of(token, fresh)
        who = principal(claims)
        expires = claims.get("exp")
        if not fresh and isinstance(expires, int):
            self._remember(digest, who, seconds(expires))
        return who

    def _recall(self, digest: bytes) -> Principal | None:
        with self._lock:
            who, until_us = self._known.get(digest, (None, 0))
            return who if self._clock.now_us() < until_us else None

    def _remember(self, digest: bytes, who: Principal, expires_us: int) -> None:
        with self._lock:
            self._known[digest] = (who, min(expires_us, self._clock.now_us() + REMEMBERED_US))
            self._known.move_to_end(digest)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)


def principal(claims: Mapping[str, object]) -> Principal:
    """The principal that the claims of a verified token name. Raises TokenInvalid for an impossible user id."""
    uid = claims.get("uid") or claims.get("sub")
    if not is_user_id(uid):
        raise TokenInvalid(_INVALID)
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
