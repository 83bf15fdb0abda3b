"""`/v1/monitoring/...`"""

import pytest
from werkzeug.test import Client, TestResponse

from app.api.edge import Edge
from app.kit.errors import Unavailable
from app.ports import Dependency
from support.world import World


def down() -> None:
    raise Unavailable("no connection")


def fine() -> None:
    return


UP = Dependency("firestore", essential=True, probe=fine)
NO_STORE = Dependency("firestore", essential=True, probe=down)
NO_VENDOR = Dependency("model_vendor", essential=False, probe=down)


class TestHealth:
    @pytest.mark.parametrize(("dependency", "status"), [(UP, 200), (NO_VENDOR, 200), (NO_STORE, 503)])
    def test_answers_anybody_with_a_status_for_machines(self, dependency: Dependency, status: int) -> None:
        answer = World(dependencies=[dependency]).client(None).get("/v1/monitoring/health")
        assert answer.status_code == status
        assert answer.json is not None
        assert dependency.name in answer.json["dependencies"]

    def test_is_answered_before_the_routed_application_is_built(self) -> None:
        world = World()
        world.client(None).get("/v1/monitoring/health")
        assert "app" not in world.system.__dict__

    def test_is_the_same_from_the_routed_application(self) -> None:
        world = World(dependencies=[NO_VENDOR])
        early = world.client(None).get("/v1/monitoring/health")
        routed = Client(Edge(world.app, ids=world.ids), TestResponse).get("/v1/monitoring/health")
        assert (routed.status_code, routed.data, routed.mimetype) == (early.status_code, early.data, early.mimetype)

    def test_head_has_no_body(self) -> None:
        answer = World().client(None).head("/v1/monitoring/health")
        assert (answer.status_code, answer.data) == (200, b"")

    def test_works_under_both_prefixes(self) -> None:
        assert World().client(None).get("/api/v1/monitoring/health").status_code == 200


class TestInfoAndStatus:
    def test_info_names_what_answers(self) -> None:
        answer = World().client(None).get("/api/v1/monitoring/info").json
        assert answer is not None
        assert (answer["name"], answer["project"]) == ("credits", "demo-credits")
        assert answer["documentation"] == "/api/v1/docs/swagger"

    def test_status_is_a_page_without_scripts(self) -> None:
        page = World(dependencies=[NO_VENDOR]).client(None).get("/v1/monitoring/status")
        assert page.mimetype == "text/html"
        assert "degraded" in page.text
        assert "no connection" in page.text
        assert "<script" not in page.text
        assert "script-src" not in page.headers["Content-Security-Policy"]


class TestMetrics:
    def test_are_for_admins_in_prometheus_format(self) -> None:
        world = World(dependencies=[UP, NO_VENDOR])
        assert world.client(None).get("/v1/monitoring/metrics").status_code == 401
        answer = world.client(world.user("root", role="admin")).get("/v1/monitoring/metrics")
        assert answer.mimetype == "text/plain"
        assert 'credits_dependency_up{dependency="firestore"} 1.0' in answer.text
        assert 'credits_dependency_up{dependency="model_vendor"} 0.0' in answer.text
        assert "credits_instance_peak_memory_bytes" in answer.text

    def test_features_figures_are_among_them(self) -> None:
        """Depth of the lanes, dead letters, and how far mirrors were behind."""
        world = World()
        world.system.credits.service.account("alice")
        world.clock.advance(minutes=2)
        world.system.orchestration.sweep()
        text = world.client(world.user("root", role="admin")).get("/v1/monitoring/metrics").get_data(as_text=True)
        assert "credits_dead_letters 0.0" in text
        assert "credits_lane_waiting{lane=" in text
        assert "credits_mirrors_repaired 1.0" in text, "no trigger ran here, so the sweep had to"
