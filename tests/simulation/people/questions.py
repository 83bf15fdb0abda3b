"""What odd clients send: each request with the statuses that it may be answered with.

Texts for ids, dates, amounts and cursors are the odd ones that were met in the wild or are known to break others.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final
from urllib.parse import quote

from simulation.edge import HttpRequest
from simulation.people.door import CALL, Heard
from support.bodies import Counted

JSON, CSV, EVENTS = "application/json", "text/csv", "text/event-stream"
NOBODY: Final = 80 * 1024
"""A route takes 16 KiB of whom it does not know, and streams are read in pieces of 64 KiB."""

_NO_IDS: Final = (
    *("a/b", "user0/entries/000000000001", ".", "..", "../accounts/user0", "__x__", "__", "x" * 2_000, "", " "),
    *("a\0b", "a\n", "a\x7f", "a.b$c#d[e]", "a%2Fb", "a%2F..%2Fb", "łódź", "🙂", "a|b", "\u202ea"),
)
_ID_PLACES: Final = (
    ("GET", "/v1/chat/conversations/{}", "odd"),
    ("DELETE", "/v1/chat/conversations/{}", "odd"),
    ("POST", "/v1/chat/messages/{}/cancel", "odd"),
    ("GET", "/v1/credits/receipts/{}", "odd"),
    ("GET", "/v1/credits/verify/{}", "odd"),
    ("GET", "/v1/orchestration/operations/{}", "clerk"),
    ("POST", "/v1/orchestration/operations/{}/cancel", "clerk"),
    ("POST", "/v1/orchestration/dead-letters/{}/replay", "clerk"),
    ("GET", "/v1/orchestration/sagas/{}", "clerk"),
    ("POST", "/v1/orchestration/sagas/{}/cancel", "clerk"),
    ("GET", "/v1/credits/corrections/{}", "clerk"),
    ("POST", "/v1/credits/corrections/{}/approve", "clerk"),
)
_ID_FIELDS: Final[Sequence[tuple[str, Mapping[str, str], str, str]]] = (
    ("/v1/credits/repair", {}, "uid", "clerk"),
    ("/v1/credits/corrections", {"reason": "a mistake", "amount": "1"}, "uid", "clerk"),
    ("/v1/credits/release-reservation", {}, "reservation_id", "odd"),
)
_NO_USERS: Final = ("a/b", ".", "..", "../accounts/user0", "__x__", "x" * 2_000, "", "a\0b", "a\n", "a.b$c#d[e]")
"""Of all kinds, ids of users are the freest."""
UNUSABLE: Final = (
    "a.b",
    "ann.lee",
    "a/b",
    "__x__",
    "a#b",
    "user0/entries/000000000001",
    "a[0]",
    "..",
    "a\n",
    "z" * 129,
)
"""Users whom a custom token or an import may name, and who cannot be a path in both databases."""

_TIMES: Final = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000001Z", "0001-01-30T00:00:00Z", "1969-12-31T23:59:59.999999Z"),
    *("2026-11-21t08:30:00.123456789z", "2016-12-31T23:59:60Z", "9999-12-31T23:59:59.999999Z", "2027-01-15T24:00:00Z"),
    *("9999-12-31T00:00:00-23:59", "0001-01-01T00:00:00+23:59", "0000-00-00T00:00:00Z", "2027-01-15", "now", "٣"),
)
_DATED: Final = (
    *("/v1/credits/analytics?to={}", "/v1/credits/analytics?from={}", "/v1/credits/analytics?granularity=month&to={}"),
    *("/v1/credits/history?to={}", "/v1/credits/history?from={}", "/v1/credits/balance?at={}"),
    *("/v1/credits/audit?from={}", "/v1/credits/audit?to={}"),
)
_AMOUNTS: Final[tuple[object, ...]] = (
    *("", "0", "-1", "1e3", "0.0000001", "NaN", "Infinity", "1_0", "٣", " 1", "1 ", "+1", "01", ".5", "5.", "9" * 400),
    *("99999999999", "1,5", "0x10", None, 5, 0.5, True, [], {}),
)
_WHEN: Final = "2027-01-15T08:00:00.000000Z"
_LISTS: Final = (
    ("/v1/chat/conversations", "odd", (_WHEN, "cnv-1")),
    ("/v1/credits/history", "odd", (5, "txn-1")),
    ("/v1/credits/explain", "odd", (5,)),
    ("/v1/credits/validate-chain", "odd", (1, "f" * 64, 0, 0, _WHEN)),
    ("/v1/orchestration/operations", "clerk", (_WHEN, "op-1")),
    ("/v1/orchestration/sagas", "clerk", (_WHEN, "saga-1")),
    ("/v1/orchestration/audit-log", "clerk", (_WHEN, "aud-1")),
)
"""Lists, who reads them, and a position that one of their cursors could hold."""
_POSITIONS: Final = (0, -1, 2**63, 10**30, 1.5, True, None, "", "a/b", "__x__", "f" * 64, *_TIMES[:3])
_TOOLS: Final = (
    *("x-firebase-appcheck", "traceparent", "tracestate", "baggage", "sentry-trace", "x-cloud-trace-context"),
    *("x-datadog-trace-id", "newrelic", "x-client-version", "firebase-instance-id-token", "x-b3-traceid"),
)
_WISHES: Final = (
    (None, JSON),
    ("*/*", JSON),
    ("image/png", JSON),
    (",,;", JSON),
    ("text/csv;q=0", JSON),
    ("text/csv;q=0.000, */*", JSON),
    ("text/csv;q=0, text/*", JSON),
    ("text/csv;q=0.2, application/json;q=0.3", JSON),
    ("TEXT/CSV; header=present", CSV),
    ("text/csv ; charset=utf-8;Q=0.5", CSV),
    ("text/*", CSV),
    ("application/json;q=0, */*", CSV),
)
"""What a list that is also there as CSV answers."""
_STREAMS: Final = (
    ("text/event-stream;q=0", False),
    ("text/event-stream;q=0, */*", False),
    ("text/event-stream-x, text/html", False),
    ("Text/Event-Stream; charset=utf-8", True),
    ("text/html,text/event-stream;q=0.8", True),
    ("application/json, text/event-stream", True),
)
_BODIES: Final = (
    *(b"{", b'{"amount": "1"} x', b'{"amount": NaN}', b'{"amount": "1", "amount": "2"}', b'{"amount": "\\ud800"}'),
    *(b'{"amount": "\xff"}', b"\xef\xbb\xbf{}", b"[" * 5000, b'"{}"', b"null", b"[]", b"7", b'{"amount": 1e999}'),
)


@dataclass(frozen=True)
class Question:
    """A request of `by` (a uid; None for nobody), and the statuses that may answer it. `reads`: it changes nothing when
    it succeeds either.
    """

    request: HttpRequest
    statuses: Sequence[int]
    by: str | None = "odd"
    reads: bool = True
    wants: str = ""
    """The media type of a success."""
    asks: tuple[str, ...] = ()
    """Headers that a preflight asks for."""
    keeps: bool = False
    """Whether a refusal is kept: a message that the vendor refuses is a turn."""

    def wrong(self, heard: Heard) -> str:
        """What is wrong with the answer; empty when nothing is."""
        if heard.status not in self.statuses and heard.status not in (429, 503):
            return f"was answered {heard.status} {heard.text[:120]}"
        if self.by is None and heard.read > NOBODY:
            return f"made us read {heard.read} bytes of somebody whom we do not know"
        kind = heard.headers.get("Content-Type", "").partition(";")[0]
        if self.wants and heard.status == 200 and kind != self.wants:
            return f"was answered as {kind}"
        wrote = [path for path in heard.wrote if not path.startswith("jobs/")]
        if wrote and not self.keeps and (self.reads or heard.status in (400, 403, 404, 405, 413, 415, 422)):
            return f"was answered {heard.status} and wrote {wrote}"
        return self._of_origins(heard)

    def _of_origins(self, heard: Heard) -> str:
        """What a page needs: the preflight lets every header pass, and what is answered can be read."""
        if "Origin" not in (self.request.headers or {}):
            return ""
        named = {one.strip().lower() for one in heard.headers.get("Access-Control-Allow-Headers", "").split(",")}
        if heard.headers.get("Access-Control-Allow-Origin") != "*" or not {*self.asks} <= named:
            return f"a page may send {sorted(named)}, and needs {self.asks}"
        shown = {one.strip() for one in heard.headers.get("Access-Control-Expose-Headers", "").split(",")}
        return "" if "X-Request-Id" in shown else f"a page may read {sorted(shown)}"


def drawn(random: Random, conversation: str | None) -> Question:
    """Any question. Those about answers need a conversation of `odd`."""
    kinds = [
        _id_of,
        _id_of,
        _id_of,
        _id_in_body,
        _date,
        _date,
        _date,
        _amount,
        _cursor,
        _preflight,
        _page,
        _wish,
        _wish,
        _body,
    ]
    kinds += [_stranger, _stranger, _open_route, _undefined, _no_user]
    if conversation is not None and random.random() < 0.15:
        return _answer(random, conversation)
    return random.choice(kinds)(random)


def _id_of(random: Random) -> Question:
    method, path, by = random.choice(_ID_PLACES)
    body = b'{"reason": "x"}' if method == "POST" and by == "clerk" else b""
    return Question(HttpRequest(method, path.format(random.choice(_NO_IDS)), body=body), (404, 405, 422), by)


def _id_in_body(random: Random) -> Question:
    path, body, name, by = random.choice(_ID_FIELDS)
    text = random.choice(_NO_USERS if name == "uid" else _NO_IDS)
    return Question(HttpRequest("POST", path, body=json.dumps({**body, name: text}).encode()), (404, 422), by)


def _date(random: Random) -> Question:
    time = random.choice(random.choice((_TIMES, _TIMES[:3])))
    path, _, query = random.choice(_DATED).format(quote(time)).partition("?")
    return Question(HttpRequest("GET", path, query=query), (200, 404, 422), reads=False)


def _amount(random: Random) -> Question:
    body = {"amount": random.choice(_AMOUNTS), "purpose": "x", "expires_in": 60}
    path = random.choice(("/v1/credits/reserve", "/v1/credits/check-insufficient"))
    if path.endswith("insufficient"):
        body = {"amount": body["amount"]}
    return Question(HttpRequest("POST", path, body=json.dumps(body).encode()), (200, 402, 422, 429), reads=False)


def _cursor(random: Random) -> Question:
    path, by, fitting = random.choice(_LISTS)
    position = random.choice((fitting, random.choices(_POSITIONS, k=random.randrange(5))))
    parts = [1, path.rpartition("/")[2], "0" * 16, *position]
    made = json.dumps(parts, separators=(",", ":"))
    text = random.choice((made, made, made, "[" * 200, "9" * 500, "\ud800", "{}", "null"))
    cursor = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    return Question(HttpRequest("GET", path, query=f"cursor={cursor}"), (422,), by, reads=False)


def _preflight(random: Random) -> Question:
    asks = (*random.sample(_TOOLS, 3), "authorization", "content-type", "idempotency-key")
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ",".join(asks),
    }
    request = HttpRequest("OPTIONS", "/api/v1/credits/reserve", headers=headers)
    return Question(request, (204,), None, asks=asks)


def _page(random: Random) -> Question:
    headers = {"Origin": "https://shop.example", **dict.fromkeys(random.sample(_TOOLS, 2), "00-1-2-3")}
    path = random.choice(("/v1/credits/balance", "/v1/nowhere", "/v1/credits/history"))
    return Question(HttpRequest("GET", path, headers=headers), (200, 404), reads=False)


def _wish(random: Random) -> Question:
    accept, wants = random.choice(_WISHES)
    headers = {} if accept is None else {"Accept": accept}
    path = random.choice(("/v1/credits/history", "/v1/credits/analytics"))
    return Question(HttpRequest("GET", path, headers=headers), (200,), reads=False, wants=wants)


def _answer(random: Random, conversation: str) -> Question:
    accept, streams = random.choice(_STREAMS)
    path = f"/v1/chat/conversations/{conversation}/messages"
    request = HttpRequest("POST", path, headers={"Accept": accept})
    return Question(request, (200, 402, 404, 422, 429), reads=False, wants=EVENTS if streams else JSON, keeps=True)


def _body(random: Random) -> Question:
    request = HttpRequest("POST", "/v1/credits/reserve", body=random.choice(_BODIES))
    if random.random() < 0.3:
        kind = random.choice(("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""))
        request = HttpRequest("POST", "/v1/credits/reserve", body=b'{"amount": "1"}', headers={"Content-Type": kind})
    return Question(request, (400, 415, 422))


def _stranger(random: Random) -> Question:
    """Somebody without a token, or with none of ours, who sends as much as the platform lets pass."""
    path = random.choice(
        ("/v1/credits/reserve", "/v1/chat/conversations/x/messages", "/v1/nowhere", "/v1/credits/keys")
    )
    authorization = random.choice(({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer a.b.c"}))
    request = HttpRequest("POST", path, headers=authorization, stream=Counted(2 * 1024 * 1024))
    return Question(request, (401, 404, 405), None)


def _open_route(random: Random) -> Question:
    """A body for a route that anybody may ask."""
    path = random.choice(("/v1/credits/keys", "/v1/monitoring/info", "/v1/monitoring/status"))
    return Question(HttpRequest("GET", path, stream=Counted(random.choice((300, 900)) * 1024)), (413,), None)


def _undefined(random: Random) -> Question:
    """What JavaScript's SDK makes of a member that is `undefined`: null."""
    name, data = random.choice(
        (
            ("claim_welcome_bonus", {"device_fingerprint": "of the odd one", "campaign": None}),
            ("claim_welcome_bonus", None),
            ("get_balance", None),
            ("send_message", {"conversation_id": "cnv-none", "content": "hi", "images": None, "model": None}),
        )
    )
    body = json.dumps({"data": data}).encode()
    return Question(HttpRequest("POST", CALL + name, body=body), (200, 403, 404, 409), reads=False)


def _no_user(random: Random) -> Question:
    method, path, body = random.choice(
        (
            ("GET", "/v1/credits/balance", b""),
            ("POST", "/v1/credits/reserve", b'{"amount": "1", "purpose": "x"}'),
            ("POST", f"{CALL}get_balance", b'{"data": null}'),
            ("POST", f"{CALL}claim_welcome_bonus", b'{"data": {}}'),
        )
    )
    return Question(HttpRequest(method, path, body=body), (403,), random.choice(UNUSABLE))
