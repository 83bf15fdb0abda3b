"""Unsigned tokens as the Auth emulator and the SDK's mocks make them."""

from base64 import urlsafe_b64encode

from rtdb_emulator.json_text import Json, dumps


def token(uid: str = "alice", **claims: Json) -> str:
    """An ID token of `alg: none`; by default with the mock's times, which lie in 1970."""
    header: Json = {"alg": "none", "type": "JWT"}
    payload: dict[str, Json] = {
        "iat": 0,
        "exp": 3600,
        "sub": uid,
        "user_id": uid,
        "firebase": {"sign_in_provider": "custom", "identities": {}},
    }
    return f"{_part(header)}.{_part(payload | claims)}."


def _part(value: Json) -> str:
    return urlsafe_b64encode(dumps(value)).decode().rstrip("=")
