"""A quote binds: that model, those prices, that ceiling, for one message and for a while."""

import threading
from pathlib import Path
from typing import Any

import pytest

from app.chat.quotes import binding_quote
from app.chat.quotes.binding_quote import NoSuchQuote, QuoteExpired, QuoteMismatch, QuoteUsed
from app.kit.money import from_decimal
from app.kit.stores.documents import Merge, Value
from app.models.catalogue import BUNDLED
from app.models.usage import TokenUsage
from support.raw_vendor import Reply, event, replying, stream, text
from support.vendor import Vendor, vendor, vendor_process
from support.world import Caller, World

__all__ = ["vendor", "vendor_process"]

ASKED = {"content": "What is a ledger?"}


@pytest.fixture
def world(vendor: Vendor) -> World:
    return World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def alice(world: World) -> Caller:
    return world.client("alice")


def begin(client: Caller, **body: object) -> str:
    return str((client.post("/v1/chat/conversations", json={"model": "small", **body}).json or {})["id"])


def quoted(client: Caller, conversation: str | None, **body: object) -> dict[str, Any]:
    answer = client.post("/v1/chat/quotes", json={"conversation_id": conversation, **ASKED, **body})
    assert answer.status_code == 201, answer.text
    return {**(answer.json or {})}


def send(client: Caller, conversation: str, quote: str, key: str = "", **body: object) -> tuple[int, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    asked = {**ASKED, "quote_id": quote, **body}
    answer = client.post(f"/v1/chat/conversations/{conversation}/messages", json=asked, headers=headers)
    return answer.status_code, answer.json


def price_book(world: World) -> object:
    """By which the one charge was made, as its entry says."""
    entries = [one.fields for path, one in world.documents.all().items() if "/entries/" in path]
    [found] = [one["price_book"] for one in entries if one["kind"] == "settle"]
    return found


def dearer(tmp_path: Path) -> str:
    """Another version of the catalogue, in which small and large cost more."""
    written = BUNDLED.read_text().replace("local-2026-11-21", "local-2026-12-24")
    written = written.replace("output = 25_000_000", "output = 99_000_000").replace(
        "input = 6_250_000", "input = 9_000_000"
    )
    written = written.replace("output = 417_000_000", "output = 900_000_000")
    path = tmp_path / "catalogue.toml"
    path.write_text(written)
    return str(path)


class TestAQuote:
    def test_is_kept_by_the_message_that_takes_it(self, world: World, alice: Caller) -> None:
        conversation = begin(alice)
        told = quoted(alice, conversation)
        amounts = [from_decimal(told[name]) for name in ("p50", "p90", "ceiling")]
        assert amounts == sorted(amounts)
        assert (told["model"], told["reason"], told["choice"]) == ("small", "conversation", None)
        status, turn = send(alice, conversation, told["quote_id"])
        assert (status, turn["ceiling"], turn["model"]) == (200, told["ceiling"], "small")
        assert price_book(world) == told["price_book"]

    def test_of_a_chosen_model_binds_it_and_tells_why(self, alice: Caller) -> None:
        """Also when the user's preferences would choose another one by now."""
        conversation = begin(alice, model="auto")
        told = quoted(alice, conversation, model="auto")
        excluded = [told["choice"]["alternatives"][0]["model"]]
        assert told["reason"] == told["choice"]["because"] and excluded != [told["model"]]
        wish = {"defaults": {told["choice"]["task"]: excluded[0]}}
        assert alice.put("/v1/models/preferences", json=wish).status_code == 200
        status, turn = send(alice, conversation, told["quote_id"])
        assert (status, turn["model"], turn["choice"]) == (200, told["model"], told["choice"])
        assert turn["ceiling"] == told["ceiling"]

    def test_of_a_new_conversation_is_for_its_first_message(self, alice: Caller) -> None:
        told = quoted(alice, None, model="large")
        status, turn = send(alice, begin(alice), told["quote_id"])
        assert (status, turn["model"], turn["ceiling"]) == (200, "large", told["ceiling"])

    def test_bounds_the_message_by_its_own_limit(self, alice: Caller) -> None:
        conversation = begin(alice)
        told = quoted(alice, conversation, max_cost="0.01")
        assert told["ceiling"] == "0.01"
        assert send(alice, conversation, told["quote_id"])[1]["ceiling"] == "0.01"

    def test_reserves_and_charges_nothing(self, alice: Caller) -> None:
        before = alice.get("/v1/credits/balance").json
        quoted(alice, begin(alice))
        assert alice.get("/v1/credits/balance").json == before

    def test_is_of_its_user_alone(self, world: World, alice: Caller) -> None:
        told, bob = quoted(alice, None), world.client("bob")
        status, problem = send(bob, begin(bob), told["quote_id"])
        assert (status, problem["code"]) == (404, NoSuchQuote.code)
        refused = bob.post("/v1/chat/quotes", json={**ASKED, "conversation_id": begin(alice)})
        assert refused.status_code == 404

    def test_holds_no_text_and_is_forgotten(self, world: World, alice: Caller) -> None:
        """What was asked is not kept beside the conversation, which can be deleted."""
        told = quoted(alice, begin(alice))
        stored = world.documents.all()[f"users/alice/quotes/{told['quote_id']}"].fields
        assert "ledger" not in repr(stored)
        assert stored["expire_at"] is not None


class TestAnotherMessage:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("content", "What is a lease?"),
            ("images", ["https://example.com/cat.png"]),
            ("model", "large"),
            ("max_cost", "0.5"),
            ("parent_id", "root"),
        ],
    )
    def test_is_refused_by_the_name_of_what_is_different(self, alice: Caller, field: str, value: object) -> None:
        conversation = begin(alice)
        told = quoted(alice, conversation)
        status, problem = send(alice, conversation, told["quote_id"], "", **{field: value})
        assert (status, problem["code"], problem["fields"]) == (422, QuoteMismatch.code, [field])
        assert send(alice, conversation, told["quote_id"])[0] == 200, "it was not used"

    def test_of_another_conversation_is_refused(self, alice: Caller) -> None:
        told = quoted(alice, begin(alice))
        status, problem = send(alice, begin(alice), told["quote_id"])
        assert (status, problem["fields"]) == (422, ["conversation_id"])

    def test_may_say_again_what_was_asked_or_what_was_told(self, alice: Caller) -> None:
        conversation, asked = begin(alice), {"model": "auto", "max_cost": "9"}
        told = quoted(alice, conversation, **asked)
        for named in ({}, asked, {"model": told["model"], "max_cost": told["ceiling"]}):
            quote = quoted(alice, None, **asked)["quote_id"]
            assert send(alice, begin(alice), quote, "", **named)[0] == 200


