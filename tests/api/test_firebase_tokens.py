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
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from app.api import firebase_tokens
from app.api.auth import Freshness, Principal, TokenInvalid
from app.api.firebase_tokens import (
    LEEWAY_S,
    MOST_REMEMBERED,
    RECENT_US,
    REMEMBERED_US,
    SILENT_US,
    FirebaseAuth,
    FirebaseTokens,
    principal,
)
from app.kit.errors import Unavailable
from app.kit.google.users import UserRecord
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
from datetime import UTC, datetime
from firebase_admin import _token_gen
from google.auth import _helpers
if "NOW" in os.environ:
    _helpers.utcnow = lambda: datetime.fromtimestamp(int(os.environ["NOW"]), UTC).replace(tzinfo=None)
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


def verify(tokens: list[str], address: str, **environment: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(tokens),
        cwd=FUNCTIONS,
        env={"PATH": os.environ["PATH"], "CERTIFICATES": address, **environment},
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
        assert seen[0] == seen[1] == ["alice", "user", "a@example.com", True, "password"], "a role is looked up"
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

    @pytest.mark.parametrize("ahead_s", [-LEEWAY_S, -1, 0, 1, LEEWAY_S])
    def test_count_though_our_clock_is_some_seconds_off(
        self, certificates: tuple[str, list[str]], ahead_s: int
    ) -> None:
        """T-122: of a token that begins now and one that ends now, both signs of the difference."""
        ours = str(NOW + ahead_s)
        begins, ends = token(iat=NOW, auth_time=NOW), token(iat=NOW - 3600, exp=NOW + 1)
        assert [told[0] for told in verify([begins, ends], certificates[0], NOW=ours)] == ["alice", "alice"]

    def test_count_no_longer_when_it_is_more_than_that(self, certificates: tuple[str, list[str]]) -> None:
        """T-122"""
        begins, ends = token(iat=NOW, auth_time=NOW), token(iat=NOW - 3600, exp=NOW)
        assert verify([begins], certificates[0], NOW=str(NOW - LEEWAY_S - 1)) == ["token_invalid"]
        assert verify([ends], certificates[0], NOW=str(NOW + LEEWAY_S + 1)) == ["token_expired"]

    def test_without_certificates_nobody_is_called_a_liar(self) -> None:
        assert verify([token()], "http://127.0.0.1:9/certificates") == ["unavailable"]


class TestClaims:
    def test_without_a_user_are_no_principal(self) -> None:
        with pytest.raises(TokenInvalid):
            principal({"role": "admin"})

    @pytest.mark.parametrize("role", ["root", "", None, 1, ["admin"], {"admin": True}])
    def test_of_an_unknown_role_give_none(self, role: object) -> None:
        assert principal({"uid": "alice", "role": role}) == Principal("alice", "user")


class TestALookUp:
    """T-95: whom the present record of a user lets in. Who signs in again in the second of a revocation comes in."""

    @pytest.mark.parametrize(
        ("issued", "record", "comes_in"),
        [
            (NOW, UserRecord(disabled=False, valid_since_s=NOW, role="admin"), True),
            (NOW - 1, UserRecord(disabled=False, valid_since_s=NOW, role="admin"), False),
            (NOW + 1, UserRecord(disabled=True, valid_since_s=NOW, role="admin"), False),
            (NOW + 1, None, False),
            (None, UserRecord(disabled=False, valid_since_s=0, role="admin"), False),
        ],
        ids=["in the second of a revocation", "the second before", "disabled", "gone", "of no time"],
    )
    def test_refuses_whose_token_counts_no_more(
        self, monkeypatch: pytest.MonkeyPatch, issued: int | None, record: UserRecord | None, comes_in: bool
    ) -> None:
        monkeypatch.setattr(firebase_tokens, "_users", lambda: SimpleNamespace(find=lambda _: record))
        if comes_in:
            assert FirebaseAuth().present_role("alice", issued) == "admin"
        else:
            with pytest.raises(TokenInvalid):
                FirebaseAuth().present_role("alice", issued)


class Issuer:
    """Tokens that consist of the uid and their lifetime in seconds; counts how often they are verified, and how often
    a user is looked up. Everybody was an admin when the token was made, and only `admins` still are.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._began = clock.now_us() // 1_000_000
        self.asked = self.looked_up = 0
        self.admins: set[str] = set()
        self.disabled: set[str] = set()
        self.silent = False

    def claims(self, token: str) -> Mapping[str, object]:
        self.asked += 1
        uid, _, lives_s = token.partition("/")
        return {"uid": uid, "exp": self._began + int(lives_s), "iat": self._began, "role": "admin"}

    def present_role(self, uid: str, issued_s: object) -> object:
        self.looked_up += 1
        assert issued_s == self._began
        if self.silent:
            raise Unavailable("Firebase Auth did not answer")
        if uid in self.disabled:
            raise TokenInvalid("The ID token could not be verified.")
        return "admin" if uid in self.admins else "user"


class Meeting(Issuer):
    """An issuer whose look-up waits a moment for another one."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self._another = threading.Event()

    def present_role(self, uid: str, issued_s: object) -> object:
        if self.looked_up:
            self._another.set()
        try:
            return super().present_role(uid, issued_s)
        finally:
            self._another.wait(0.05)


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

    def test_is_never_a_role(self) -> None:
        """T-95: what a token says of the role is shown to nobody."""
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        assert tokens("root/3600").role == tokens("root/3600", freshness=Freshness.RECENT).role == "user"
        issuer.admins.add("root")
        assert tokens("root/3600", freshness=Freshness.NOW).role == "admin"
        assert tokens("root/3600").role == tokens("root/3600", freshness=Freshness.RECENT).role == "user"
        issuer.admins.clear()
        assert tokens("root/3600", freshness=Freshness.NOW).role == "user"

    def test_of_a_user_who_spends_is_a_minute_old_at_most(self) -> None:
        """T-95: one look-up a minute and user, and none for who only reads."""
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        tokens("alice/3600")
        assert issuer.looked_up == 0
        for _ in range(5):
            tokens("alice/3600", freshness=Freshness.RECENT)
        assert issuer.looked_up == 1
        issuer.disabled.add("alice")
        clock.advance(us=RECENT_US - 1)
        tokens("alice/3600", freshness=Freshness.RECENT)
        clock.advance(us=1)
        with pytest.raises(TokenInvalid):
            tokens("alice/3600", freshness=Freshness.RECENT)
        assert tokens("alice/3600").uid == "alice"

    def test_ends_with_the_token_though_its_user_was_looked_up_meanwhile(self) -> None:
        clock = ManualClock()
        issuer = Issuer(clock)
        tokens = FirebaseTokens(clock, issuer)
        tokens("alice/90", freshness=Freshness.RECENT)
        clock.advance(us=RECENT_US)
        tokens("alice/90", freshness=Freshness.RECENT)
        assert (issuer.asked, issuer.looked_up) == (1, 2)
        clock.advance(seconds=30)
        tokens("alice/90", freshness=Freshness.RECENT)
        assert issuer.asked == 2, "the token has ended, and its source decides"

    def test_must_do_while_auth_does_not_answer(self) -> None:
        """Whoever spends is served by the token alone, and Auth is asked again a minute later; roles need an answer."""
        clock = ManualClock()
        issuer = Issuer(clock)
        issuer.silent = True
        tokens = FirebaseTokens(clock, issuer)
        assert [tokens("alice/3600", freshness=Freshness.RECENT).uid for _ in range(3)] == ["alice"] * 3
        assert issuer.looked_up == 1
        with pytest.raises(Unavailable):
            tokens("alice/3600", freshness=Freshness.NOW)
        issuer.silent = False
        issuer.disabled.add("alice")
        clock.advance(us=RECENT_US)
        with pytest.raises(TokenInvalid):
            tokens("alice/3600", freshness=Freshness.RECENT)

    def test_after_a_silence_nobody_waits_for_auth_until_half_a_minute_is_over(self) -> None:
        """Otherwise each user waits for it once a minute, and eighty of them hold an instance."""
        clock = ManualClock()
        issuer = Issuer(clock)
        issuer.silent = True
        tokens = FirebaseTokens(clock, issuer)
        for name in ("alice", "bob", "carol"):
            assert tokens(f"{name}/3600", freshness=Freshness.RECENT).uid == name
        assert issuer.looked_up == 1
        issuer.silent = False
        clock.advance(us=SILENT_US)
        tokens("dave/3600", freshness=Freshness.RECENT)
        assert issuer.looked_up == 2

    def test_of_many_requests_with_one_token_one_looks_the_user_up(self) -> None:
        """The others have its answer, whatever it is: nobody is served by the token because another was first."""
        clock = ManualClock()
        together = threading.Barrier(4)

        def ask(tokens: FirebaseTokens, name: str) -> str:
            together.wait(10)
            try:
                return tokens(f"{name}/3600", freshness=Freshness.RECENT).uid
            except TokenInvalid:
                return "refused"

        for name, told in (("alice", "alice"), ("mallory", "refused")):
            issuer = Meeting(clock)
            issuer.disabled.add("mallory")
            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(ask, [FirebaseTokens(clock, issuer)] * 4, [name] * 4)) == [told] * 4
            assert issuer.looked_up == 1

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
