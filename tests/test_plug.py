"""A feature is a value: one that is plugged in is found at every place where features contribute."""

import pytest

from app.api.auth import Principal
from app.api.callables import Invocation
from app.kit.environment import BadSetting
from app.orchestration.sagas.sagas import SagaStart
from app.wiring import System
from stub_feature.feature import LANE, GreetingFeature, GreetingSettings
from support.world import World


# All that stands outside the feature's folder. A feature of the product writes the same into app/wiring.py.
def plug(system: System) -> GreetingFeature:
    settings = GreetingSettings.read(system.ports.environment)
    return GreetingFeature(settings, system.outbox)


@pytest.fixture
def world() -> World:
    return World(plugins=[plug])


def feature_of(world: World) -> GreetingFeature:
    [found] = [feature for feature in world.system.features if isinstance(feature, GreetingFeature)]
    return found


def test_its_routes_are_served_and_documented(world: World) -> None:
    assert world.client().get("/v1/greetings").json == {"count": 0, "most": 3}
    assert world.client(None).get("/v1/greetings").status_code == 401
    assert "/v1/greetings" in (world.client().get("/v1/docs/openapi.json").json or {})["paths"]


def test_its_callables_are_called_by_name(world: World) -> None:
    feature_of(world).greet("alice")
    call = Invocation(Principal("alice"), {}, "req_1")
    assert world.system.callables["greet"](call) == {"count": 1}


def test_its_operations_run_in_its_lane(world: World) -> None:
    orchestration = world.system.orchestration
    orchestration.queue.enqueue(feature_of(world).order("alice"))
    assert orchestration.run_lane(LANE.name) == 1
    assert feature_of(world).greeted("alice") == 1


def test_it_hears_events_of_other_features(world: World) -> None:
    world.system.credits.service.account("bob")
    world.system.orchestration.run_lane("events")
    assert feature_of(world).greeted("new bob") == 1


def test_its_sagas_run(world: World) -> None:
    world.system.orchestration.sagas.start(SagaStart("round-1", "greetings.round", "alice", {}))
    world.system.orchestration.run_lane("sagas")
    assert feature_of(world).greeted("round-1") == 1


def test_its_chores_are_swept(world: World) -> None:
    assert "greetings" in world.system.orchestration.sweep()
    assert feature_of(world).greeted("swept") == 1


def test_its_figures_and_invariants_are_scraped(world: World) -> None:
    for _ in range(4):
        feature_of(world).greet("alice")
    text = world.client(world.user("root", role="admin")).get("/v1/monitoring/metrics").get_data(as_text=True)
    assert "credits_greetings 1.0" in text
    assert 'credits_invariant_broken{invariant="greetings_are_few"} 1.0' in text
    assert 'credits_invariant_broken{invariant="reservations_end_in_time"} 0.0' in text


def test_its_settings_are_read_from_the_environment() -> None:
    world = World(variables={"GREETINGS_MOST": "5"}, plugins=[plug])
    assert (world.client().get("/v1/greetings").json or {})["most"] == 5
    broken = World(variables={"GREETINGS_MOST": "none"}, plugins=[plug])
    with pytest.raises(BadSetting, match="GREETINGS_MOST"):
        _ = broken.system.features


def test_mounting_all_routes_builds_no_service() -> None:
    """A cold instance pays for what its first request needs, and for nothing else."""
    world = World()
    assert world.client().get("/v1/models").status_code == 200
    built = {name for feature in world.system.features for name in vars(feature) if not name.startswith("_")} - {
        "needs"
    }
    assert built == {"lock", "limiter", "catalogue", "health", "breakers"}
    assert "orchestration" not in vars(world.system)
