"""The adapter to Firebase Auth: verifies ID tokens with firebase_admin and reads our claims out of them.

Against the Auth emulator tokens carry no signature at all, so `Settings.from_env` refuses a deployed function that
names one. The app must be initialised by the composition root.
"""

import re
from collections.abc import Mapping

from app.api.auth import ROLES, Principal, Role, TokenExpired, TokenInvalid
from app.kit.errors import Unavailable

_INVALID = "The ID token could not be verified."
_UID = re.compile(r"(?!__)[^/.#$\[\]\x00-\x1f\x7f]{1,128}")
"""User ids that can be a segment of a path in both databases. Custom tokens and imports allow others: `a/b` would reach
into another's documents, and a path that the Realtime Database refuses takes the live text of all users with it."""


def verify_id_token(token: str, /, *, fresh: bool = False) -> Principal:
    """The principal of a Firebase ID token; see `TokenVerifier` for `fresh` and the errors."""
    from firebase_admin import auth, exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        claims = auth.verify_id_token(token, check_revoked=fresh)
        if fresh:
            claims = {**claims, "role": (auth.get_user(claims["uid"]).custom_claims or {}).get("role")}
    except auth.ExpiredIdTokenError as error:
        raise TokenExpired("The ID token has expired; refresh it.") from error
    except auth.CertificateFetchError as error:
        raise Unavailable("the keys of Firebase Auth could not be fetched") from error
    except (auth.InvalidIdTokenError, auth.UserDisabledError, auth.UserNotFoundError, ValueError) as error:
        raise TokenInvalid(_INVALID) from error
    except (exceptions.FirebaseError, GoogleAuthError) as error:
        raise Unavailable("Firebase Auth did not answer") from error
    return principal(claims)


def principal(claims: Mapping[str, object]) -> Principal:
    """What the claims of a verified token say."""
    uid = claims.get("uid") or claims.get("sub")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
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
    """An unknown role is no role: it gives what every user has."""
    return next((role for role in ROLES if role == claim), "user")
