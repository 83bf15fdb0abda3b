"""The suite that the other tests stand on: what it promises them."""

import base64
import json
import socket
import subprocess
import sys
import threading

import psutil
import requests

from emulators.suite.environment import FUNCTIONS
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import ROOT
from emulators.suite.places import HOST, PROJECT, origin
from emulators.suite.processes import marked
from support.suite import RunningSuite, eventually


class TestServices:
    def test_every_function_of_main_is_loaded(self, suite: RunningSuite) -> None:
        backends = requests.get(origin(suite.ports.functions) + "/backends", timeout=10).json()["backends"]
        loaded = {trigger["entryPoint"] for backend in backends for trigger in backend["functionTriggers"]}
        assert deployed_functions(FUNCTIONS / "main.py") <= loaded

    def test_the_model_vendor_is_simulated(self, suite: RunningSuite) -> None:
        assert requests.get(suite.models + "/healthz", timeout=10).status_code == 200

    def test_everything_listens_on_the_loopback_only(self, suite: RunningSuite) -> None:
        listening = {
            connection.laddr[0]
            for process in marked(suite.mark)
            for connection in process.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {HOST, "::1", "::ffff:127.0.0.1"}


class TestFunctions:
    def test_hosting_hands_api_calls_to_the_function(self, suite: RunningSuite) -> None:
        direct = requests.get(suite.api + "/v1/monitoring/health", timeout=60)
        through_hosting = requests.get(suite.hosting + "/api/v1/monitoring/health", timeout=60)
        assert direct.status_code == through_hosting.status_code == 200

    def test_a_killed_worker_is_replaced_at_the_next_call(self, suite: RunningSuite) -> None:
        health = suite.api + "/v1/monitoring/health"
        assert requests.get(health, timeout=60).ok
        before = {process.pid for process in suite.workers("api")}
        assert suite.kill_workers("api") == len(before)
        eventually(lambda: requests.get(health, timeout=60).ok, what="an answer of a new worker")
        after = {process.pid for process in suite.workers("api")}
        assert after
        assert not after & before

    def test_a_scheduled_function_runs_when_it_is_fired(self, suite: RunningSuite) -> None:
        assert suite.fire("sweep").ok

    def test_a_killed_schedule_worker_does_not_break_the_next_run(self, suite: RunningSuite) -> None:
        suite.fire("sweep")
        suite.kill_workers("sweep")
        eventually(lambda: suite.fire("sweep").ok, what="a run in a new worker")

    def test_two_requests_two_seconds_apart_both_succeed(self, suite: RunningSuite) -> None:
        """gunicorn closes idle sockets after two seconds; unrepaired, the next call may fail."""
        health = suite.api + "/v1/monitoring/health"
        pause = threading.Event()
        answers = []
        for _ in range(4):
            answers.append(requests.get(health, timeout=60).status_code)
            pause.wait(2.0)
        assert answers == [200] * 4


class TestUsers:
    def test_a_new_user_can_sign_in(self, suite: RunningSuite) -> None:
        alice = suite.create_user()
        looked_up = requests.post(
            f"{origin(suite.ports.auth)}/identitytoolkit.googleapis.com/v1/accounts:lookup?key=local",
            json={"idToken": alice.id_token},
            timeout=10,
        ).json()
        assert looked_up["users"][0]["localId"] == alice.uid

    def test_claims_are_in_the_first_token(self, suite: RunningSuite) -> None:
        admin = suite.create_user(claims={"role": "admin"})
        payload = admin.id_token.split(".")[1]
        assert '"role":"admin"' in _base64url(payload)


class TestStorageRules:
    """The stand-in, as clients meet it through the emulator."""

    def test_a_signed_in_client_can_neither_read_nor_write(self, suite: RunningSuite) -> None:
        alice = suite.create_user()
        bucket = f"{origin(suite.ports.storage)}/v0/b/{PROJECT}.appspot.com/o"
        headers = {"Authorization": f"Firebase {alice.id_token}"}
        assert requests.post(f"{bucket}?name=mine.txt", data=b"x", headers=headers, timeout=20).status_code == 403
        assert requests.get(f"{bucket}/mine.txt", headers=headers, timeout=20).status_code in {403, 404}

    def test_the_server_can_do_both(self, suite: RunningSuite) -> None:
        bucket = f"{origin(suite.ports.storage)}/v0/b/{PROJECT}.appspot.com/o"
        owner = {"Authorization": "Bearer owner", "Content-Type": "text/plain"}
        assert requests.post(f"{bucket}?name=ours.txt", data=b"x", headers=owner, timeout=20).ok
        assert requests.get(f"{bucket}/ours.txt?alt=media", headers=owner, timeout=20).content == b"x"


class TestSecondSuite:
    def test_a_busy_port_is_named_with_its_holder_and_the_way_out(self, suite: RunningSuite) -> None:
        with socket.socket() as stranger:
            stranger.bind((HOST, suite.ports.auth + 15))  # auth of a suite 15 further up
            stranger.listen()
            said = _try_to_run(suite.offset + 15)
        assert f"Port {suite.ports.auth + 15}" in said
        assert "PORT_OFFSET" in said

    def test_the_same_ports_twice_is_refused_in_one_sentence(self, suite: RunningSuite) -> None:
        said = _try_to_run(suite.offset)
        assert "already runs here" in said
        assert "Traceback" not in said


def _try_to_run(offset: int) -> str:
    command = [sys.executable, "-m", "emulators.suite", "run", "--for-tests", "--port-offset", str(offset)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


def _base64url(text: str) -> str:
    return json.dumps(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))), separators=(",", ":"))
