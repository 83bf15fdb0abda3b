"""Firebase Auth as it stands below `app.api.firebase_tokens`: users, what their tokens say, and what is true now.

A token says what was true when it was issued. Nothing of it changes when its user is demoted, disabled or deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from app.api.auth import Freshness, Principal, Role, TokenExpired, TokenInvalid, TokenVerifier
from app.kit.errors import Unavailable
from simulation.machine.kernel import Kernel

LEEWAY_S: Final = 5
"""For so long after its end the SDK takes a token."""
_FOR_LONG_S: Final = 3 * 366 * 86_400
"""A client's SDK gets a new token every hour; these stand for all of them."""
_INVALID: Final = "The ID token could not be verified."


@dataclass
class AuthUser:
    """The record of a user. Tokens of before `valid_from_s` are revoked."""

    role: Role = "user"
    disabled: bool = False
    deleted: bool = False
    valid_from_s: int = 0


@dataclass
class Auth:
    """Issues tokens, verifies them, and looks users up."""

    kernel: Kernel
    users: dict[str, AuthUser] = field(default_factory=dict)
    silent_us: int = 0
    """When a look-up was last not answered."""
    found: list[str] = field(default_factory=list)
    """Roles that somebody was shown who does not have them."""
    _issued: dict[str, Mapping[str, object]] = field(default_factory=dict)
    _dice: Random = field(default_factory=lambda: Random(0))

    def issue(self, who: Principal, *, lives_s: int = _FOR_LONG_S) -> str:
        """A new token, which says what is true now. Who is not known yet is signed up with the role of `who`."""
        user = self.users.setdefault(who.uid, AuthUser(who.role))
        now_s = self.kernel.now_us // 1_000_000
        token = f"token.{who.uid.encode().hex()}.{len(self._issued)}"
        self._issued[token] = {
            "uid": who.uid,
            "sub": who.uid,
            "role": user.role,
            "iat": now_s,
            "exp": now_s + lives_s,
            "firebase": {"sign_in_provider": "password"},
        }
        return token

    def revoke(self, uid: str) -> None:
        """Ends all sessions of a user; tokens of this second are revoked as well."""
        self.users[uid].valid_from_s = self.kernel.now_us // 1_000_000 + 1

    def claims(self, token: str) -> Mapping[str, object]:
        """What the signature covers.

        Raises:
            TokenInvalid, TokenExpired: as the SDK says it.
        """
        said = self._issued.get(token)
        if said is None:
            raise TokenInvalid(_INVALID)
        ends_s = said["exp"]
        assert isinstance(ends_s, int)
        if self.kernel.now_us >= (ends_s + LEEWAY_S) * 1_000_000:
            raise TokenExpired("The ID token has expired; refresh it.")
        return said

    def present_role(self, uid: str, issued_s: object) -> object:
        """With `claims`, this makes a `firebase_tokens.TokenSource`."""
        if self.kernel.current is not None and self._dice.random() < self.kernel.faults.unavailable / 2:
            self.silent_us = self.kernel.now_us
            raise Unavailable("Firebase Auth did not answer")
        user = self.users[uid]
        assert isinstance(issued_s, int)
        if user.deleted or user.disabled or issued_s < user.valid_from_s:
            raise TokenInvalid(_INVALID)
        return user.role


@dataclass(frozen=True)
class WatchedTokens:
    """The verifier of one instance, and a look at what it says: whoever is shown a role has it at this moment."""

    verify: TokenVerifier
    auth: Auth

    def __call__(self, token: str, /, *, freshness: Freshness = Freshness.TOKEN) -> Principal:
        who = self.verify(token, freshness=freshness)
        if who.role not in ("user", self.auth.users[who.uid].role):
            self.auth.found.append(f"{who.uid} passes for {who.role}, and is {self.auth.users[who.uid].role}")
        return who
