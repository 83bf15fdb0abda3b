"""Authentication: bearer tokens and API keys become principals; every route needs one unless it is marked as public.

Owns the `Authorization` header, the marks on route handlers and what keys may do. Refuses to know how a token or a key
is verified (that is `app.api.firebase_tokens` and `app.keys`) and what a user owns.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol, TypeGuard, TypeVar, cast, get_args

import flask

from app.kit.errors import Forbidden, Unauthenticated

Role = Literal["user", "support", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

View = TypeVar("View", bound=Callable[..., object])

_USER_ID: Final = re.compile(r"(?!__)[^/.#$\[\]\x00-\x1f\x7f\ud800-\udfff]{1,128}")
_PUBLIC: Final = "__credits_public__"
_ROLES: Final = "__credits_roles__"
_SPENDS: Final = "__credits_spends__"
KEY_PREFIX: Final = "sk-"
"""How API keys begin; no ID token does."""

Scope = Literal["chat", "models", "credits:read"]
"""What an API key may be used for: conversations, models and estimates, reading credits."""


class Freshness(Enum):
    """How recent must be what is known of the caller. docs/decisions.md says what each costs."""

    TOKEN = "token"
    """What the token says; it may be an hour old. Enough to read one's own data."""
    RECENT = "recent"
    """The user was looked up within the last minute: disabled users and revoked tokens are refused."""
    NOW = "now"
    """The user is looked up. Only then is the role known."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in caller. `role` is `user` unless the caller was looked up for this request (`only`, `require`): the
    role in a token may be an hour old, so nobody is shown it (T-95). `scopes` are those of the API key that was sent,
    whose id is `api_key` and whose budgets are micro-credits by window; None and empty where it was an ID token.
    """

    uid: str
    role: Role = "user"
    email: str | None = None
    email_verified: bool = False
    sign_in_provider: str | None = None
    scopes: frozenset[Scope] | None = None
    api_key: str = ""
    budgets: tuple[tuple[str, int], ...] = ()


class TokenInvalid(Unauthenticated):
    """The token does not verify: it is forged, for another project, revoked, or no token at all."""

    code = "token_invalid"
    title = "The ID token is not valid"


class TokenExpired(Unauthenticated):
    """The token has expired. The client refreshes it and asks again."""

    code = "token_expired"
    title = "The ID token has expired"


class UserIdUnusable(Forbidden):
    """The token is good, but the user's id cannot be a key in both databases; see `is_user_id`."""

    code = "user_id_unusable"
    title = "This user's id cannot be used here"


class ApiKeyInvalid(Unauthenticated):
    """No key of ours: it never was one, or it was deleted, rotated away, or its user is disabled."""

    code = "api_key_invalid"
    title = "The API key is not valid"


class ApiKeyExpired(Unauthenticated):
    """The key has expired. Only who holds the whole key is told so."""

    code = "api_key_expired"
    title = "The API key has expired"


class OutOfScope(Forbidden):
    """The key is good, but not for this address."""

    code = "api_key_out_of_scope"
    title = "The API key does not allow this"


KeyVerifier = Callable[[str], Principal]
"""Turns the text of an API key into its user, with the key's scopes. Raises `ApiKeyInvalid`, `ApiKeyExpired`."""


def no_keys(_: str) -> Principal:
    """The `KeyVerifier` of an application that has no keys."""
    raise ApiKeyInvalid("This API key does not exist.")


def scope_of(method: str, rule: str) -> Scope | None:
    """The scope that a key needs for this route; None where no key suffices, such as for keys themselves."""
    reads = method in ("GET", "HEAD")
    if not reads and (rule == "/v1/models/preferences" or rule.endswith("/share")):
        # What all messages may cost, and what everybody may read, is for the user alone to say.
        return None
    if rule.startswith(("/v1/chat/", "/v1/openai/chat/")):
        return "chat"
    if rule in ("/v1/models", "/v1/openai/models") or rule.startswith(("/v1/models/", "/v1/openai/models/")):
        return "models"
    if rule.startswith("/v1/credits/") and reads:
        return "credits:read"
    return None


