"""Real verification: RSA signatures against published certificates, as in production and never on the emulator.

It runs in its own process, because a Firebase app is per process; its certificates come from a server of this test.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from app.api.auth import Principal, TokenInvalid
from app.api.firebase_tokens import MOST_REMEMBERED, REMEMBERED_US, FirebaseTokens, principal
from support.clock import ManualClock

FUNCTIONS = Path(__file__).parents[2] / "functions"
NOW = int(time.time())
CLAIMS = {
    "iss": "https://securetoken.google.com/demo-credits",
    "aud": "demo-credits",
    "sub": "alice",
    "iat": NOW - 60,
    "exp": NOW + 3600,
    "auth_time": NOW - 60,
    "email": "a@example.com",
    "email_verified": True,
    "role": "support",
    "firebase": {"sign_in_provider": "password"},
}
SCRIPT = """
import json, os, sys
from firebase_admin import _token_gen
_token_gen.ID_TOKEN_CERT_URI = os.environ["CERTIFICATES"]
from app.api.firebase_tokens import FirebaseTokens
from app.kit.clock import SystemClock
from app.kit.errors import Failure
from app.outside import firebase
os.environ["GOOGLE_CLOUD_PROJECT"] = "demo-credits"
firebase(on_emulator=True)
verify = FirebaseTokens(SystemClock())
for token in json.load(sys.stdin):
    try:
        who = verify(token)
        print(json.dumps([who.uid, who.role, who.email, who.email_verified, who.sign_in_provider]))
    except Failure as failure:
        print(json.dumps(failure.code))
"""
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def encode(part: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def token(
    *, key: rsa.RSAPrivateKey = KEY, header: Mapping[str, object] | None = None, without: str = "", **changes: object
) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if name != without}
    signed = f"{encode({'alg': 'RS256', 'kid': 'one', 'typ': 'JWT', **(header or {})})}.{encode(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.fixture(scope="module")
def certificates() -> Iterator[tuple[str, list[str]]]:
    """The address of the certificates, and the requests that were made for them."""
    published = json.dumps({"one": certificate()}).encode()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Cache-Control", "public, max-age=3600")
            self.send_header("Content-Length", str(len(published)))
            self.end_headers()
            self.wfile.write(published)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/certificates", asked
    server.shutdown()


def verify(tokens: list[str], address: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(tokens),
        cwd=FUNCTIONS,
        env={"PATH": os.environ["PATH"], "CERTIFICATES": address},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestProductionTokens:
    def test_that_are_signed_by_google_for_us_are_believed(self, certificates: tuple[str, list[str]]) -> None:
        good = token()
        seen = verify([good, good, token(role="root"), token(without="email")], certificates[0])
        assert seen[0] == seen[1] == ["alice", "support", "a@example.com", True, "password"]
        assert seen[2][1] == "user"
        assert seen[3][2] is None
        assert len(certificates[1]) == 1

    def test_that_are_anything_else_are_not(self, certificates: tuple[str, list[str]]) -> None:
        header, claims, signature = token().split(".")
        wrong = {
            "another key": token(key=OTHER_KEY),
            "no signature": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
            "none with a key id": f"{encode({'alg': 'none', 'kid': 'one'})}.{claims}.",
            "another algorithm": token(header={"alg": "HS256"}),
            "an unknown key": token(header={"kid": "two"}),
            "other claims under the same signature": f"{header}.{encode({**CLAIMS, 'role': 'admin'})}.{signature}",
            "another project": token(aud="other"),
            "another issuer": token(iss="https://securetoken.google.com/other"),
            "nobody": token(sub=""),
            "no subject": token(without="sub"),
            "a subject that is too long": token(sub="x" * 129),
            "issued tomorrow": token(iat=NOW + 86400),
            "no token": "x",
            "two parts": f"{header}.{claims}",
        }
        assert dict(zip(wrong, verify([*wrong.values()], certificates[0]))) == dict.fromkeys(wrong, "token_invalid")

    def test_that_were_good_once_are_told_apart(self, certificates: tuple[str, list[str]]) -> None:
        assert verify([token(exp=NOW - 60, iat=NOW - 4000)], certificates[0]) == ["token_expired"]

    def test_without_certificates_nobody_is_called_a_liar(self) -> None:
        assert verify([token()], "http://127.0.0.1:9/certificates") == ["unavailable"]


class TestClaims:
    def test_without_a_user_are_no_principal(self) -> None:
        with pytest.raises(TokenInvalid):
            principal({"role": "admin"})

    @pytest.mark.parametrize("role", ["root", "", None, 1, ["admin"], {"admin": True}])
    def test_of_an_unknown_role_give_none(self, role: object) -> None:
        assert principal({"uid": "alice", "role": role}) == Principal("alice", "user")


class Issuer:
    """Tokens that consist of the uid and their lifetime in seconds; counts how often they are verified."""

    def __init__(self, clock: ManualClock) -> None:
        self._began = clock.now_us() // 1_000_000
        self.asked = 0

    def __call__(self, token: str, fresh: bool) -> Mapping[str, object]:
        self.asked += 1
        uid, _, lives_s = token.partition("/")
        return {"uid": uid, "exp": self._began + int(lives_s), "role": "user" if fresh else "admin"}


class TestWhatIsRemembered:
    def test_is_a_verdict_for_some_minutes(self) -> None:
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        assert [tokens("alice/3600").uid for _ in range(3)] == ["alice"] * 3
        assert issuer.asked == 1
        clock.advance(us=REMEMBERED_US)
        tokens("alice/3600")
        assert issuer.asked == 2

    def test_is_forgotten_when_the_token_ends(self) -> None:
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        tokens("alice/60")
        clock.advance(seconds=60)
        tokens("alice/60")
        assert issuer.asked == 2

    def test_does_not_count_where_the_present_role_is_asked_for(self) -> None:
        """T-95"""
        clock = ManualClock()
        tokens = FirebaseTokens(clock, Issuer(clock))
        assert tokens("root/3600").role == "admin"
        assert tokens("root/3600", fresh=True).role == "user"
        assert tokens("root/3600").role == "admin"

    def test_is_never_another_tokens(self) -> None:
        clock = ManualClock()
        tokens = FirebaseTokens(clock, Issuer(clock))
        assert [tokens(token).uid for token in ("alice/9", "bob/9", "alice/9")] == ["alice", "bob", "alice"]

    def test_is_bounded(self) -> None:
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        for number in range(MOST_REMEMBERED + 1):
            tokens(f"user-{number}/3600")
        tokens(f"user-{MOST_REMEMBERED}/3600")
        assert issuer.asked == MOST_REMEMBERED + 1
        tokens("user-0/3600")
        assert issuer.asked == MOST_REMEMBERED + 2
