"""One of everything: a run of the whole backend in memory in which each feature writes all that it ever writes.

What no feature of this deployment uses yet (sagas, operations with a key, the inbox) is used here by a small one.
"""

import json
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from app.chat.door.completion import CompletionAsk
from app.credits.proofs.heads import LAYERS
from app.credits.proofs.signing import Signer
from app.kit.errors import Rejection
from app.kit.stores.documents import Merge
from app.kit.stores.rows import MOST_READ
from app.metering.billing import Mode
from app.models.gateway import Message
from app.orchestration.assembly import Contributions, Orchestration, QueueDependencies, assemble
from app.orchestration.queue.handler import Done, Handler, Lane, Run
from app.orchestration.queue.inbox import Inbox
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone, StepRun
from app.orchestration.sagas.sagas import SagaStart
from app.ports import Identity
from docs.recording import Journal, RecordedDocuments, RecordedRealtime
from support.clock import no_pause
from support.credits_world import promo
from support.vendor import Vendor
from support.world import ENVIRONMENT, Caller, MemoryPorts, World

KEY = {"Idempotency-Key": "once"}
RETIRED = Signer(b"\x07" * 32).public


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Everything:
    """What the run left behind in the journals, and the names of archived objects."""

    documents: Journal
    realtime: Journal
    archived: list[str]


def run(vendor: Vendor) -> Everything:
    """Plays it all."""
    documents, realtime = RecordedDocuments(), RecordedRealtime()
    variables = {
        "AI_PLATFORM_BASE_URL": vendor.base_url,
        "WELCOME_BONUS_CHECKS": "on",
        "WELCOME_BONUS_ON_PURCHASE": "1",
        "LEDGER_RETIRED_KEYS": RETIRED,
        "RATE_LIMITS": ENVIRONMENT["RATE_LIMITS"] + " anonymous=19",
    }
    verified = {"alice", "root", "ada"}
    ports = MemoryPorts(
        documents=documents,
        realtime=realtime,
        identities=lambda uid: Identity(uid, "password", uid, f"{uid}@example.org", uid in verified, created_at_us=1),
    )
    world = World(ports=ports, variables=variables)
    talk(world, vendor)
    make_keys(world)
    account(world, verified)
    seal_often(world)
    administrate(world)
    for user in ("alice", "bob") * 3:
        if permit := world.system.models.breakers.take("vision"):
            world.system.models.breakers.failed(permit, user)
    world.system.models.breakers.settle()
    world.clock.advance(seconds=11)
    assert world.system.models.breakers.take("vision")
    work = assembled(world)
    operate(world, work)
    world.clock.advance(minutes=20)
    world.system.orchestration.sweep()
    flood(world, work)
    return Everything(documents.journal, realtime.journal, [*ports.archive])


