"""An API key as a value: its text, its document, and whether a text that was sent is this key. Pure.

A key reads `sk-{id}-{secret}`: the id names the document, the secret has 256 random bits. Only a SHA-256 digest of the
whole is stored. A slow hash protects secrets that can be guessed; these cannot be, so it would only cost CPU.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast, get_args

from app.api.auth import KEY_PREFIX, Scope
from app.kit.clock import from_rfc3339, optional_rfc3339, to_rfc3339
from app.kit.stores.documents import Fields, Value, as_map, list_field, optional_time, text_field, unknown

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
MOST_OLDER: Final = 4
"""Older secrets that still count; the next rotation ends the oldest."""
_TEXT: Final = re.compile(re.escape(KEY_PREFIX) + r"([0-9a-z]{26})-[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Older:
    """A digest that was rotated away and counts until then. `others`: what another version of the code wrote of it."""

    digest: str
    until_us: int
    others: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`digest` is of the newest text. `older`: the newest first. Without `expires_us` it never expires.

    `budgets`: micro-credits by window, see `app.credits.core.budgets`.
    """

    id: str
    account: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created_us: int
    expires_us: int | None = None
    rotated_us: int | None = None
    older: tuple[Older, ...] = ()
    budgets: tuple[tuple[str, int], ...] = ()

    def is_text(self, text: str, now_us: int) -> bool:
        """Whether this is the text of the key, or one that was rotated away and still counts."""
        counting = [self.digest, *(one.digest for one in self.older if now_us < one.until_us)]
        given = digest_of(text)
        return any(hmac.compare_digest(given, one) for one in counting)

    def has_expired(self, now_us: int) -> bool:
        """Whether it is no longer good for anything."""
        return self.expires_us is not None and self.expires_us <= now_us


def text_of(id: str, secret: str) -> str:
    """What is shown once."""
    return f"{KEY_PREFIX}{id.removeprefix('key_')}-{secret}"


def id_in(text: str) -> str | None:
    """The id of the key that this text claims to be; None where it has not the form of a key."""
    found = _TEXT.fullmatch(text)
    return f"key_{found[1]}" if found else None


def digest_of(text: str) -> str:
    """What is stored of a key's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def rotated(key: ApiKey, digest: str, now_us: int, overlap_us: int) -> ApiKey:
    """The key with another text. What counted before ends after `overlap_us` at the latest."""
    end_us = now_us + overlap_us
    before = (Older(key.digest, end_us), *key.older)
    ending = [replace(one, until_us=min(one.until_us, end_us)) for one in before]
    kept = tuple(one for one in ending if now_us < one.until_us)[:MOST_OLDER]
    return replace(key, digest=digest, rotated_us=now_us, older=kept)


def path_of(id: str) -> str:
    """Where a key is stored."""
    return f"api_keys/{id}"


def write(key: ApiKey) -> dict[str, Value]:
    """The document."""
    return {
        "account": key.account,
        "name": key.name,
        "scopes": [*key.scopes],
        "budgets": [f"{window}:{amount}" for window, amount in key.budgets],
        "digest": key.digest,
        "created_at": to_rfc3339(key.created_us),
        "expires_at": optional_rfc3339(key.expires_us),
        "rotated_at": optional_rfc3339(key.rotated_us),
        "older": [{**one.others, "digest": one.digest, "until": to_rfc3339(one.until_us)} for one in key.older],
    }


def read(id: str, fields: Fields) -> ApiKey:
    """The value of a document."""
    return ApiKey(
        id=id,
        account=text_field(fields, "account"),
        name=text_field(fields, "name"),
        scopes=_scopes(list_field(fields, "scopes")),
        budgets=tuple(_budget(str(one)) for one in list_field(fields, "budgets")) if "budgets" in fields else (),
        digest=text_field(fields, "digest"),
        created_us=from_rfc3339(text_field(fields, "created_at")),
        expires_us=optional_time(fields, "expires_at"),
        rotated_us=optional_time(fields, "rotated_at"),
        older=tuple(_older(as_map(one)) for one in list_field(fields, "older")),
    )


def _older(stored: Fields) -> Older:
    until_us = from_rfc3339(text_field(stored, "until"))
    return Older(text_field(stored, "digest"), until_us, unknown(stored, ("digest", "until")))


def _budget(stored: str) -> tuple[str, int]:
    window, _, amount = stored.partition(":")
    return window, int(amount)


def _scopes(stored: Sequence[Value]) -> tuple[Scope, ...]:
    # One that a later version of the code gave opens nothing here.
    return cast(tuple[Scope, ...], tuple(one for one in stored if one in SCOPES))