class TestAChange:
    def test_of_the_conversation_ends_the_quote(self, alice: Caller) -> None:
        """Its model would be sent a longer prompt than was priced."""
        conversation = begin(alice)
        told = quoted(alice, conversation)
        assert alice.post(f"/v1/chat/conversations/{conversation}/messages", json=ASKED).status_code == 200
        status, problem = send(alice, conversation, told["quote_id"])
        assert (status, problem["code"]) == (409, "quote_outdated")

    def test_of_the_system_prompt_ends_the_quote(self, alice: Caller) -> None:
        conversation = begin(alice)
        told = quoted(alice, conversation)
        alice.patch(f"/v1/chat/conversations/{conversation}", json={"system_prompt": "Be brief."})
        assert send(alice, conversation, told["quote_id"])[1]["code"] == "quote_outdated"

    def test_of_the_prices_does_not_touch_the_quote(self, vendor: Vendor, tmp_path: Path) -> None:
        """Asked of an instance with other prices, the message costs what it would have, and its entry says why."""
        world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})
        alice = world.client("alice")
        conversation = begin(alice)
        told = quoted(alice, conversation)
        world.ports.variables["MODEL_CATALOGUE"] = dearer(tmp_path)
        later = World(ports=world.ports).client("alice")
        status, turn = send(later, conversation, told["quote_id"])
        used = TokenUsage(input=turn["usage"]["input_tokens"], output=turn["usage"]["output_tokens"])
        assert status == 200
        assert from_decimal(turn["cost"]) == world.system.models.book.cost(
            world.system.models.book.catalogue.get("small"), used
        )
        assert (turn["ceiling"], price_book(world)) == (told["ceiling"], "local-2026-11-21")
        fresh = quoted(later, conversation)
        assert fresh["price_book"] == "local-2026-12-24"
        assert from_decimal(fresh["ceiling"]) > from_decimal(told["ceiling"])

    def test_of_the_prices_does_not_touch_what_a_fallback_costs(self, tmp_path: Path) -> None:
        """T-20."""
        broken, usage = Reply(500, b"{}"), {"prompt_tokens": 20, "completion_tokens": 1_000}
        finish = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=usage)
        with replying(broken, broken, stream(text("word " * 1_000), finish, b"data: [DONE]\n\n")) as raw:
            world = World(variables={"AI_PLATFORM_BASE_URL": raw.base_url})
            alice = world.client("alice")
            conversation = begin(alice)
            told = quoted(alice, conversation)
            world.ports.variables["MODEL_CATALOGUE"] = dearer(tmp_path)
            status, turn = send(World(ports=world.ports).client("alice"), conversation, told["quote_id"])
            assert (status, turn["model"]) == (200, "large")
            assert from_decimal(turn["cost"]) == (20 * 104_000_000 + 1_000 * 417_000_000) // 1_000_000

    def test_that_takes_its_model_away_refuses_it(self, world: World, tmp_path: Path) -> None:
        alice = world.client("alice")
        conversation = begin(alice)
        told = quoted(alice, conversation)
        path = tmp_path / "catalogue.toml"
        path.write_text(BUNDLED.read_text().replace("models.small", "models.tiny"))
        world.ports.variables["MODEL_CATALOGUE"] = str(path)
        status, problem = send(World(ports=world.ports).client("alice"), conversation, told["quote_id"])
        assert (status, problem["code"]) == (422, "model_unknown")


