"""A bad or missing variable stops the start with a sentence that names it."""

import base64

import pytest

from app.kit.money import credits
from app.kit.settings import BadSetting, Settings

GOOD = {
    "GCLOUD_PROJECT": "demo-credits",
    "FUNCTIONS_EMULATOR": "true",
    "AI_PLATFORM_API_KEY": "key",
    "LEDGER_SIGNING_KEY": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="),
}


def test_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.from_env(GOOD)
    assert settings.welcome_bonus == credits(1000)
    assert settings.max_reservation == credits(1000)
    assert settings.reservation_expiry_minutes == 30
    assert settings.cors_origins == ("*",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AI_PLATFORM_API_KEY", ""),
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
        ("THREADS", "-1"),
        ("GCLOUD_PROJECT", ""),
    ],
)
def test_the_sentence_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings.from_env({**GOOD, name: value})


def test_the_project_may_come_from_firebase_config() -> None:
    env = {**GOOD, "GCLOUD_PROJECT": "", "FIREBASE_CONFIG": '{"projectId": "live"}'}
    assert Settings.from_env(env).project == "live"


@pytest.mark.parametrize(
    "name", ["FIREBASE_AUTH_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST"]
)
def test_a_deployed_function_refuses_an_emulator(name: str) -> None:
    env = {**GOOD, "FUNCTIONS_EMULATOR": "", "K_SERVICE": "api", name: "127.0.0.1:9099"}
    with pytest.raises(BadSetting, match=name):
        Settings.from_env(env)
