"""Every list over HTTP: its pages joined are the list, and no cursor breaks it or shows what is not in it."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app.api.paging import Cursors
from app.chat import conversation as conversations
from app.chat import turn as turns
from app.chat.conversation import Conversation
from app.chat.store import conversation_path, turn_path
from app.chat.turn import Turn
from app.kit.clock import to_rfc3339
from app.kit.money import credits
from app.kit.stores.documents import Create, Write
from app.orchestration.queue.operation import Operation, OperationState, Priority, SecurityLevel
from app.orchestration.queue.operation_document import path_of, to_fields
from app.orchestration.sagas import saga_document
from app.orchestration.sagas.saga import SagaState, SagaStatus
from support.credits_world import deposit
from support.world import World

SIZE: Final = 13
"""Items in each list. Some happened in the same microsecond, so that their ids decide."""

HELD_BACK = {"WELCOME_BONUS_CHECKS": "on", "WELCOME_BONUS_AMOUNT": "1000", "WELCOME_BONUS_ON_PURCHASE": "400"}
"""A part of the bonus waits for a purchase, hence somebody listens to deposits."""


@dataclass(frozen=True)
class Listing:
    """A list: its path, whose eyes see it, and where its answer holds the items and their names."""

    path: str
    by: str = "alice"
    items: str = "items"
    name: str = "id"

    def __str__(self) -> str:
        return self.path


ALICE_CHAT = "cnv_alice"
LISTS = (
    Listing("/v1/chat/conversations"),
    Listing(f"/v1/chat/conversations/{ALICE_CHAT}/messages", name="message_id"),
    Listing("/v1/credits/history"),
    Listing("/v1/credits/history?kind=deposit"),
    Listing("/v1/credits/explain", items="terms", name="transaction_id"),
    Listing("/v1/orchestration/operations?state=queued", by="ada"),
    Listing("/v1/orchestration/operations?state=succeeded", by="ada"),
    Listing("/v1/orchestration/dead-letters", by="ada"),
    Listing("/v1/orchestration/sagas", by="ada"),
    Listing("/v1/orchestration/sagas?status=running", by="ada"),
    Listing("/v1/orchestration/audit-log", by="ada"),
    Listing("/v1/orchestration/audit-log?operation=lane%20default", by="ada"),
)
every_list = pytest.mark.parametrize("listing", LISTS, ids=str)
few = settings(max_examples=25, deadline=None)


class Town:
    """A backend in which every list has something in it, of alice and of bob. It is only read."""

    def __init__(self) -> None:
        self.world = World(variables=HELD_BACK)
        self.callers = {uid: self.world.client(uid) for uid in ("alice", "bob")}
        self.callers["ada"] = self.world.client(self.world.user("ada", role="admin"))
        for number in range(SIZE):
            if number % 3 == 0:
                self.world.clock.advance(seconds=1)
            self._happens(number)
        lanes = [f"/v1/orchestration/lanes/{lane}" for lane in ("default", "events", "sagas")]
        for number in range(SIZE):
            self.world.clock.advance(us=number % 2)
            self.callers["ada"].post(f"{lanes[number % 3]}/{'pause' if number % 2 else 'resume'}")

    def read(self, listing: Listing, query: Mapping[str, str | int | None], by: str | None = None) -> TestResponse:
        """One page."""
        text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items() if value is not None)
        return self.callers[by or listing.by].get(f"{listing.path}{'&' if '?' in listing.path else '?'}{text}")

    def page(self, listing: Listing, limit: int, cursor: str | None = None) -> tuple[list[str], str | None]:
        """Names of the items of a page, and the cursor behind it."""
        answer = self.read(listing, {"limit": limit, "cursor": cursor})
        body: Any = answer.json
        assert answer.status_code == 200, answer.text
        return [item[listing.name] for item in body[listing.items]], body["next_cursor"]

    def pages(self, listing: Listing, limit: int) -> Iterator[list[str]]:
        """All of them."""
        cursor: str | None = None
        while True:
            names, cursor = self.page(listing, limit, cursor)
            yield names
            if cursor is None:
                return

    def _happens(self, number: int) -> None:
        now_us, bank = self.world.clock.now_us(), self.world.system.credits.service
        for uid in ("alice", "bob"):
            bank.post(uid, deposit(f"{uid}_{number}", credits(1)))
            self.callers[uid].post("/v1/chat/conversations", json={})
        rows: list[Write] = [Create(*row) for row in self._rows(number, now_us)]
        if number == 0:
            at = to_rfc3339(now_us)
            chat = Conversation(ALICE_CHAT, "", None, "", "buffer", created_at=at, updated_at=at)
            rows.append(Create(conversation_path("alice", ALICE_CHAT), conversations.write(chat)))
        self.world.documents.commit(rows)

    def _rows(self, number: int, now_us: int) -> Iterator[tuple[str, dict[str, Any]]]:
        turn = _turn(f"msg_{number * 7 % SIZE}", to_rfc3339(now_us))
        yield turn_path("alice", ALICE_CHAT, turn.id), turns.write(turn)
        for state in (OperationState.QUEUED, OperationState.SUCCEEDED, OperationState.DEAD):
            operation = _operation(f"op_{state}_{number * 7 % SIZE}", state, now_us)
            yield path_of(operation.id), to_fields(operation)
        for status in (SagaStatus.RUNNING, SagaStatus.STUCK):
            saga = SagaState(f"saga_{status}_{number * 7 % SIZE}", "s", 1, None, {}, status, {}, now_us, now_us)
            yield saga_document.path_of(saga.id), dict(saga_document.to_fields(saga))


def _turn(id: str, at: str) -> Turn:
    return Turn(id, "alice", ALICE_CHAT, 1, "h", "?", (), "small", "r", "res", 1, 1, False, "ins", at, at)


def _operation(id: str, state: OperationState, now_us: int) -> Operation:
    ended = None if state is OperationState.QUEUED else now_us
    # Due in a year: no sweep of another test is in this world, and nothing of it should ever run.
    level, due_us = SecurityLevel.USER, now_us + 31_536_000_000_000
    return Operation(id, "w", "default", {}, Priority.LOW, level, "api", now_us, due_us, state=state, finished_us=ended)


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


@pytest.fixture(scope="module")
def replays() -> Town:
    """Of their own, because a replay writes."""
    return Town()


def remade(cursor: str, parts: list[object]) -> str:
    """A cursor of the same list and question with other parts in it, in the one right spelling."""
    head = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[:3]
    text = json.dumps([*head, *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def is_refused(answer: TestResponse) -> bool:
    return answer.status_code == 422 and (answer.json or {})["code"] == "validation_failed"


@every_list
def test_is_long_enough_for_these_tests(town: Town, listing: Listing) -> None:
    names, more = town.page(listing, 100)
    assert len(names) == len(set(names)) >= 4
    assert more is None
    assert [*town.pages(listing, 20)] == [names[:20]] + ([names[20:]] if names[20:] else [])


@every_list
def test_pages_joined_are_the_list(town: Town, listing: Listing) -> None:
    """For every limit: in order, without repeats, each page full but the last, and no cursor to an empty page."""
    whole, _ = town.page(listing, 100)
    for limit in [*range(1, len(whole) + 2), 99, 100]:
        pages = [*town.pages(listing, limit)]
        assert [name for page in pages for name in page] == whole
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1]


@every_list
@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", "1e1", str(2**70)])
def test_limits_beyond_the_rule_are_refused(town: Town, listing: Listing, limit: str) -> None:
    assert is_refused(town.read(listing, {"limit": limit}))


@every_list
def test_a_cursor_of_another_list_or_question_is_refused(town: Town, listing: Listing) -> None:
    for other in LISTS:
        _, cursor = town.page(other, 1)
        answer = town.read(listing, {"cursor": cursor})
        assert answer.status_code == 200 if other is listing else is_refused(answer), other


@pytest.mark.parametrize("path", ["/v1/chat/conversations", "/v1/credits/history", "/v1/credits/explain"])
def test_a_cursor_of_another_user_is_refused(town: Town, path: str) -> None:
    [listing] = [one for one in LISTS if one.path == path]
    _, cursor = town.page(listing, 1)
    assert town.read(listing, {"cursor": cursor}, by="bob").status_code == 422


def test_a_cursor_of_another_conversation_is_refused(town: Town) -> None:
    _, cursor = town.page(Listing(f"/v1/chat/conversations/{ALICE_CHAT}/messages", name="message_id"), 5)
    names, _ = town.page(Listing("/v1/chat/conversations"), 5)
    other = Listing(f"/v1/chat/conversations/{next(name for name in names if name != ALICE_CHAT)}/messages")
    assert town.read(other, {}).status_code == 200
    assert town.read(other, {"cursor": cursor}).status_code == 422


@every_list
@few
@given(text=st.text(max_size=520) | st.binary(max_size=400).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_is_a_cursor(town: Town, listing: Listing, text: str) -> None:
    assert is_refused(town.read(listing, {"cursor": text}))


@every_list
@few
@given(raw=st.binary(min_size=1, max_size=40))
def test_no_bytes_are_a_cursor(town: Town, listing: Listing, raw: bytes) -> None:
    path = f"{listing.path}{'&' if '?' in listing.path else '?'}cursor={quote(raw)}"
    assert is_refused(town.callers[listing.by].get(path))


@every_list
@few
@given(data=st.data())
def test_no_change_of_a_cursor_breaks_it(town: Town, listing: Listing, data: st.DataObject) -> None:
    """Cut, lengthened, or with another letter in it."""
    _, cursor = town.page(listing, 1)
    assert cursor is not None
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_=+/.% "))
    for changed in (cursor[:at], cursor[:at] + letter + cursor[at + 1 :], cursor[:at] + letter + cursor[at:]):
        answer = town.read(listing, {"cursor": changed, "limit": 100})
        assert changed == cursor or is_refused(answer) or shows_own_rows(town, listing, answer)


@every_list
@few
@given(
    parts=st.lists(
        st.none()
        | st.booleans()
        | st.integers()
        | st.sampled_from([0, 1, 2**53, 2**63 - 1, 2**63, -(2**63)])
        | st.floats()
        | st.text()
        | st.sampled_from(["__x__", "a/b", ".", "\ud800", "op_1", "0001-01-01T00:00:00.000000Z", "z" * 128])
        | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999).map(to_rfc3339),
        max_size=6,
    )
)
def test_no_position_breaks_it_or_shows_what_is_not_in_the_list(
    town: Town, listing: Listing, parts: list[object]
) -> None:
    _, cursor = town.page(listing, 1)
    assert cursor is not None
    answer = town.read(listing, {"cursor": remade(cursor, parts), "limit": 100})
    assert is_refused(answer) or shows_own_rows(town, listing, answer)


@every_list
def test_a_cursor_that_is_too_long_is_refused(town: Town, listing: Listing) -> None:
    assert is_refused(town.read(listing, {"cursor": "A" * 513}))


def shows_own_rows(town: Town, listing: Listing, answer: TestResponse) -> bool:
    """Whether it is the end of the list, from some item on."""
    whole, _ = town.page(listing, 100)
    body: Any = answer.json
    names = [item[listing.name] for item in body[listing.items]]
    return answer.status_code == 200 and names == whole[len(whole) - len(names) :]


class TestTheChain:
    """`validate-chain` has no items: what is paged is the work."""

    path = "/v1/credits/validate-chain"

    def cursors(self, town: Town) -> list[str]:
        """Behind each entry, as a verification that stopped there gives them out."""
        bank = town.world.system.credits.service
        account, reader = bank.account("alice"), bank.ledger
        found: list[str] = []
        after = None
        for _ in range(account.sequence - 1):
            after = reader.validate_chain(account, None, after, limit=1).after
            assert after is not None
            found.append(chain_cursor("alice", [*(getattr(after, name) for name in LINK)]))
        return found

    def test_goes_on_from_every_entry(self, town: Town) -> None:
        whole: Any = town.callers["alice"].get(self.path).json
        assert (whole["valid"], whole["next_cursor"]) == (True, None)
        for number, cursor in enumerate(self.cursors(town), start=1):
            told: Any = town.callers["alice"].get(f"{self.path}?cursor={cursor}").json
            assert (told["valid"], told["entries"]) == (True, whole["entries"] - number)
            assert town.callers["bob"].get(f"{self.path}?cursor={cursor}").status_code == 422

    @pytest.mark.parametrize(
        "beyond",
        [
            *((0, one) for one in (0, 2**63, "1")),
            *((1, one) for one in ("f" * 63, "F" * 64, 5)),
            *((2, one) for one in (2**53, -(2**53), "1")),
            *((3, one) for one in (-1, 2**53, None)),
            *((4, one) for one in ("", "2026", 5)),
        ],
        ids=str,
    )
    def test_a_link_that_no_chain_has_is_refused(self, town: Town, beyond: tuple[int, object]) -> None:
        parts: list[object] = [1, "f" * 64, 2**53 - 1, 2**53 - 1, "9999-12-31T23:59:59.999999Z"]
        alice = town.callers["alice"]
        assert alice.get(f"{self.path}?cursor={chain_cursor('alice', parts)}").status_code == 200
        parts[beyond[0]] = beyond[1]
        assert is_refused(alice.get(f"{self.path}?cursor={chain_cursor('alice', parts)}"))

    @few
    @given(
        parts=st.tuples(
            st.integers() | st.sampled_from([0, 1, 2, 2**53, 2**63]),
            st.sampled_from(["0" * 64, "f" * 64, "F" * 64, "", "x"]) | st.integers(),
            st.integers() | st.sampled_from([0, 2**53 - 1, 2**53, -(2**53), 2**62, 10**30]) | st.text(),
            st.integers() | st.sampled_from([-1, 0, 2**53 - 1, 2**53]) | st.none(),
            st.sampled_from(["", "x", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"]) | st.integers(),
        )
    )
    def test_no_position_breaks_it(self, town: Town, parts: tuple[object, ...]) -> None:
        answer = town.callers["alice"].get(f"{self.path}?cursor={chain_cursor('alice', [*parts])}")
        assert answer.status_code == 200 or is_refused(answer)

    @few
    @given(text=st.text(max_size=1100))
    def test_no_text_is_a_cursor(self, town: Town, text: str) -> None:
        assert is_refused(town.callers["alice"].get(f"{self.path}?cursor={quote(text)}"))


LINK: Final = ("sequence", "head_hash", "balance", "debt", "created_at")


def chain_cursor(uid: str, parts: list[object]) -> str:
    return remade(Cursors("validate-chain", lambda _: (0,), (uid,)).write((0,)), parts)


class TestReplays:
    """`events/replay` is an act that is done page by page."""

    def asked(self, replays: Town, **fields: object) -> TestResponse:
        # Two acts of one moment would be one line of the audit log.
        replays.world.clock.advance(us=1)
        body = {"subscriber": "welcome", "event": "CreditsDeposited", "from": "2000-01-01T00:00:00Z"}
        path = "/v1/orchestration/events/replay"
        return replays.callers["ada"].post(path, json={**body, "to": "2100-01-01T00:00:00Z", **fields})

    def test_that_is_exactly_full_is_the_last(self, replays: Town) -> None:
        assert self.asked(replays, limit=2 * SIZE).json == {"sent": 0, "next_cursor": None}

    @pytest.mark.parametrize("limit", [1, 5, 2 * SIZE - 1, 2 * SIZE, 100])
    def test_pages_joined_are_all_events(self, replays: Town, limit: int) -> None:
        sent, cursor = 0, None
        while True:
            told: Any = self.asked(replays, limit=limit, again=f"by {limit}", cursor=cursor).json
            sent, cursor = sent + told["sent"], told["next_cursor"]
            if cursor is None:
                break
        assert sent == 2 * SIZE

    @pytest.mark.parametrize(
        "other", [{"again": "x"}, {"from": "2000-01-01T00:00:01Z"}, {"to": "2099-01-01T00:00:00Z"}]
    )
    def test_a_cursor_of_another_question_is_refused(self, replays: Town, other: dict[str, str]) -> None:
        cursor = (self.asked(replays, limit=1).json or {})["next_cursor"]
        assert self.asked(replays, cursor=cursor, limit=2).status_code == 200
        assert is_refused(self.asked(replays, cursor=cursor, **other))

    def test_one_moment_has_many_spellings(self, replays: Town) -> None:
        cursor = (self.asked(replays, limit=1).json or {})["next_cursor"]
        assert self.asked(replays, cursor=cursor, **{"from": "2000-01-01T01:00:00+01:00"}).status_code == 200

    @few
    @given(
        parts=st.tuples(
            st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1]) | st.text() | st.floats(),
            st.sampled_from(["op_1", "__x__", "a/b", "", "\ud800"]) | st.integers(),
        )
    )
    def test_no_position_breaks_it(self, replays: Town, parts: tuple[object, ...]) -> None:
        cursor = (self.asked(replays, limit=1).json or {})["next_cursor"]
        answer = self.asked(replays, cursor=remade(cursor, [*parts]))
        assert answer.status_code == 200 or is_refused(answer)

    @few
    @given(text=st.text(max_size=600) | st.sampled_from(["\ud800", "\ud800" * 40, "[" * 512]))
    def test_no_text_is_a_cursor(self, replays: Town, text: str) -> None:
        assert self.asked(replays, cursor=text).status_code in (400, 422)
