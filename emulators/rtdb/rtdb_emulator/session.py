"""One client connection: identity, listens, pending disconnect writes, and its requests one after another.
Knows nothing of how messages travel.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from rtdb_emulator import wire
from rtdb_emulator.access import Asker
from rtdb_emulator.database import Database
from rtdb_emulator.errors import (
    ExpiredToken,
    InvalidData,
    InvalidToken,
    PermissionDenied,
    RequestError,
    StaleData,
    TooBig,
)
from rtdb_emulator.identity import ADMIN, ANONYMOUS, Identity, acting_as, from_token, is_token
from rtdb_emulator.json_text import Json
from rtdb_emulator.listens import Listen, Merge, Overwrite
from rtdb_emulator.outbox import Outbox
from rtdb_emulator.paths import Path, parse_path, split_priority, to_text
from rtdb_emulator.query import from_wire
from rtdb_emulator.snapshot_hash import snapshot_hash
from rtdb_emulator.sparse_tree import SparseTree
from rtdb_emulator.tree import Node, get
from rtdb_emulator.writes import Moment, WriteSet, put_at, read_put, read_update

_LOG: Final = logging.getLogger(__name__)
MAX_WRITE_BYTES: Final = 16 * 1024 * 1024

_Body = dict[str, Json]
_ListenKey = tuple[Path, int | None, str]


class Session:
    """A client's state on the server."""

    def __init__(self, id: str, database: Database, outbox: Outbox) -> None:
        self.id = id
        self.identity = ANONYMOUS
        self._database = database
        self._outbox = outbox
        self._listens: dict[_ListenKey, Listen] = {}
        self._on_disconnect = SparseTree()
        self._expiry: asyncio.TimerHandle | None = None
        self._ended = False
        self._expired = False

    @property
    def namespace(self) -> str:
        """The namespace that the client works on."""
        return self._database.name

    # What arrives.

    def handle(self, message: Json, size: int) -> None:
        """Answer one data message of `size` bytes. Never raises; what comes after the end is ignored."""
        if self._ended:
            return
        body = message.get("d") if isinstance(message, dict) else None
        if not isinstance(body, dict):
            self._outbox.post(wire.control("e", "a data message must be an object with an object d"))
            return
        request = body.get("r")
        if size > MAX_WRITE_BYTES:
            error = TooBig(f"Data of {size} bytes requested; the maximum is {MAX_WRITE_BYTES} bytes")
            self._reply(request, error.ws_status, str(error))
            return
        self._answer(request, body.get("a"), body.get("b"))

    def end(self) -> None:
        """The connection is gone: stop listening, run the pending writes. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._schedule_expiry(None)
        self._drop_listens()
        for path, data in self._on_disconnect.writes():
            self._write_on_disconnect(path, data)

    # What listens report.

    def changed(self, listen: Listen, change: Overwrite | Merge) -> None:
        if listen.tag is None:
            self._outbox.post(change.message)
        elif isinstance(change, Overwrite):
            self._outbox.post(wire.overwrite(to_text(change.path), change.node, listen.tag))
        else:
            self._outbox.post(wire.merge(to_text(change.path), change.by_text, listen.tag))

    def view_changed(self, listen: Listen, delta: Mapping[str, Node]) -> None:
        self._outbox.post(wire.merge(to_text(listen.path), delta, listen.tag))

    def revoked(self, listen: Listen) -> None:
        self._listens = {key: one for key, one in self._listens.items() if one is not listen}
        body: _Body = {"p": to_text(listen.path)}
        if listen.query is not None:
            body["q"] = [listen.wire_query]
        self._outbox.post(wire.server_message("c", body))

    # Requests.

    def _answer(self, request: Json, action: Json, body: Json) -> None:
        handler = _HANDLERS.get(action) if isinstance(action, str) else None
        try:
            if handler is None:
                self._reply(request, "error", f"Unknown action {action!r}")
                return
            if self._expired and handler not in _WITHOUT_CREDENTIAL:
                raise ExpiredToken()
            handler(self, request, body if isinstance(body, dict) else {})
        except RequestError as error:
            self._reply(request, error.ws_status, str(error))
        except Exception:  # the edge: a bug must not cost the client its connection  # noqa: BLE001
            _LOG.exception("request %r of session %s failed", action, self.id)
            self._reply(request, RequestError.ws_status, "Internal error")

    def _reply(self, request: Json, status: str = "ok", data: Json = None) -> None:
        self._outbox.post(wire.reply(request, status, {} if data is None else data))

    def _ok(self, request: Json, _body: _Body) -> None:
        self._reply(request)

    def _authenticate(self, request: Json, body: _Body) -> None:
        self._sign_in(request, _acting(_user_of(_credential(body)), body))

    def _authenticate_server(self, request: Json, body: _Body) -> None:
        credential = _credential(body)
        try:
            identity = _user_of(credential)
        except InvalidToken:
            identity = ADMIN  # an OAuth token may have dots, too
        self._sign_in(request, _acting(identity, body))

    def _sign_in(self, request: Json, identity: Identity) -> None:
        if identity.is_expired(self._database.moment().now_ms):
            raise ExpiredToken()
        self._become(identity)
        self._reply(request, data={"auth": identity.auth})

    def _unauthenticate(self, request: Json, _body: _Body) -> None:
        self._become(ANONYMOUS)
        self._reply(request)

    def _become(self, identity: Identity) -> None:
        changed = identity != self.identity
        self.identity = identity
        self._expired = False
        self._schedule_expiry(identity.expires_at_ms)
        if changed:
            self._database.recheck_listens_of(self, list(self._listens.values()))

    def _listen(self, request: Json, body: _Body) -> None:
        path, key = self._listen_key(body)
        query = from_wire(body.get("q"))
        listen = Listen(self, path, query, key[1], body.get("q"))
        old = self._listens.pop(key, None)
        if old is not None:
            self._database.listens.remove(old)
        shown = self._database.listen(listen)
        self._listens[key] = listen
        known = body.get("h")
        if not isinstance(known, str) or (shown is not None if known == "" else snapshot_hash(shown) != known):
            self._outbox.post(wire.overwrite(to_text(path), shown, listen.tag))
        self._reply(request, data={"w": ["no_index"]} if self._lacks_index(listen) else {})

    def _lacks_index(self, listen: Listen) -> bool:
        if listen.query is None:
            return False
        try:
            self._database.require_index(listen.path, listen.query)
        except RequestError:
            return True
        return False

    def _unlisten(self, request: Json, body: _Body) -> None:
        listen = self._listens.pop(self._listen_key(body)[1], None)
        if listen is not None:
            self._database.listens.remove(listen)
        self._reply(request)

    def _listen_key(self, body: _Body) -> tuple[Path, _ListenKey]:
        tag, query = body.get("t"), body.get("q")
        if tag is not None and (isinstance(tag, bool) or not isinstance(tag, int)):
            raise InvalidData("a tag must be an integer")
        path = parse_path(_text(body, "p"))
        canonical = repr(sorted(query.items())) if isinstance(query, dict) and query else ""
        return path, (path, tag, canonical)

    def _get(self, request: Json, body: _Body) -> None:
        path = parse_path(_text(body, "p"))
        node = self._database.read(path, self._database.asker(self.identity), from_wire(body.get("q")))
        self._outbox.post(wire.reply_with_node(request, node))

    def _put(self, request: Json, body: _Body) -> None:
        self._check_hash(body)
        moment = self._database.moment()
        self._write(read_put(_text(body, "p"), body.get("d"), moment), moment)
        self._reply(request)

    def _merge(self, request: Json, body: _Body) -> None:
        self._check_hash(body)
        moment = self._database.moment()
        self._write(read_update(_text(body, "p"), _members(body), moment), moment)
        self._reply(request)

    def _check_hash(self, body: _Body) -> None:
        expected = body.get("h")
        if expected is not None:
            path = parse_path(split_priority(_text(body, "p"))[0])
            if snapshot_hash(get(self._database.root, path)) != expected:
                raise StaleData()

    def _write(self, write: WriteSet, moment: Moment) -> None:
        self._database.write(write, Asker(self.identity, moment.now_ms))

    def _disconnect_put(self, request: Json, body: _Body) -> None:
        self._promise({parse_path(_text(body, "p")): body.get("d")})
        self._reply(request)

    def _disconnect_merge(self, request: Json, body: _Body) -> None:
        base, members = _text(body, "p"), _members(body)
        read_update(base, members, self._database.moment())
        self._promise({parse_path(f"{base}/{key}"): data for key, data in members.items()})
        self._reply(request)

    def _disconnect_cancel(self, request: Json, body: _Body) -> None:
        self._on_disconnect.forget(parse_path(_text(body, "p")))
        self._reply(request)

    def _promise(self, writes: Mapping[Path, Json]) -> None:
        moment = self._database.moment()
        puts: dict[Path, Node] = {}
        for path, data in writes.items():
            puts |= put_at(path, data, moment).puts
        self._database.check_write(WriteSet(puts), Asker(self.identity, moment.now_ms))
        for path, data in writes.items():
            self._on_disconnect.remember(path, data)

    def _write_on_disconnect(self, path: Path, data: Json) -> None:
        try:
            moment = self._database.moment()
            self._write(put_at(path, data, moment), moment)
        except PermissionDenied as denied:
            _LOG.info("disconnect write to /%s dropped: %s", to_text(path), denied.reason)
        except RequestError:
            _LOG.warning("disconnect write to /%s dropped", to_text(path), exc_info=True)

    # Expiry of the credential.

    def _schedule_expiry(self, expires_at_ms: int | None) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if expires_at_ms is not None:
            delay = (expires_at_ms - self._database.moment().now_ms) / 1000
            self._expiry = asyncio.get_running_loop().call_later(max(0.0, delay), self._expire)

    def _expire(self) -> None:
        # The client closes on this message, fetches a fresh token and comes back. Its listens end without a message,
        # because a cancel would reach the application; its disconnect writes still run as who it was.
        self._outbox.post(wire.server_message("ac", {"s": ExpiredToken.ws_status, "d": str(ExpiredToken())}))
        self._expired = True
        self._drop_listens()

    def _drop_listens(self) -> None:
        for listen in self._listens.values():
            self._database.listens.remove(listen)
        self._listens.clear()


def _credential(body: _Body) -> str:
    credential = body.get("cred")
    if not isinstance(credential, str) or not credential:
        raise InvalidToken()
    return credential


def _user_of(credential: str) -> Identity:
    return from_token(credential) if is_token(credential) else ADMIN


def _acting(identity: Identity, body: _Body) -> Identity:
    """An admin may ask to be treated as somebody else."""
    if identity.admin and body.get("noauth") is True:
        return ANONYMOUS
    if identity.admin and "authvar" in body:
        return acting_as(body["authvar"])
    return identity


def _text(body: _Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise InvalidData(f"{name} must be a string")
    return value


def _members(body: _Body) -> dict[str, Json]:
    members = body.get("d")
    if not isinstance(members, dict):
        raise InvalidData("Invalid data; an update must be an object.")
    return members


_WITHOUT_CREDENTIAL: Final = (
    Session._ok,
    Session._authenticate,
    Session._authenticate_server,
    Session._unauthenticate,
)
_HANDLERS: Final[Mapping[str, Callable[[Session, Json, _Body], None]]] = {
    "s": Session._ok,
    "appcheck": Session._ok,
    "unappeck": Session._ok,
    "unappcheck": Session._ok,
    "auth": Session._authenticate,
    "gauth": Session._authenticate_server,
    "unauth": Session._unauthenticate,
    "q": Session._listen,
    "l": Session._listen,
    "n": Session._unlisten,
    "g": Session._get,
    "p": Session._put,
    "m": Session._merge,
    "o": Session._disconnect_put,
    "om": Session._disconnect_merge,
    "oc": Session._disconnect_cancel,
}
