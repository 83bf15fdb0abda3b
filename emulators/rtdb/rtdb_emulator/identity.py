"""Who a request is. Pure: like Google's emulator it decodes tokens and verifies nothing."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Final

from rtdb_emulator.errors import InvalidToken
from rtdb_emulator.json_text import Json, MalformedJson, loads


@dataclass(frozen=True, slots=True)
class Identity:
    """`auth` is what rules see; an admin bypasses them."""

    admin: bool = False
    auth: Json = None
    expires_at_ms: int | None = None

    def is_expired(self, now_ms: int) -> bool:
        return self.expires_at_ms is not None and self.expires_at_ms <= now_ms

    @property
    def uid(self) -> str | None:
        uid = self.auth.get("uid") if isinstance(self.auth, dict) else None
        return uid if isinstance(uid, str) else None

    @property
    def auth_type(self) -> str:
        """The writer, as function events name it."""
        if self.admin:
            return "admin"
        return "unauthenticated" if self.auth is None else "app_user"


ANONYMOUS: Final = Identity()
ADMIN: Final = Identity(admin=True)


def acting_as(auth: Json) -> Identity:
    """An admin that asked to be treated as this user, or as nobody: rules apply."""
    return Identity(auth=auth)


def from_token(token: str) -> Identity:
    """Read an ID token or a legacy custom token. Raises InvalidToken."""
    claims = _claims(token)
    legacy = claims.get("d")
    if isinstance(legacy, dict):
        return Identity(admin=claims.get("admin") is True, auth=legacy, expires_at_ms=_expiry(claims))
    firebase = claims.get("firebase")
    provider = firebase.get("sign_in_provider") if isinstance(firebase, dict) else None
    uid = claims.get("sub", claims.get("user_id"))
    auth: dict[str, Json] = {"uid": uid, "provider": provider or claims.get("provider_id"), "token": claims}
    return Identity(auth=auth, expires_at_ms=_expiry(claims))


def is_token(credential: str) -> bool:
    """Whether a credential looks like a JWT rather than like an opaque one."""
    return credential.count(".") == 2


def _claims(token: str) -> dict[str, Json]:
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken()
    try:
        claims = loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, MalformedJson):
        raise InvalidToken() from None
    if not isinstance(claims, dict):
        raise InvalidToken()
    return claims


def _expiry(claims: dict[str, Json]) -> int | None:
    # The SDK's mock tokens say iat 0, exp 3600: expired in 1970 and nevertheless meant to work.
    issued, expires = claims.get("iat"), claims.get("exp")
    if isinstance(issued, int | float) and issued > 0 and isinstance(expires, int | float):
        return int(expires * 1000)
    return None
