"""What a deployment decides about its HTTP edge."""

from typing import NamedTuple

from app.kit.deployment import LONGEST_REQUEST_S
from app.kit.environment import Environment


class ApiSettings(NamedTuple):
    """`origins`: web origins whose pages may call the API; empty for any. `timeout_s`: when a request is killed.
    `relay_header`: in which header a relay (Firebase Hosting) tells its client's address; None where there is none.
    """

    origins: frozenset[str] = frozenset()
    timeout_s: int = LONGEST_REQUEST_S
    relay_header: str | None = "Fastly-Client-IP"

    @classmethod
    def read(cls, env: Environment) -> "ApiSettings":
        """Raises `BadSetting`."""
        return cls(
            origins=env.origins("CORS_ORIGINS", "*"),
            timeout_s=env.whole("API_TIMEOUT_SECONDS", LONGEST_REQUEST_S, at_least=60, at_most=LONGEST_REQUEST_S),
            relay_header=None if (name := env.text("RELAY_ADDRESS_HEADER", "Fastly-Client-IP")) == "none" else name,
        )
