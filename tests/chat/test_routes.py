"""The chat routes through the whole application: JSON, Server-Sent Events, paging, cancel, strangers."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.api.paging import Cursors, time_and_id
from support.vendor import Vendor
from support.world import Caller, World, frames


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})
    yield world


@pytest.fixture
def alice(world: World) -> Caller:
    return world.client("alice")


def js(answer: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    assert isinstance(answer.json, dict), answer.text
    return answer.json


def pieces(answer: TestResponse) -> Iterator[bytes]:
    """Its body as it comes."""
    return (piece if isinstance(piece, bytes) else piece.encode() for piece in answer.response)


def told(answer: TestResponse) -> list[tuple[str, str]]:
    """Its events."""
    return frames(pieces(answer))


def begin(client: Caller, **body: object) -> str:
    answer = client.post("/v1/chat/conversations", json={"model": "small", **body})
    assert answer.status_code == 201, answer.text
    return str(js(answer)["id"])


def messages(conversation: str) -> str:
    return f"/v1/chat/conversations/{conversation}/messages"


def ask(client: Caller, conversation: str, content: str = "What is a ledger?", **headers: str) -> dict[str, object]:
    answer = client.post(messages(conversation), json={"content": content}, headers=headers)
    assert answer.status_code == 200, answer.text
    return js(answer)


def stream(
    client: Caller, conversation: str, content: str = "What is a ledger?", **headers: str
) -> list[tuple[str, dict[str, object]]]:
    answer = client.post(
        messages(conversation), json={"content": content}, headers={"Accept": "text/event-stream", **headers}
    )
    assert answer.mimetype == "text/event-stream", answer.text
    return [(name, json.loads(data)) for name, data in told(answer)]


class TestConversations:
    def test_begin_are_read_changed_and_deleted(self, world: World, alice: Caller) -> None:
        id = begin(alice, title="Mine", system_prompt="Be brief.")
        read = js(alice.get(f"/v1/chat/conversations/{id}"))
        assert (read["title"], read["model"], read["archived"]) == ("Mine", "small", False)
        changed = js(alice.patch(f"/v1/chat/conversations/{id}", json={"title": "Yours", "archived": True}))
        assert (changed["title"], changed["archived"], changed["system_prompt"]) == ("Yours", True, "Be brief.")
        ask(alice, id)
        assert alice.delete(f"/v1/chat/conversations/{id}").status_code == 204
        assert alice.get(f"/v1/chat/conversations/{id}").status_code == 404
        assert alice.get(messages(id)).status_code == 404
        assert alice.delete(f"/v1/chat/conversations/{id}").status_code == 404
        world.system.orchestration.run_lane("default")
        assert not [path for path in world.documents.all() if path.startswith("users/")]

    def test_are_listed_by_last_use_in_pages(self, world: World, alice: Caller) -> None:
        ids = []
        for _ in range(5):
            ids.append(begin(alice))
            world.clock.advance(seconds=1)
        ask(alice, ids[1])
        seen: list[str] = []
        cursor = ""
        while True:
            page = js(alice.get(f"/v1/chat/conversations?limit=2{cursor}"))
            seen += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == [ids[1], ids[4], ids[3], ids[2], ids[0]]

    @pytest.mark.parametrize("method", ["get", "patch", "delete"])
    def test_of_another_do_not_exist(self, world: World, alice: Caller, method: str) -> None:
        id = begin(alice)
        body = {"json": {"title": "x"}} if method == "patch" else {}
        stranger = getattr(world.client("bob"), method)(f"/v1/chat/conversations/{id}", **body)
        nobody = getattr(world.client("bob"), method)("/v1/chat/conversations/cnv_none", **body)
        assert stranger.status_code == nobody.status_code == 404
        assert {**js(stranger), "request_id": ""} == {**js(nobody), "request_id": ""}

    @pytest.mark.parametrize("body", [{"model": "gpt-9"}, {"surprise": 1}, {"model": "embed"}, {"memory": "vector"}])
    def test_with_nonsense_are_refused(self, alice: Caller, body: dict[str, object]) -> None:
        assert alice.post("/v1/chat/conversations", json=body).status_code == 422

    @pytest.mark.parametrize("cursor", ["x", "e30", "WzFd", "'", "%00"])
    def test_are_not_paged_by_a_made_up_cursor(self, alice: Caller, cursor: str) -> None:
        assert alice.get(f"/v1/chat/conversations?cursor={cursor}").status_code == 422

    @pytest.mark.parametrize("id", ["a/b", "", "__x__", "\ud800"])
    def test_are_not_paged_by_a_path(self, alice: Caller, id: str) -> None:
        """The second part of a cursor becomes a path in Firestore, which refuses some and would read others."""
        cursor = Cursors("conversations", time_and_id, ("alice",)).write(("2026-11-21T08:30:00.000250Z", id))
        assert alice.get(f"/v1/chat/conversations?cursor={cursor}").status_code == 422

    @pytest.mark.parametrize("id", ["__x__", "_x", ".", "a.b", "x" * 129])
    def test_have_ids_that_can_be_a_path(self, alice: Caller, id: str) -> None:
        """T-103."""
        assert alice.get(f"/v1/chat/conversations/{id}").status_code in (404, 422)
        assert alice.get(f"/v1/chat/conversations/{id}/messages").status_code in (404, 422)
        assert alice.post(f"/v1/chat/messages/{id}/cancel").status_code in (404, 422)

    def test_whose_id_firestore_keeps_for_itself_never_reach_it(self, world: World, alice: Caller) -> None:
        reads = world.documents.reads
        assert alice.get("/v1/chat/conversations/__x__").status_code == 422
        assert world.documents.reads == reads


class TestAMessageAsJson:
    def test_carries_its_receipt(self, alice: Caller) -> None:
        """T-28: what was charged, and what is available after it, are told apart."""
        id = begin(alice)
        body = ask(alice, id)
        assert body["status"] == "done"
        assert body["finish_reason"] == "stop"
        assert body["answer"]
        balance = js(alice.get("/v1/credits/balance"))
        assert balance["available"] == balance["balance"] == body["available"]
        entry = js(alice.get(f"/v1/credits/verify/{body['transaction_id']}"))
        assert entry["valid"] is True

    def test_is_listed_among_the_turns(self, world: World, alice: Caller) -> None:
        id = begin(alice)
        first = ask(alice, id, "One?")
        world.clock.advance(seconds=1)
        second = ask(alice, id, "Two?")
        page = js(alice.get(f"{messages(id)}?limit=1"))
        assert page["items"] == [{**second, "siblings": [second["message_id"]], "position": 1}]
        rest = js(alice.get(f"{messages(id)}?cursor={page['next_cursor']}"))
        [item] = rest["items"]
        assert (item["message_id"], rest["next_cursor"]) == (first["message_id"], None)

    def test_repeated_under_its_key_is_the_same_answer(self, alice: Caller) -> None:
        """T-64."""
        id = begin(alice)
        header = {"Idempotency-Key": "once"}
        first = alice.post(messages(id), json={"content": "Hi"}, headers=header)
        again = alice.post(messages(id), json={"content": "Hi"}, headers=header)
        assert (first.headers.get("Idempotent-Replayed"), again.headers.get("Idempotent-Replayed")) == (None, "true")
        assert js(first) == js(again)
        other = alice.post(messages(id), json={"content": "Ho"}, headers=header)
        assert (other.status_code, js(other)["code"]) == (422, "idempotency_key_reused")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"content": ""},
            {"content": "x" * 100_001},
            {"content": "Hi", "max_cost": 1},
            {"content": "Hi", "max_cost": "-1"},
            {"content": "Hi", "max_cost": "0.0000001"},
            {"content": "Hi", "images": ["file:///etc/passwd"]},
            {"content": "Hi", "model": "sim-small"},
            {"content": "Hi", "stream": True},
        ],
    )
    def test_that_makes_no_sense_is_refused(self, vendor: Vendor, alice: Caller, body: dict[str, object]) -> None:
        id = begin(alice)
        assert alice.post(messages(id), json=body).status_code == 422
        assert vendor.requests() == []

    def test_that_cannot_be_paid_says_what_is_missing(self, vendor: Vendor) -> None:
        """T-35."""
        poor = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url, "WELCOME_BONUS_AMOUNT": "0"})
        client = poor.client("alice")
        answer = client.post(messages(begin(client)), json={"content": "Hi"})
        assert (answer.status_code, js(answer)["code"]) == (402, "insufficient_credits")
        assert {"required", "available", "shortfall", "payment_options"} <= js(answer).keys()
        assert vendor.requests() == []

    def test_for_which_a_running_answer_holds_the_credits_is_told_to_wait(self, vendor: Vendor) -> None:
        """T-34: not that there are too few. Once that answer has ended, the same request is answered."""
        # The longest that the prompt can be is held for, which is far more than it costs.
        variables = {"AI_PLATFORM_BASE_URL": vendor.base_url, "WELCOME_BONUS_AMOUNT": "0.04"}
        client = World(variables=variables).client("alice")
        id, body = begin(client, model="small"), {"content": "word " * 800, "model": "small"}
        other = begin(client, model="small")
        running = client.post(messages(other), json=body, headers={"Accept": "text/event-stream"})
        key = {"Idempotency-Key": "later"}
        refused = client.post(messages(id), json=body, headers=key)
        told = js(refused)
        assert (refused.status_code, told["code"]) == (429, "credits_held_by_running_answers")
        assert (told["held"], told["available"], refused.headers["Retry-After"]) == ("0.02555", "0.01445", "5")
        running.get_data()
        assert client.post(messages(id), json=body, headers=key).status_code == 200

    def test_that_the_vendor_fails_is_a_503_without_a_charge(self, vendor: Vendor, alice: Caller) -> None:
        id = begin(alice)
        vendor.arrange("status=500", times=None)
        answer = alice.post(messages(id), json={"content": "Hi"})
        assert (answer.status_code, js(answer)["code"]) == (503, "model_unavailable")
        [turn] = js(alice.get(messages(id)))["items"]
        assert (turn["status"], turn["cost"], turn["error"]["code"]) == ("error", "0", "model_unavailable")
        assert js(alice.get("/v1/credits/balance"))["available"] == "1000"


class TestAMessageAsEvents:
    def test_come_in_order(self, alice: Caller) -> None:
        id = begin(alice)
        events = stream(alice, id)
        names = [name for name, _ in events]
        assert names[0] == "start"
        assert names[-2:] == ["usage", "done"]
        assert set(names[1:-2]) == {"delta"}
        start, done = events[0][1], events[-1][1]
        assert start["conversation_id"] == id
        assert {"message_id", "model", "route", "reserved"} <= start.keys()
        assert set(done) == {"message_id", "cost", "transaction_id", "available", "finish_reason", "reason", "model"}
        assert (done["model"], done["reason"]) == (start["model"], "completed")
        assert set(events[-2][1]) == {"input_tokens", "output_tokens", "cached_tokens"}
        [turn] = js(alice.get(messages(id)))["items"]
        assert turn["answer"] == "".join(str(data["text"]) for name, data in events if name == "delta")
        assert turn["cost"] == done["cost"]

    def test_are_the_same_again_under_their_key(self, vendor: Vendor, alice: Caller) -> None:
        id = begin(alice)
        header = {"Accept": "text/event-stream", "Idempotency-Key": "once"}
        first = alice.post(messages(id), json={"content": "Hi"}, headers=header)
        events = told(first)
        again = alice.post(messages(id), json={"content": "Hi"}, headers=header)
        repeated = told(again)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (repeated[0], repeated[-2:]) == (events[0], events[-2:])
        assert len(vendor.requests()) == 1

    def test_end_in_a_problem_when_the_vendor_breaks(self, vendor: Vendor, alice: Caller) -> None:
        """T-2, T-27: what it cost is told from the receipt."""
        vendor.arrange("error-after=3")
        events = stream(alice, begin(alice))
        name, problem = events[-1]
        assert name == "error"
        assert (problem["code"], problem["status"], problem["cost"]) == ("model_broke", 503, "0")
        assert problem["request_id"]

    def test_are_refused_with_a_status_before_they_begin(self, alice: Caller) -> None:
        answer = alice.post(messages("cnv_none"), json={"content": "Hi"}, headers={"Accept": "text/event-stream"})
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")

    def test_that_nobody_reads_are_settled_when_the_server_closes(self, world: World, alice: Caller) -> None:
        """T-1, T-3: the connection broke before the first byte was taken."""
        id = begin(alice)
        answer = alice.post(messages(id), json={"content": "Hi"}, headers={"Accept": "text/event-stream"})
        answer.close()
        [turn] = self._ended(alice, id)
        assert turn["finish_reason"] in ("cancelled", "stop")
        assert js(alice.get("/v1/credits/balance"))["reserved"] == "0"

    @staticmethod
    def _ended(client: Caller, id: str) -> list[dict[str, object]]:
        for thread in threading.enumerate():
            if thread.name == "sse":
                thread.join(10)
        found = js(client.get(messages(id)))["items"]
        assert isinstance(found, list)
        return found


class TestTheReservationOfAnAnswer:
    def test_is_not_its_users_to_release(self, vendor: Vendor, alice: Caller) -> None:
        """Whoever could release it while the answer streams would have it for nothing."""
        id = begin(alice)
        vendor.arrange("stall-after=2,stall-ms=300")
        answer = alice.post(messages(id), json={"content": "Hi"}, headers={"Accept": "text/event-stream"})
        chunks = pieces(answer)
        next(chunks)
        [held] = js(alice.get("/v1/credits/reservations"))["items"]
        released = alice.post("/v1/credits/release-reservation", json={"reservation_id": held["id"]})
        assert released.status_code == 422
        done = json.loads(frames(chunks)[-1][1])
        assert done["cost"] != "0"


class TestACancel:
    def test_of_what_is_over_tells_how_it_ended(self, alice: Caller) -> None:
        id = begin(alice)
        body = ask(alice, id)
        answer = alice.post(f"/v1/chat/messages/{body['message_id']}/cancel")
        assert answer.status_code == 200
        assert js(answer) == {
            "message_id": body["message_id"],
            "status": "done",
            "finish_reason": "stop",
            "cost": body["cost"],
            "transaction_id": body["transaction_id"],
        }

    def test_of_anothers_message_finds_nothing(self, world: World, alice: Caller) -> None:
        body = ask(alice, begin(alice))
        for id in (str(body["message_id"]), "msg_none"):
            assert world.client("bob").post(f"/v1/chat/messages/{id}/cancel").status_code == 404

    def test_of_a_running_one_ends_its_stream(self, vendor: Vendor, alice: Caller) -> None:
        id = begin(alice)
        vendor.arrange("stall-after=2")
        answer = alice.post(messages(id), json={"content": "Hi"}, headers={"Accept": "text/event-stream"})
        chunks = pieces(answer)
        head = next(chunks)
        while b"event: delta" not in head:
            head += next(chunks)
        message_id = json.loads(head.split(b"data: ")[1].split(b"\n")[0])["message_id"]
        cancelled = alice.post(f"/v1/chat/messages/{message_id}/cancel")
        assert (cancelled.status_code, js(cancelled)["status"]) == (202, "running")
        done = json.loads(frames(chunks)[-1][1])
        assert done["finish_reason"] == "cancelled"
        assert done["cost"] != "0"


class TestModels:
    def test_tell_prices_in_credits_and_health(self, alice: Caller) -> None:
        body = js(alice.get("/v1/models"))
        small = next(item for item in body["items"] if item["id"] == "small")
        assert body["unit"] == "credits per 1,000,000 tokens"
        assert small["prices"] == {
            "input": "6.25",
            "cached_input": "3.125",
            "cache_write": None,
            "output": "25",
            "reasoning": "25",
            "image": None,
        }
        assert (small["health"], small["usable"]) == ("up", True)
        assert {item["id"] for item in body["items"] if not item["usable"]} == {"embed", "image"}