class TestOnce:
    def test_a_second_message_is_refused(self, alice: Caller) -> None:
        conversation = begin(alice)
        told = quoted(alice, None)
        assert send(alice, conversation, told["quote_id"])[0] == 200
        status, problem = send(alice, begin(alice), told["quote_id"])
        assert (status, problem["code"], problem["quote_id"]) == (409, QuoteUsed.code, told["quote_id"])

    def test_a_repeat_of_its_key_is_the_same_message(self, alice: Caller) -> None:
        conversation = begin(alice)
        told, other = quoted(alice, conversation), quoted(alice, conversation)
        first = send(alice, conversation, told["quote_id"], "k")
        assert first[0] == 200
        assert send(alice, conversation, told["quote_id"], "k") == first
        assert send(alice, conversation, other["quote_id"], "k")[1]["code"] == "idempotency_key_reused"

    def test_messages_at_once_take_it_once(self, world: World, alice: Caller) -> None:
        told = quoted(alice, None)
        conversations = [begin(alice) for _ in range(8)]
        answers: list[int] = []
        barrier = threading.Barrier(8)

        def one(conversation: str) -> None:
            barrier.wait(30)
            answers.append(send(alice, conversation, told["quote_id"])[0])

        threads = [threading.Thread(target=one, args=(conversation,)) for conversation in conversations]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200] + 7 * [409]
        charged = [one for one in (alice.get("/v1/credits/history").json or {})["items"] if one["amount"][0] == "-"]
        assert len(charged) == 1

    def test_one_that_is_refused_for_its_credits_leaves_it(self, vendor: Vendor) -> None:
        variables = {"AI_PLATFORM_BASE_URL": vendor.base_url, "WELCOME_BONUS_AMOUNT": "0.000001"}
        world = World(variables=variables)
        alice = world.client("alice")
        conversation = begin(alice)
        told = quoted(alice, conversation)
        assert send(alice, conversation, told["quote_id"])[0] == 402
        stored = world.documents.all()[f"users/alice/quotes/{told['quote_id']}"]
        assert stored.fields["used_by"] == ""

    def test_one_that_failed_for_nothing_may_be_sent_again_by_its_key(self, vendor: Vendor, alice: Caller) -> None:
        conversation = begin(alice)
        told = quoted(alice, conversation)
        for model in ("sim-small", "sim-large"):
            vendor.arrange("status=500", model=model, times=2)
        assert send(alice, conversation, told["quote_id"], "k")[0] == 503
        vendor.reset()
        assert send(alice, conversation, told["quote_id"], "k")[0] == 200
        assert send(alice, conversation, told["quote_id"])[0] == 409


class TestItsTime:
    def test_is_told_and_kept_to_the_second(self, world: World, alice: Caller) -> None:
        conversation = begin(alice)
        told, other = quoted(alice, conversation), quoted(alice, conversation)
        world.clock.advance(seconds=299)
        late = world.client("alice")
        assert send(late, conversation, told["quote_id"])[0] == 200
        world.clock.advance(seconds=1)
        status, problem = send(world.client("alice"), conversation, other["quote_id"])
        assert (status, problem["code"], problem["expired_at"]) == (409, QuoteExpired.code, other["expires_at"])


def test_a_spoilt_quote_is_none(world: World, alice: Caller) -> None:
    conversation = begin(alice)
    told = quoted(alice, conversation)
    path, wrong = f"users/alice/quotes/{told['quote_id']}", dict[str, Value](ceiling=0, prices=None, expires_at="soon")
    whole = world.documents.all()[path].fields
    for name, value in {**wrong, "asked": {}}.items():
        world.documents.commit([Merge(path, {name: value})])
        assert send(alice, conversation, told["quote_id"])[0] == 404
        world.documents.commit([Merge(path, {name: whole[name]})])
    assert send(alice, conversation, told["quote_id"])[0] == 200


def test_a_message_with_a_quote_costs_two_reads_and_a_write_more(world: World, alice: Caller) -> None:
    def counted(**quote: str) -> tuple[int, int]:
        conversation = begin(alice)
        reads, writes = world.documents.reads, world.documents.writes
        answer = alice.post(f"/v1/chat/conversations/{conversation}/messages", json={**ASKED, **quote})
        assert answer.status_code == 200
        return world.documents.reads - reads, world.documents.writes - writes

    counted()
    without, told = counted(), quoted(alice, None)
    with_one = counted(quote_id=told["quote_id"])
    assert without == (2, 6)
    assert with_one == (4, 7)


def test_is_read_as_it_was_written(world: World, alice: Caller) -> None:
    """With tiers, a choice, and all that was asked."""
    told = quoted(alice, begin(alice), model="auto", max_cost="9", images=["https://example.com/cat.png"])
    [stored] = [one for path, one in world.documents.all().items() if "/quotes/" in path]
    found = binding_quote.read("alice", told["quote_id"], stored.fields)
    assert {**binding_quote.write(found), "expire_at": stored.fields["expire_at"]} == stored.fields
    assert (found.choice is not None, found.asked.max_cost) == (True, 9_000_000)
    assert any(tiers for _, tiers in found.prices.values())