def talk(world: World, vendor: Vendor) -> None:
    """Answers: whole, failed, of a fallback, cancelled elsewhere, cut off by a kill; and a deleted conversation."""
    alice = world.client("alice")
    conversation = _json(alice.post("/v1/chat/conversations", json={"model": "small"}))["id"]
    path = f"/v1/chat/conversations/{conversation}"
    alice.patch(path, json={"title": "Mine"})
    assert _json(alice.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY))["status"] == "done"
    vendor.arrange("status=500", times=None, contains="fail")
    for _ in range(2):  # the second one is another attempt at the same turn
        assert alice.post(f"{path}/messages", json={"content": "fail"}, headers={"Idempotency-Key": "f"}).status_code
    vendor.arrange("status=500", times=2, contains="another", model="sim-small")
    assert _json(alice.post(f"{path}/messages", json={"content": "another"}))["route"] == "fallback"
    _cancel_elsewhere(world, vendor, alice, f"{path}/messages")
    killed = _stream(alice, f"{path}/messages", "killed")
    next(killed)
    world.clock.advance(minutes=6)
    world.system.orchestration.sweep()
    killed.close()
    assert alice.put("/v1/models/preferences", json={"optimize": "cost"}).status_code == 200
    asked = {"content": "Hi", "model": "auto"}
    quote = _json(alice.post("/v1/chat/quotes", json={**asked, "conversation_id": conversation}))["quote_id"]
    assert _json(alice.post(f"{path}/messages", json={**asked, "quote_id": quote}))["route"] == "auto"
    alice.get(path)
    alice.get(f"{path}/messages")
    alice.get("/v1/chat/conversations")
    alice.get("/v1/chat/search?q=another")
    shared = _json(alice.post(f"{path}/share"))["path"]
    assert world.client(None).get(shared, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    exported = _json(alice.get(f"{path}/export"))
    alice.delete(path)
    assert _json(alice.post("/v1/chat/conversations/import", json={"conversations": [exported]}))["items"]
    world.system.orchestration.run_lane("default")


def make_keys(world: World) -> None:
    """An API key that pays for a completion, is rotated and listed, and one that is deleted."""
    alice = world.client("alice")
    budgets = [{"window": "24h", "credits": "100"}]
    first, second = (
        _json(alice.post("/v1/keys", json={"name": name, "budgets": budgets})) for name in ("first", "second")
    )
    program = Caller(world.system.edge, first["key"])
    asked = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(2):
        assert program.post("/v1/openai/chat/completions", json=asked, headers=KEY).status_code == 200
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    calling = {"model": "small", "messages": [{"role": "user", "content": "Weather in Paris?"}], "tools": [tool]}
    answer = program.post("/v1/openai/chat/completions", json=calling, headers={"Idempotency-Key": "tools"})
    assert _json(answer)["choices"][0]["finish_reason"] == "tool_calls"
    killed = world.system.chat.completions.answer(
        CompletionAsk("alice", "small", (Message("user", "Hi"),)), Mode.STREAM
    )
    world.clock.advance(minutes=6)
    world.system.orchestration.sweep()
    killed.close()
    assert alice.post(f"/v1/keys/{first['id']}/rotate", json={}).status_code == 200
    assert alice.delete(f"/v1/keys/{second['id']}").status_code == 204
    assert [key["id"] for key in _json(alice.get("/v1/keys"))["items"]] == [first["id"]]


def account(world: World, verified: set[str]) -> None:
    """What a user does with credits, and the two ways to the bonus."""
    alice, bob = world.client("alice"), world.client("bob")
    bob.get("/v1/credits/balance")
    verified.add("bob")
    assert bob.post("/v1/credits/welcome-bonus", json={"device_fingerprint": "abcdefgh"}).status_code == 201
    amount = {"amount": "1", "purpose": "test"}
    held = [_json(alice.post("/v1/credits/reserve", json=amount, headers=KEY)) for _ in range(2)]
    body = {"reservation_id": held[0]["id"]}
    assert alice.post("/v1/credits/release-reservation", json=body).status_code == 200
    entry = _json(alice.get("/v1/credits/history"))["items"][0]["id"]
    for path in ("balance", "analytics", "validate-chain", "reservations", f"verify/{entry}", f"receipts/{entry}"):
        assert alice.get(f"/v1/credits/{path}").status_code == 200, path
    alice.post("/v1/credits/sync-balance")
    stored = world.documents.get("accounts/alice")
    assert stored is not None
    world.system.credits.account_written(stored.fields)


def seal_often(world: World) -> None:
    """So many checkpoints change one account that its group is archived whole."""
    bank = world.system.credits.service
    for number in range(LAYERS):
        bank.post("bob", promo(f"gift-{number}", 1, None))
        assert bank.checkpoints.seal() is not None


def administrate(world: World) -> None:
    """A correction of one administrator that another approves, one that is rejected, and a repair."""
    root, ada = (world.client(world.user(uid, role="admin")) for uid in ("root", "ada"))
    for verdict in ("approve", "reject"):
        proposal = {"uid": "alice", "amount": "1", "reason": "a mistake"}
        made = _json(root.post("/v1/credits/corrections", json=proposal))["id"]
        assert ada.post(f"/v1/credits/corrections/{made}/{verdict}").status_code == 200
    entry = _json(world.client("alice").get("/v1/credits/history"))["items"][0]["id"]
    reversal = {"uid": "alice", "reverses": entry, "reason": "a mistake"}
    assert root.post("/v1/credits/corrections", json=reversal).status_code == 201
    world.documents.commit([Merge("accounts/alice", {"balance": 1})])
    world.system.orchestration.sweep()
    assert _json(root.post("/v1/credits/repair", json={"uid": "alice"}))["repaired"] is True
    for status in ("suspended", "active"):
        told = _json(root.post("/v1/credits/status", json={"uid": "alice", "status": status, "reason": "a look"}))
        assert told["status"] == status
    restored = {"reason": "repaired", "accept": False}
    assert root.post("/v1/credits/breaches/account-alice/resolve", json=restored).status_code == 202
    world.system.orchestration.sweep()
    assert _json(root.get("/v1/credits/breaches"))["items"] == []


def assembled(world: World) -> Orchestration:
    """A queue beside the deployment's, with an operation that has a key and a vendor, and a saga of each ending."""

    def refuse(_: StepRun) -> StepDone:
        raise Rejection("not today")

    ports = world.ports
    sagas = (
        SagaDefinition("good", 1, (SagaStep("only", action=lambda _: StepDone()),)),
        SagaDefinition("bad", 1, (SagaStep("only", action=refuse),)),
    )

    def work(run: Run) -> Done:
        if run.operation.attempts == 1 and run.operation.key == "k":
            raise Killed
        return Done({"ok": 1})

    dependencies = QueueDependencies(
        ports.documents, ports.realtime, ports.clock, ports.ids, ports.draw, ports.alarms, pause=no_pause
    )
    handler, narrow = Handler("keyed", work, lane="narrow", vendor="acme"), Lane("narrow", 1, {"acme": 1})
    return assemble(dependencies, Contributions(handlers=(handler,), sagas=sagas, lanes=(narrow,)))


def operate(world: World, work: Orchestration) -> None:
    """The queue by hand of an administrator, and what waits for features to come."""
    root = world.client(world.user("root", role="admin"))
    letter = world.system.orchestration.queue.enqueue(Order("chat.delete_conversation"))
    world.system.orchestration.run_lane("default")
    for lane in ("pause", "resume"):
        assert root.post(f"/v1/orchestration/lanes/default/{lane}").status_code == 200
    assert _json(root.get("/v1/orchestration/dead-letters"))["items"]
    reason = {"reason": "nobody's"}
    assert root.post(f"/v1/orchestration/dead-letters/{letter}/discard", json=reason).status_code == 200
    work.queue.enqueue(Order("keyed", key="k"))
    with suppress(Killed):
        work.runner.serve("narrow")
    work.queue.enqueue(Order("keyed", key="refused"))
    work.runner.serve("narrow")
    world.clock.advance(minutes=5)
    work.sweeper.tick()
    work.runner.serve("narrow")
    for name in ("good", "bad"):
        work.sagas.start(SagaStart(f"saga_{name}", name, account="alice"))
        work.runner.serve("sagas")
        work.mirror.reflect(f"saga_{name}")
    for path in ("audit-log", "operations?state=dead", "sagas", "sagas/saga_good", "lanes"):
        assert root.get(f"/v1/orchestration/{path}").status_code == 200, path
    assert root.get("/v1/monitoring/metrics").status_code == 200
    Inbox(world.documents, world.clock, no_pause).once("handler", "event", lambda: ())


def flood(world: World, work: Orchestration) -> None:
    """More that is overdue than one sweep looks at."""
    many = MOST_READ + 1
    rows = work.queue.rows([Order("keyed")] * many)
    for start in range(0, many, 500):
        world.documents.commit(rows[start : start + 500])
    world.clock.advance(minutes=1)
    for _ in range(2):
        work.sweeper.tick()


def _cancel_elsewhere(world: World, vendor: Vendor, alice: Caller, messages: str) -> None:
    """Another instance is asked, which leaves word for the one that streams."""
    vendor.arrange("stall-after=2", contains="stop me")
    events = _stream(alice, messages, "stop me")
    start = next(events)
    message = json.loads(start.split(b"data: ")[1])["message_id"]
    other = World(ports=world.ports).client("alice")
    assert other.post(f"/v1/chat/messages/{message}/cancel").status_code == 202
    assert b'"cancelled"' in b"".join(events)


def _stream(client: Caller, messages: str, content: str) -> Generator[bytes, None, None]:
    """The bytes of an answer as they come."""
    answer = client.post(messages, json={"content": content}, headers={"Accept": "text/event-stream"})
    try:
        for piece in answer.response:
            yield piece if isinstance(piece, bytes) else piece.encode()
    finally:
        answer.close()


def _json(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code < 400, answer.text
    assert isinstance(answer.json, dict)
    return answer.json
