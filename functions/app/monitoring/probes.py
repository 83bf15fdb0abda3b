"""Whether a service answers at its address: one HTTP request with the standard library, no SDK, no credentials.

A refusal (401, 404) is an answer: the service is up. Whether our credentials are accepted there is not checked.
"""

import http.client
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from app.kit.errors import Unavailable

_TIMEOUT_S = 1.5


def answers(url: str, *, timeout_s: float = _TIMEOUT_S) -> Callable[[], None]:
    """A probe that raises `Unavailable` when `url` gives no answer, or a 5xx."""
    parts = urlsplit(url)

    def probe() -> None:
        connection = _connect(parts.scheme, parts.netloc, timeout_s)
        try:
            connection.request("GET", parts.path or "/", headers={"Connection": "close"})
            status = connection.getresponse().status
        except TimeoutError as error:
            raise Unavailable(f"no answer within {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("no connection") from error
        finally:
            connection.close()
        if status >= 500:
            raise Unavailable(f"answered {status}")

    return probe


def _connect(scheme: str, netloc: str, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=timeout_s, context=ssl.create_default_context())
    return http.client.HTTPConnection(netloc, timeout=timeout_s)
