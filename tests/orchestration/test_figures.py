"""Orchestration's figures for Prometheus."""

from collections.abc import Mapping

from app.admin.orchestration.figures import BOUND, figures
from app.kit.errors import Invalid, Unavailable
from app.kit.stores.documents import Create, Document, Query
from app.orchestration.assembly import Contributions, QueueDependencies, assemble
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.operation import Priority
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep
from app.orchestration.sagas.sagas import SagaStart
from app.orchestration.sweeper import Chore
from orchestration.shop import Shop, Spy, order
from support.clock import no_pause
from support.memory import MemoryDocuments
from support.world import World


def told(shop: Shop, name: str) -> dict[Mapping[str, str] | str, int]:
    """The values of one figure, by the value of its last label."""
    found = [one for one in figures(shop.orchestration) if one.name == name]
    return {([*one.labels.values()] or [""])[-1]: one.value for one in found}


class TestLanes:
    def test_depth_pause_and_the_age_of_what_waits_by_priority(self) -> None:
        shop = Shop([Handler("work", Spy())])
        shop.doorbell.pause("default", True)
        shop.queue.enqueue(order())
        shop.clock.advance(seconds=60)
        shop.queue.enqueue(order(priority=Priority.LOW))
        shop.clock.advance(seconds=30)
        shop.drain()
        assert told(shop, "lane_waiting")["default"] == 2
        assert told(shop, "lane_paused") == {"default": 1, "events": 0, "narrow": 0, "sagas": 0, "vendors": 0}
        ages = [one for one in figures(shop.orchestration) if one.name == "lane_oldest_age_seconds"]
        assert {one.labels["priority"]: one.value for one in ages if one.labels["lane"] == "default"} == {
            "critical": 0,
            "high": 0,
            "normal": 90,
            "low": 30,
        }
        assert len(ages) == 4 * 5, "every lane and priority, so that a rule never meets a gap"

    def test_what_runs_is_not_said_to_wait(self) -> None:
        seen: list[dict[Mapping[str, str] | str, int]] = []

        def work(run: Run) -> RunOutcome:
            shop.clock.advance(minutes=1)
            seen.extend(told(shop, name) for name in ("lane_waiting", "lane_running", "lane_oldest_age_seconds"))
            return Done()

        shop = Shop([Handler("work", work)])
        shop.queue.enqueue(order())
        shop.drain()
        assert [one["default"] for one in seen[:2]] == [0, 1]
        assert set(seen[2].values()) == {0}


class TestOperations:
    def test_overdue_ones_and_how_long(self) -> None:
        shop = Shop([Handler("work", Spy())])
        shop.documents.commit(shop.queue.rows([order(), order()]))
        assert told(shop, "operations_overdue") == {"": 0}
        shop.clock.advance(minutes=2)
        assert told(shop, "operations_overdue") == {"": 2}
        assert told(shop, "operations_overdue_longest_seconds") == {"": 90}, "after the grace that a ring is given"
        shop.pass_time(minutes=1)
        assert told(shop, "operations_overdue") == {"": 0}

    def test_dead_letters_by_name_and_never_more_than_the_bound(self) -> None:
        shop = Shop(
            [Handler("work", Spy([Invalid("no")] * 200)), Handler("mail", Spy([Invalid("no")] * 2), lane="narrow")]
        )
        for name in ("mail", "mail", "work"):
            shop.queue.enqueue(order(name))
        shop.drain()
        assert told(shop, "dead_letters") == {"": 3}
        by_name = [one for one in figures(shop.orchestration) if one.name == "dead_letters_by_name"]
        assert {(one.labels["lane"], one.labels["operation"], one.value) for one in by_name} == {
            ("narrow", "mail", 2),
            ("default", "work", 1),
        }
        for _ in range(BOUND):
            shop.queue.enqueue(order())
        shop.drain()
        assert told(shop, "dead_letters") == {"": BOUND}

    def test_one_that_cannot_be_read_is_counted_all_the_same(self) -> None:
        shop = Shop()
        broken = {"state": "dead", "finished_at": "?", "wake_at": None}
        shop.documents.commit([Create("operations/op_broken", broken)])
        assert told(shop, "dead_letters") == {"": 1}
        assert told(shop, "dead_letters_by_name") == {"None": 1}


class TestSagas:
    def test_those_that_have_not_ended_by_status(self) -> None:
        definition = SagaDefinition("trip", 1, (SagaStep("go", waits_for="sun"),))
        shop = Shop(sagas=[definition])
        for number in range(3):
            shop.sagas.start(SagaStart(f"saga-{number}", "trip"))
        assert told(shop, "sagas") == {"running": 0, "waiting": 3, "compensating": 0, "stuck": 0}
        shop.sagas.cancel("saga-0", "rain")
        shop.sagas.tell("saga-1", "sun", {})
        shop.drain()
        assert told(shop, "sagas") == {"running": 0, "waiting": 1, "compensating": 0, "stuck": 0}


class TestSweeps:
    def test_a_sweeper_that_never_came_or_stays_away_is_seen(self) -> None:
        """T-91: a sweeper that is scheduled and does not run."""
        shop = Shop()
        assert told(shop, "sweep_age_seconds")[""] > 10**9
        shop.pass_time(minutes=1)
        assert told(shop, "sweep_age_seconds") == {"": 0}
        shop.clock.advance(minutes=7)
        assert told(shop, "sweep_age_seconds") == {"": 420}

    def test_so_is_one_whose_chores_fail(self) -> None:
        def broken(limit: int) -> int:
            raise Unavailable("down")

        shop = Shop(chores=[Chore("broken", broken)])
        shop.pass_time(minutes=1)
        assert told(shop, "sweep_failed") == {"": 1}


class Away(MemoryDocuments):
    """A store that answers no query."""

    def query(self, query: Query) -> list[Document]:
        raise Unavailable("down")


class TestAStoreThatIsAway:
    def test_takes_its_own_figures_and_no_others(self) -> None:
        shop = Shop()
        dependencies = QueueDependencies(
            Away(), shop.realtime, shop.clock, shop.ids, shop.draw, shop.alarms, pause=no_pause
        )
        found = {one.name: one.value for one in figures(assemble(dependencies, Contributions()))}
        assert {"lane_waiting", "sweep_age_seconds"} <= set(found)
        assert not {"dead_letters", "sagas", "operations_overdue"} & set(found)
        assert found["figures_missing"] == 4


def test_the_whole_text_is_what_prometheus_reads() -> None:
    world = World()
    world.system.orchestration.sweep()
    text = world.client(world.user("root", role="admin")).get("/v1/monitoring/metrics").get_data(as_text=True)
    for line in (
        'credits_lane_oldest_age_seconds{lane="events",priority="high"} 0.0',
        'credits_lane_paused{lane="events"} 0.0',
        'credits_sagas{status="stuck"} 0.0',
        "credits_operations_overdue 0.0",
        "credits_sweep_age_seconds 0.0",
        "credits_sweep_failed 0.0",
        "credits_figures_missing 0.0",
    ):
        assert line in text.splitlines()
