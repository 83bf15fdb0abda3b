"""Everything that differs between a laptop, a test and production: read once, checked at once, frozen.

A bad or missing value stops the start with one sentence that names the variable. Nothing else reads the environment.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from app.kit.errors import Failure
from app.kit.money import MICRO_PER_CREDIT, Micro, from_decimal


class BadSetting(Failure):
    """A variable of the environment is missing or makes no sense. The message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment. Amounts are micro-credits; a credit costs USD 0.024 at list price."""

    project: str
    on_emulator: bool
    ai_platform_base_url: str
    ai_platform_api_key: str
    model_catalogue: str | None
    cloud_storage_bucket: str
    ledger_signing_key: bytes
    ledger_retired_keys: str
    welcome_bonus: Micro
    welcome_bonus_on_verified: Micro
    welcome_bonus_on_purchase: Micro
    welcome_bonus_checks: bool
    reservation_expiry_minutes: int
    max_reservation: Micro
    api_timeout_s: int
    cors_origins: tuple[str, ...]
    instance_limit_streams: int

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Reads the environment (the names stand in functions/.env.example).

        Raises:
            BadSetting: the first value that is missing or wrong.
        """
        read = _Environment(os.environ if env is None else env)
        project = read.project()
        on_emulator = read.text("FUNCTIONS_EMULATOR", "") == "true"
        if not on_emulator and read.text("K_SERVICE", ""):
            read.refuse_emulators()
        return cls(
            project=project,
            on_emulator=on_emulator,
            ai_platform_base_url=read.url("AI_PLATFORM_BASE_URL", "https://api.openai.com/v1"),
            ai_platform_api_key=read.required("AI_PLATFORM_API_KEY"),
            model_catalogue=read.text("MODEL_CATALOGUE", "") or None,
            cloud_storage_bucket=read.text("CLOUD_STORAGE_BUCKET", f"{project}.appspot.com"),
            ledger_signing_key=read.signing_key("LEDGER_SIGNING_KEY"),
            ledger_retired_keys=read.text("LEDGER_RETIRED_KEYS", ""),
            **read.bonus(),
            reservation_expiry_minutes=read.whole("RESERVATION_EXPIRY_MINUTES", 30, at_least=1),
            max_reservation=read.credits("MAX_RESERVATION_AMOUNT", "1000"),
            api_timeout_s=read.whole("API_TIMEOUT_SECONDS", 300, at_least=10),
            cors_origins=tuple(read.text("CORS_ORIGINS", "*").replace(",", " ").split()),
            instance_limit_streams=read.whole("THREADS", 80, at_least=1),
        )


class _Bonus(TypedDict):
    welcome_bonus: Micro
    welcome_bonus_on_verified: Micro
    welcome_bonus_on_purchase: Micro
    welcome_bonus_checks: bool


class _Environment:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, default: str) -> str:
        return self._env.get(name, "").strip() or default

    def required(self, name: str) -> str:
        value = self.text(name, "")
        if not value:
            raise BadSetting(f"{name} is not set; functions/.env.example says what it is")
        return value

    def url(self, name: str, default: str) -> str:
        value = self.text(name, default).rstrip("/")
        if not value.startswith(("https://", "http://")):
            raise BadSetting(f"{name} should be a URL that starts with https://, and is {value!r}")
        return value

    def whole(self, name: str, default: int, *, at_least: int) -> int:
        text = self.text(name, str(default))
        if not text.isascii() or not text.isdigit() or int(text) < at_least:
            raise BadSetting(f"{name} should be a whole number of at least {at_least}, and is {text!r}")
        return int(text)

    def credits(self, name: str, default: str) -> Micro:
        try:
            value = from_decimal(self.text(name, default))
        except Failure as error:
            raise BadSetting(f"{name} should be an amount of credits such as 1000 or 12.5: {error}") from error
        if not 0 <= value <= 1_000_000 * MICRO_PER_CREDIT:
            raise BadSetting(f"{name} should lie between 0 and 1000000 credits")
        return value

    def bonus(self) -> _Bonus:
        """The later steps are parts of the whole; the rest is given when the account opens."""
        whole = self.credits("WELCOME_BONUS_AMOUNT", "1000")
        verified = self.credits("WELCOME_BONUS_ON_VERIFIED", "0")
        purchase = self.credits("WELCOME_BONUS_ON_PURCHASE", "0")
        if verified + purchase > whole:
            raise BadSetting("WELCOME_BONUS_ON_VERIFIED and _ON_PURCHASE together are more than WELCOME_BONUS_AMOUNT")
        return {
            "welcome_bonus": whole,
            "welcome_bonus_on_verified": verified,
            "welcome_bonus_on_purchase": purchase,
            "welcome_bonus_checks": self.switch("WELCOME_BONUS_CHECKS", "on"),
        }

    def switch(self, name: str, default: str) -> bool:
        text = self.text(name, default)
        if text not in ("on", "off"):
            raise BadSetting(f"{name} should be on or off, and is {text!r}")
        return text == "on"

    def signing_key(self, name: str) -> bytes:
        text = self.required(name)
        try:
            seed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError) as error:
            raise BadSetting(f"{name} should be 32 random bytes in base64url") from error
        if len(seed) != 32:
            raise BadSetting(f"{name} should be 32 random bytes in base64url, and has {len(seed)}")
        return seed

    def project(self) -> str:
        direct = self.text("GCLOUD_PROJECT", "") or self.text("GOOGLE_CLOUD_PROJECT", "")
        if direct:
            return direct
        try:
            config = json.loads(self.text("FIREBASE_CONFIG", "{}"))
        except json.JSONDecodeError as error:
            raise BadSetting("FIREBASE_CONFIG is not JSON") from error
        if not isinstance(config, dict) or not config.get("projectId"):
            raise BadSetting("GCLOUD_PROJECT is not set, and FIREBASE_CONFIG names no project")
        return str(config["projectId"])

    def refuse_emulators(self) -> None:
        """A deployed function that believed an emulator would accept forged tokens (PLATFORM section 3)."""
        for name in ("FIREBASE_AUTH_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST"):
            if self.text(name, ""):
                raise BadSetting(f"{name} is set in a deployed function; remove it")
