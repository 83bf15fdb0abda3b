"""A bad or missing variable stops the start with a sentence that names it."""

import base64

import pytest

from app.api.settings import ApiSettings
from app.bonus.settings import BonusSettings
from app.credits.proofs.signing import Signer
from app.credits.settings import CreditsSettings
from app.kit.clock import minutes
from app.kit.environment import BadSetting, Environment, decode_key32
from app.kit.money import credits
from app.models.settings import ModelsSettings, Patience
from app.models.vendors.vendor import PLATFORM, Vendor
from app.settings import Settings

GOOD = {
    "GCLOUD_PROJECT": "demo-credits",
    "FUNCTIONS_EMULATOR": "true",
    "AI_PLATFORM_API_KEY": "key",
    "LEDGER_SIGNING_KEY": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="),
}


def test_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.read(Environment(GOOD))
    assert settings.bonus.amount == credits(1000)
    assert settings.credits.max_reservation == credits(1000)
    assert settings.credits.reservation_expiry_us == minutes(30)
    assert settings.api.origins == frozenset()


def test_every_variable_is_read() -> None:
    """Defaults stand in the code as well: a variable that nobody reads any more would not be missed."""
    retired = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    variables = {
        "CORS_ORIGINS": "https://a.example",
        "API_TIMEOUT_SECONDS": "60",
        "LEDGER_RETIRED_KEYS": retired,
        "MAX_RESERVATION_AMOUNT": "7",
        "RESERVATION_EXPIRY_MINUTES": "5",
        "WELCOME_BONUS_AMOUNT": "9",
        "WELCOME_BONUS_ON_VERIFIED": "2",
        "WELCOME_BONUS_ON_PURCHASE": "3",
        "WELCOME_BONUS_CHECKS": "off",
        "WELCOME_BONUS_MIN_AGE_MINUTES": "4",
        "AI_PLATFORM_BASE_URL": "https://models.example/v1/",
        "MODEL_FIRST_TOKEN_SECONDS": "7",
        "MODEL_SILENCE_SECONDS": "8",
        "MODEL_CIRCUIT_FAILURES": "6",
    }
    settings = Settings.read(Environment({**GOOD, **variables}))
    assert settings.api == ApiSettings(frozenset({"https://a.example"}), timeout_s=60)
    assert settings.credits == CreditsSettings(bytes(32), (retired,), credits(7), minutes(5))
    assert settings.bonus == BonusSettings(credits(9), credits(2), credits(3), checks=False, min_age_us=minutes(4))
    patience = Patience(first_s=7, idle_s=8, tick_s=4)
    platform = Vendor(PLATFORM, "Platform", "https://models.example/v1", "AI_PLATFORM_API_KEY", "key")
    assert settings.models == ModelsSettings({PLATFORM: platform}, patience=patience, circuit_failures=6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AI_PLATFORM_API_KEY", ""),
        ("AI_PLATFORM_API_KEY", "two words"),
        ("MODEL_VENDORS", "no/such/file.toml"),
        ("MODEL_VENDORS", __file__),
        ("AI_PLATFORM_BASE_URL", "api.example.com"),
        ("LEDGER_SIGNING_KEY", ""),
        ("LEDGER_SIGNING_KEY", "c2hvcnQ"),
        ("WELCOME_BONUS_AMOUNT", "1e3"),
        ("WELCOME_BONUS_AMOUNT", "-5"),
        ("WELCOME_BONUS_ON_VERIFIED", "1000.5"),
        ("WELCOME_BONUS_CHECKS", "maybe"),
        ("RESERVATION_EXPIRY_MINUTES", "0"),
        ("RESERVATION_EXPIRY_MINUTES", "soon"),
        ("MAX_RESERVATION_AMOUNT", "much"),
        ("LEDGER_RETIRED_KEYS", "c2hvcnQ"),
        ("LEDGER_RETIRED_KEYS", "not base64!"),
        ("MODEL_CATALOGUE", "no/such/file.toml"),
        ("MODEL_CATALOGUE", __file__),
        ("API_TIMEOUT_SECONDS", "59"),
        ("API_TIMEOUT_SECONDS", "301"),
        ("MODEL_FIRST_TOKEN_SECONDS", "301"),
        ("MODEL_SILENCE_SECONDS", "301"),
        ("MODEL_CIRCUIT_FAILURES", "1"),
        ("API_TIMEOUT_SECONDS", "9" * 5_000),
        ("AI_PLATFORM_BASE_URL", "http://[::1"),
        ("AI_PLATFORM_BASE_URL", "https://"),
        ("GCLOUD_PROJECT", ""),
        ("CORS_ORIGINS", "https://app.example/"),
        ("CORS_ORIGINS", "https://App.example"),
        ("CORS_ORIGINS", "https://app.example:443"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://app.example *"),
    ],
)
def test_the_sentence_names_the_variable(name: str, value: str) -> None:
    """T-116: it is found at the start, and is nobody else's error."""
    with pytest.raises(BadSetting, match=name):
        Settings.read(Environment({**GOOD, name: value}))


def test_origins_are_those_that_browsers_send() -> None:
    env = Environment({**GOOD, "CORS_ORIGINS": "https://a.example:8443, http://127.0.0.1:5173 capacitor://localhost"})
    assert len(Settings.read(env).api.origins) == 3


def test_the_project_may_come_from_firebase_config() -> None:
    env = {**GOOD, "GCLOUD_PROJECT": "", "FIREBASE_CONFIG": '{"projectId": "live"}'}
    assert Settings.read(Environment(env)).deployment.project == "live"


@pytest.mark.parametrize(
    "name", ["FIREBASE_AUTH_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST"]
)
def test_a_deployed_function_refuses_an_emulator(name: str) -> None:
    env = {**GOOD, "FUNCTIONS_EMULATOR": "", "K_SERVICE": "api", name: "127.0.0.1:9099"}
    with pytest.raises(BadSetting, match=name):
        Settings.read(Environment(env))


@pytest.mark.parametrize("padding", ["", "=", "=="])
def test_a_retired_key_is_one_key_however_it_is_padded(padding: str) -> None:
    """Its id is a hash of its text, so the text is made anew."""
    key = base64.urlsafe_b64encode(b"\xff" * 32).decode().rstrip("=")
    assert Settings.read(Environment({**GOOD, "LEDGER_RETIRED_KEYS": key + padding})).credits.retired_keys == (key,)


def test_the_key_that_signs_is_not_retired() -> None:
    own = Signer(decode_key32("LEDGER_SIGNING_KEY", GOOD["LEDGER_SIGNING_KEY"])).public
    with pytest.raises(BadSetting, match="LEDGER_RETIRED_KEYS"):
        Settings.read(Environment({**GOOD, "LEDGER_RETIRED_KEYS": own}))