class TokenVerifier(Protocol):
    """Turns the text of an ID token into a principal.

    Raises:
        TokenInvalid, TokenExpired: the caller's fault.
        UserIdUnusable: the fault of whoever imported the user under this id.
        Unavailable: the keys to verify with could not be fetched, or the user could not be looked up `NOW`.
    """

    def __call__(self, token: str, /, *, freshness: Freshness = Freshness.TOKEN) -> Principal: ...


def is_user_id(text: object) -> TypeGuard[str]:
    """Whether this can be a user's id: a valid segment of a path in both databases.

    Custom tokens and imports allow more: `a/b` would reach another user's documents, and one path that the Realtime
    Database refuses makes the shared write of all users' live text fail.
    """
    return isinstance(text, str) and _USER_ID.fullmatch(text) is not None


def caller() -> Principal:
    """The signed-in user of the request being served. Public routes have none and must not ask."""
    return cast(Principal, flask.g.principal)


def public(view: View) -> View:
    """Marks a handler that answers anybody. Stands below the route's decorator."""
    setattr(view, _PUBLIC, True)
    return view


def only(*roles: Role) -> Callable[[View], View]:
    """Marks a handler that serves only these roles. Stands below the route's decorator.

    The caller is looked up with every request: a token still claims a role up to an hour after it was revoked (T-95).
    A handler whose parameters decide whether a role is needed calls `require` instead.
    """

    def mark(view: View) -> View:
        setattr(view, _ROLES, roles)
        return view

    return mark


def spends(view: View) -> View:
    """Marks a handler that reserves or grants credits: who was disabled or revoked is refused within a minute."""
    setattr(view, _SPENDS, True)
    return view


def require(*roles: Role) -> None:
    """Looks the caller of the request being served up, and raises Forbidden unless they have one of these roles now."""
    if caller().scopes is not None:
        raise OutOfScope("This takes no API keys. Send a Firebase ID token.")
    present = cast(Callable[[], Principal], flask.g.look_up)()
    if present.role not in roles:
        raise Forbidden("Your role does not allow this.", required=list(roles))


def is_public(view: Callable[..., object]) -> bool:
    """Whether this handler answers without a token."""
    return bool(getattr(view, _PUBLIC, False))


def roles_of(view: Callable[..., object]) -> tuple[Role, ...]:
    """The roles that may use this handler; empty for every signed-in user."""
    return cast(tuple[Role, ...], getattr(view, _ROLES, ()))


def looks_up(view: Callable[..., object]) -> bool:
    """Whether the caller is looked up, within the last minute, before this handler runs."""
    return bool(getattr(view, _SPENDS, False))


def admit(view: Callable[..., object], authorization: str | None, verify: TokenVerifier) -> Principal | None:
    """The principal that may run `view`, None where it is public.

    Raises:
        Unauthenticated: no credential, or one that does not verify.
        Forbidden: the role does not suffice.
    """
    if is_public(view):
        return None
    roles = roles_of(view)
    needed = Freshness.RECENT if looks_up(view) else Freshness.TOKEN
    principal = verify(bearer_token(authorization), freshness=Freshness.NOW if roles else needed)
    if roles and principal.role not in roles:
        raise Forbidden("Your role does not allow this.", required=list(roles))
    return principal


def admit_key(view: Callable[..., object], key: str, verify: KeyVerifier, scope: Scope | None) -> Principal | None:
    """The principal that may run `view` with this API key, None where it is public. Roles are for people only.

    Raises:
        ApiKeyInvalid, ApiKeyExpired: the key does not count.
        OutOfScope: it counts, but not here.
    """
    if is_public(view):
        return None
    principal = verify(key)
    if roles_of(view) or scope is None:
        raise OutOfScope("This address takes no API keys. Send a Firebase ID token.")
    if scope not in (principal.scopes or ()):
        raise OutOfScope("This API key does not have the scope that this address needs.", required=scope)
    return principal


def api_key(authorization: str | None) -> str | None:
    """The API key in an `Authorization` header; None where it holds something else, or nothing."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    key = token.strip()
    return key if scheme.lower() == "bearer" and key.startswith(KEY_PREFIX) else None


def bearer_token(authorization: str | None) -> str:
    """The token in an `Authorization` header (RFC 6750)."""
    if not authorization:
        raise Unauthenticated("Send a Firebase ID token: `Authorization: Bearer <token>`.")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header should read `Bearer <Firebase ID token>`.")
    return token.strip()
