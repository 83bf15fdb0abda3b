"""Reads variables of the environment strictly: a missing or wrong value is one sentence that names the variable.

Each feature has a `settings.py` that reads its own variables through `Environment`. `app.settings` reads all of them
when a deployed instance starts, so that a bad value stops the start instead of failing a request.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from app.kit.errors import Failure
from app.kit.money import MICRO_PER_CREDIT, Micro, from_decimal

_ORIGIN: Final = re.compile(r"(?!.*(?:http:.*:80|https:.*:443)$)[a-z][a-z0-9+.-]*://[a-z0-9.:[\]_-]+", re.ASCII)

_HEADER_WORD: Final = re.compile(r"[!-~]+", re.ASCII)
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


class BadSetting(Failure):
    """A variable of the environment is missing or makes no sense. The message names it."""


class Environment(NamedTuple):
    """The variables of one process. Every method raises `BadSetting` for a value that it cannot accept."""

    variables: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        """The value without surrounding blanks; an empty one counts as missing."""
        return self.variables.get(name, "").strip() or default

    def required(self, name: str) -> str:
        """A value that has no default."""
        value = self.text(name, "")
        if not value:
            raise BadSetting(f"{name} is not set; functions/.env.example says what it is")
        return value

    def words(self, name: str, default: str) -> tuple[str, ...]:
        """A list, separated by blanks or commas."""
        return tuple(self.text(name, default).replace(",", " ").split())

    def names(self, name: str) -> tuple[str, ...]:
        """A list of names of variables, by default an empty one."""
        words = self.words(name, "")
        for word in words:
            if not _NAME.fullmatch(word):
                raise BadSetting(f"{name} should hold names such as EXAMPLE_API_KEY, not {word[:80]!r}")
        return words

    def url(self, name: str, default: str) -> str:
        """An http or https address without a trailing slash."""
        value = self.text(name, default).rstrip("/")
        if not is_address(value):
            raise BadSetting(f"{name} should be a URL that starts with https:// and names a host, and is {value!r}")
        return value

    def credential(self, name: str) -> str:
        """A key that is sent in a header, empty when there is none. The message never shows it."""
        value = self.text(name, "")
        if value and not _HEADER_WORD.fullmatch(value):
            raise BadSetting(f"{name} should be a key without blanks, of the characters that stand in a header")
        return value

    def origins(self, name: str, default: str) -> frozenset[str]:
        """Web origins as browsers send them (RFC 6454): no path, lower case, no default port. Empty for `*`, any."""
        words = self.words(name, default)
        if words == ("*",):
            return frozenset()
        for word in words:
            if not _ORIGIN.fullmatch(word):
                raise BadSetting(f"{name} should be * or origins such as https://app.example, not {word[:80]!r}")
        return frozenset(words)

    def whole(self, name: str, default: int, *, at_least: int, at_most: int = 999_999_999) -> int:
        """A whole number."""
        text = self.text(name, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not at_least <= int(text) <= at_most:
            bounds = f"of at least {at_least}" if at_most == 999_999_999 else f"from {at_least} to {at_most}"
            raise BadSetting(f"{name} should be a whole number {bounds}, and is {text[:20]!r}")
        return int(text)

    def credits(self, name: str, default: str) -> Micro:
        """An amount of credits, as micro-credits."""
        try:
            value = from_decimal(self.text(name, default))
        except Failure as error:
            raise BadSetting(f"{name} should be an amount of credits such as 1000 or 12.5: {error}") from error
        if not 0 <= value <= 1_000_000 * MICRO_PER_CREDIT:
            raise BadSetting(f"{name} should lie between 0 and 1000000 credits")
        return value

    def switch(self, name: str, default: str) -> bool:
        """`on` or `off`."""
        text = self.text(name, default)
        if text not in ("on", "off"):
            raise BadSetting(f"{name} should be on or off, and is {text!r}")
        return text == "on"

    def key32(self, name: str) -> bytes:
        """32 secret bytes in base64url."""
        return decode_key32(name, self.required(name))


def is_address(url: str) -> bool:
    """Whether it is an http or https address of a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def decode_key32(name: str, text: str) -> bytes:
    """32 bytes of a key, given as base64url with or without padding.

    Raises:
        BadSetting: it is something else; the message names the variable and never shows the value.
    """
    try:
        key = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSetting(f"{name} should be 32 bytes in base64url") from error
    if len(key) != 32:
        raise BadSetting(f"{name} should be 32 bytes in base64url, and has {len(key)}")
    return key
