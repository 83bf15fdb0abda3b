"""The admin routes: what they show and do, and whom they refuse."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.admin.orchestration.routes import routes
from app.admin.orchestration.service import OrchestrationAdmin
from app.kit.clock import minutes, to_rfc3339
from app.kit.errors import Invalid
from app.orchestration.event_bus import Event, Subscription
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.operation import Priority
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sagas.sagas import SagaStart
from orchestration.shop import Shop, Spy, order
from support.world import Caller, World


def admin(shop: Shop, role: str = "admin") -> Caller:
    world = World()
    blueprint = routes(shop.orchestration, OrchestrationAdmin(shop.orchestration))
    return world.mounted(blueprint, user=world.user("ada", role=role))  # type: ignore[arg-type]  # a role


def json_of(answer: TestResponse) -> Any:
    """The JSON body of an answer."""
    assert answer.json is not None, answer.status
    return answer.json


class TestWhoMay:
    @pytest.mark.parametrize("path", ["lanes", "operations", "dead-letters", "sagas", "subscriptions", "audit-log"])
    def test_nobody_but_staff_looks(self, path: str) -> None:
        assert admin(Shop(), "user").get(f"/v1/orchestration/{path}").status_code == 403
        assert admin(Shop()).get(f"/v1/orchestration/{path}").status_code == 200

    @pytest.mark.parametrize("path", ["lanes/default/pause", "dead-letters/op_1/replay", "events/replay"])
    def test_support_does_not_act(self, path: str) -> None:
        assert admin(Shop(), "support").post(f"/v1/orchestration/{path}").status_code == 403


class TestLanes:
    def test_depth_age_and_pause(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        client = admin(shop)
        assert json_of(client.post("/v1/orchestration/lanes/default/pause"))["paused"] is True
        shop.queue.enqueue(order())
        shop.drain()
        shop.clock.advance(seconds=90)
        lanes = {lane["lane"]: lane for lane in json_of(client.get("/v1/orchestration/lanes"))["lanes"]}
        assert lanes["default"]["waiting"] == 1
        assert lanes["default"]["oldest"] == [{"priority": "normal", "oldest_age_seconds": 90.0}]
        client.post("/v1/orchestration/lanes/default/resume")
        shop.drain()
        assert len(spy.runs) == 1
        assert client.post("/v1/orchestration/lanes/nowhere/pause").status_code == 404


class TestDeadLetters:
    def test_replay_and_discard(self) -> None:
        shop = Shop([Handler("work", Spy([Invalid("no"), Invalid("no")]))])
        client = admin(shop)
        identity = shop.queue.enqueue(order())
        shop.drain()
        [letter] = json_of(client.get("/v1/orchestration/dead-letters"))["items"]
        assert (letter["id"], letter["reason"]) == (identity, "Invalid: no")
        client.post(f"/v1/orchestration/dead-letters/{identity}/replay")
        shop.drain()
        gone = client.post(f"/v1/orchestration/dead-letters/{identity}/discard", json={"reason": "obsolete"})
        assert json_of(gone)["state"] == "discarded"
        assert (
            client.post(f"/v1/orchestration/dead-letters/{identity}/discard", json={"reason": "x y z"}).status_code
            == 409
        )
        taken_out = client.post(f"/v1/orchestration/dead-letters/{identity}/replay")
        assert json_of(taken_out)["state"] == "queued", "a saga may hang on what was put away"
        assert client.post(f"/v1/orchestration/dead-letters/{identity}/replay").status_code == 409
        actions = [line["action"] for line in json_of(client.get("/v1/orchestration/audit-log"))["items"]]
        assert {"replayed", "discarded", "ended"} <= set(actions)

    def test_pages(self) -> None:
        shop = Shop([Handler("work", Spy([Invalid("no") for _ in range(5)]))])
        client = admin(shop)
        for _ in range(5):
            shop.queue.enqueue(order())
            shop.drain()
            shop.clock.advance(seconds=1)
        seen: list[str] = []
        cursor = ""
        while True:
            page = json_of(client.get(f"/v1/orchestration/dead-letters?limit=2{cursor}"))
            seen += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert len(seen) == len(set(seen)) == 5
        assert client.get("/v1/orchestration/dead-letters?cursor=nonsense").status_code == 422


class TestEvents:
    def test_the_table_of_who_listens_to_what(self) -> None:
        table = json_of(admin(listening()).get("/v1/orchestration/subscriptions"))["subscriptions"]
        assert [(line["subscriber"], line["event"]) for line in table] == [
            ("mail", "CreditsDeposited"),
            ("stats", "CreditsDeposited"),
        ]
        assert table[1] == {
            "subscriber": "stats",
            "event": "CreditsDeposited",
            "versions": [1, 2],
            "ordered": True,
            "lane": "events",
            "priority": "low",
            "operation": "stats.on.CreditsDeposited",
        }

    def test_are_replayed_to_one_subscriber_page_by_page_and_leave_a_line(self) -> None:
        shop = listening()
        client = admin(shop)
        asked = replay_of(shop)
        shop.outbox.commit(shop.bus.rows([deposited(shop, n) for n in range(5)]))
        shop.drain()
        assert json_of(client.post(REPLAY, json=asked)) == {"sent": 0, "next_cursor": None}
        told = len(shop.operations())
        sent, cursor = 0, None
        while True:
            shop.clock.advance(us=1)
            page = json_of(client.post(REPLAY, json={**asked, "again": "rebuild-1", "limit": 3, "cursor": cursor}))
            sent, cursor = sent + page["sent"], page["next_cursor"]
            if cursor is None:
                break
        assert (sent, len(shop.operations())) == (5, told + 5)
        assert {one.name for one in [*shop.operations().values()][told:]} == {"stats.on.CreditsDeposited"}
        lines = json_of(client.get("/v1/orchestration/audit-log?operation=stats.on.CreditsDeposited&limit=100"))[
            "items"
        ]
        acts = [line for line in lines if line["action"] == "events_replayed"]
        assert {line["actor"] for line in acts} == {"ada"}
        assert acts[-1]["reason"] == f"from {asked['from']} to {asked['to']}"
        assert acts[0]["reason"].endswith("again as rebuild-1, the next page")

    def test_what_cannot_be_replayed_is_said_and_leaves_no_line(self) -> None:
        shop = listening()
        client, asked = admin(shop), replay_of(shop)
        unknown = client.post(REPLAY, json={**asked, "subscriber": "nobody"})
        assert (unknown.status_code, json_of(unknown)["code"]) == (404, "not_found")
        assert json_of(unknown)["subscriber"] == "nobody"
        assert client.post(REPLAY, json={**asked, "event": "NobodyCares"}).status_code == 404
        for odd in (
            {"from": asked["to"], "to": asked["from"]},
            {"to": asked["from"]},
            {"from": "yesterday"},
            {"limit": 0},
            {"limit": 101},
            {"again": ""},
            {"cursor": "nonsense"},
        ):
            answer = client.post(REPLAY, json={**asked, **odd})
            assert (answer.status_code, json_of(answer)["code"]) == (422, "validation_failed"), odd
        assert json_of(client.get("/v1/orchestration/audit-log"))["items"] == []

    def test_the_whole_of_time_is_a_range(self) -> None:
        shop = listening()
        shop.outbox.commit(shop.bus.rows([deposited(shop, 1)]))
        always = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "again": "all"}
        assert json_of(admin(shop).post(REPLAY, json={**replay_of(shop), **always}))["sent"] == 1


REPLAY = "/v1/orchestration/events/replay"


def listening() -> Shop:
    def react(event: Event, run: Run) -> RunOutcome:
        return Done()

    stats = Subscription("stats", "CreditsDeposited", react, frozenset({2, 1}), ordered=True, priority=Priority.LOW)
    return Shop(subscriptions=[stats, Subscription("mail", "CreditsDeposited", react)])


def deposited(shop: Shop, n: int) -> Event:
    return Event(shop.ids.new("evt"), "CreditsDeposited", 1, "alice", shop.clock.now_us() + n, {})


def replay_of(shop: Shop) -> dict[str, object]:
    now_us = shop.clock.now_us()
    return {
        "subscriber": "stats",
        "event": "CreditsDeposited",
        "from": to_rfc3339(now_us),
        "to": to_rfc3339(now_us + minutes(1)),
    }


class TestTheAuditLog:
    def test_holds_what_an_admin_stopped(self) -> None:
        definition = SagaDefinition("trip", 1, (SagaStep("go", waits_for="sun"),))
        shop = Shop([Handler("work", Spy())], sagas=[definition])
        client = admin(shop)
        shop.sagas.start(SagaStart("saga-1", "trip"))
        identity = shop.queue.enqueue(order())
        for path in (f"operations/{identity}", "sagas/saga-1"):
            assert client.post(f"/v1/orchestration/{path}/cancel", json={"reason": "rain"}).status_code == 200
        lines = json_of(client.get("/v1/orchestration/audit-log"))["items"]
        stopped = {(line["operation"], line["actor"]) for line in lines if line["action"] == "cancelled"}
        assert stopped == {("work", "ada"), ("saga saga-1", "ada")}


class TestSagas:
    def test_a_saga_with_its_timeline(self) -> None:
        definition = SagaDefinition(
            "trip", 1, (SagaStep("pack", lambda run: StepDone()), SagaStep("go", waits_for="sun"))
        )
        shop = Shop(sagas=[definition])
        shop.sagas.start(SagaStart("saga-1", "trip", account="alice"))
        shop.drain()
        client = admin(shop)
        saga = json_of(client.get("/v1/orchestration/sagas/saga-1"))
        assert (saga["status"], saga["progress"]) == ("waiting", 0.5)
        assert [line["what"] for line in saga["timeline"]] == ["started", "running", "done", "waiting"]
        cancelled = client.post("/v1/orchestration/sagas/saga-1/cancel", json={"reason": "rain"})
        assert json_of(cancelled)["status"] == "compensated"
        assert [item["id"] for item in json_of(client.get("/v1/orchestration/sagas?status=compensated"))["items"]] == [
            "saga-1"
        ]
