"""The page of deployed functions: what is on it, how it is configured, and what importing it costs."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with firebase-functions, without types

from app.models.vendors.reading import BUNDLED, variables
from support.framework import serving, status_of

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
HEAVY = [
    "openai",
    "langchain",
    "langchain_core",
    "langgraph",
    "web3",
    "stripe",
    "google.cloud.storage",
    "google.cloud.firestore",
    "google.cloud.firestore_v1",
    "grpc",
    "flask_openapi",
    "pydantic",
    "structlog",
    "h11",
]
"""Nothing of this before the first request that needs it."""
DEPLOYED = {"GCLOUD_PROJECT": "demo", "K_SERVICE": "api", "AI_PLATFORM_API_KEY": "k",
            "LEDGER_SIGNING_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}  # fmt: skip


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter in functions/, with nothing in the environment but `env`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=FUNCTIONS,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """What firebase deploys, as discovery sees it: without any variable but the project."""
    code = "from firebase_functions.private import serving as s; print(s.functions_as_yaml(s.get_functions()))"
    found = python(code, GCLOUD_PROJECT="demo-credits")
    assert found.returncode == 0, found.stderr
    endpoints: dict[str, Any] = yaml.safe_load(found.stdout)["endpoints"]
    return endpoints


class TestImportingMain:
    def test_loads_nothing_heavy(self) -> None:
        found = python(f"import sys, main; print([name for name in {HEAVY!r} if name in sys.modules])")
        assert found.stdout.strip() == "[]", found.stderr

    def test_and_neither_does_the_first_health_answer(self) -> None:
        code = (
            "import sys, main; from werkzeug.test import Client;"
            "answer = Client(main.process.system().edge).get('/v1/monitoring/health');"
            f"print(answer.status_code, [name for name in {HEAVY!r} if name in sys.modules])"
        )
        dead = {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:9", "FIREBASE_DATABASE_EMULATOR_HOST": "127.0.0.1:9"}
        env = {**DEPLOYED, **dead, "FUNCTIONS_EMULATOR": "true", "AI_PLATFORM_BASE_URL": "http://127.0.0.1:9"}
        found = python(code, **env)
        assert found.stdout.strip() == "503 []", found.stderr

    def test_needs_no_settings_for_discovery(self) -> None:
        assert python("import main").returncode == 0

    def test_asks_for_a_thread_for_each_request_at_once(self, manifest: dict[str, Any]) -> None:
        """gunicorn would start four per CPU, and a fifth stream would wait."""
        found = python("import main, os; print(os.environ['THREADS'])")
        assert int(found.stdout) == max(endpoint["concurrency"] or 1 for endpoint in manifest.values())
        assert python("import main, os; print(os.environ['THREADS'])", THREADS="7").stdout.strip() == "7"


class TestADeployedStart:
    def test_is_refused_when_a_setting_is_missing(self) -> None:
        found = python("import main", **{**DEPLOYED, "LEDGER_SIGNING_KEY": ""})
        assert found.returncode == 1
        assert "LEDGER_SIGNING_KEY" in found.stderr.splitlines()[-1]

    @pytest.mark.parametrize("name", ["FIREBASE_AUTH_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"])
    def test_is_refused_when_it_would_believe_an_emulator(self, name: str) -> None:
        """The Auth emulator's tokens carry no signature: whoever sends one would be whoever they say."""
        found = python("import main", **DEPLOYED, **{name: "127.0.0.1:9099"})
        assert found.returncode == 1
        assert name in found.stderr.splitlines()[-1]

    def test_is_not_refused_otherwise(self) -> None:
        found = python("import main", **DEPLOYED)
        assert found.returncode == 0, found.stderr

    def test_on_the_emulator_is_let_through(self) -> None:
        found = python(
            "import main", **DEPLOYED, FUNCTIONS_EMULATOR="true", FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099"
        )
        assert found.returncode == 0, found.stderr


class TestTheManifest:
    def test_names_the_functions(self, manifest: dict[str, Any]) -> None:
        assert {"api", "send_message", "get_balance", "mirror_balance", "open_account", "sweep"} <= manifest.keys()

    def test_gives_each_a_whole_cpu_one_region_and_a_bound(self, manifest: dict[str, Any]) -> None:
        for name, endpoint in manifest.items():
            assert endpoint["cpu"] == 1, name
            assert endpoint["region"] == ["us-central1"], name
            assert endpoint["availableMemoryMb"] == 512, name
            assert endpoint["maxInstances"], name
            assert endpoint["timeoutSeconds"], name

    def test_gives_each_the_secrets(self, manifest: dict[str, Any]) -> None:
        for name, endpoint in manifest.items():
            keys = [secret["key"] for secret in endpoint["secretEnvironmentVariables"]]
            assert keys == ["AI_PLATFORM_API_KEY", "LEDGER_SIGNING_KEY"], name

    def test_gives_each_the_secrets_of_further_model_vendors(self) -> None:
        code = "from firebase_functions.private import serving as s; print(s.functions_as_yaml(s.get_functions()))"
        found = python(code, GCLOUD_PROJECT="demo-credits", MODEL_VENDOR_SECRETS="GROQ_API_KEY, MINE_KEY")
        for name, endpoint in yaml.safe_load(found.stdout)["endpoints"].items():
            keys = [secret["key"] for secret in endpoint["secretEnvironmentVariables"]]
            assert keys[2:] == ["GROQ_API_KEY", "MINE_KEY"], name

    def test_is_refused_when_the_name_of_a_secret_is_none(self) -> None:
        found = python("import main", MODEL_VENDOR_SECRETS="sk-123")
        assert found.returncode != 0
        assert "MODEL_VENDOR_SECRETS should hold names" in found.stderr

    def test_lets_the_streaming_functions_serve_many_at_once(self, manifest: dict[str, Any]) -> None:
        assert (manifest["api"]["concurrency"], manifest["api"]["timeoutSeconds"]) == (80, 300)
        assert manifest["send_message"]["concurrency"] == 80

    def test_has_failed_events_repeated(self, manifest: dict[str, Any]) -> None:
        for name, endpoint in manifest.items():
            if "eventTrigger" in endpoint:
                assert endpoint["eventTrigger"]["retry"] is True, name

    def test_is_what_googles_decorator_would_have_written(self, manifest: dict[str, Any]) -> None:
        """Ours leaves out that decorator's imports and adds `retry`; all else must be the same."""
        code = """
from firebase_functions import firestore_fn, options
from firebase_functions.private import serving
secrets = ["AI_PLATFORM_API_KEY", "LEDGER_SIGNING_KEY"]
options.set_global_options(region="us-central1", cpu=1, memory=512, max_instances=20, secrets=secrets)
@firestore_fn.on_document_written(document="accounts/{uid}", concurrency=40, timeout_sec=60)
def mirror_balance(event): pass
print(serving.functions_as_yaml({"mirror_balance": mirror_balance}))
"""
        found = python(code)
        assert found.returncode == 0, found.stderr
        theirs = yaml.safe_load(found.stdout)["endpoints"]["mirror_balance"]
        theirs["eventTrigger"]["retry"] = True
        assert manifest["mirror_balance"] == theirs


class TestAWorkerOfTheEmulator:
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
    def test_ends_with_its_parent(self) -> None:
        child = "import os, sys; sys.path.insert(0, '.'); import app.emulator; print(os.getpid(), flush=True); input()"
        code = (
            "import os, subprocess, sys;"
            f"command = [sys.executable, '-c', {child!r}];"
            "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE);"
            "print(child.stdout.readline().decode().strip(), flush=True);"
            "os._exit(0)"
        )
        found = python(code, FUNCTIONS_EMULATOR="true", FUNCTION_TARGET="api")
        pid = int(found.stdout)
        with pytest.raises(ProcessLookupError):
            for _ in range(10_000):
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
                    raise ProcessLookupError


class TestAFreshProcess:
    def test_answers_twenty_first_requests_at_once(self) -> None:
        """T-89: services are built once, under a lock, and nobody waits for ever."""
        dead = {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:9", "FIREBASE_DATABASE_EMULATOR_HOST": "127.0.0.1:9"}
        env = {**DEPLOYED, **dead, "FUNCTIONS_EMULATOR": "true", "AI_PLATFORM_BASE_URL": "http://127.0.0.1:9"}
        with serving(FUNCTIONS / "main.py", "api", env) as url, ThreadPoolExecutor(20) as pool:
            paths = ["/v1/docs/openapi.json", "/v1/monitoring/info", "/v1/credits/balance", "/v1/nowhere"] * 5
            statuses = list(pool.map(lambda path: status_of(url + path), paths))
        assert statuses == [200, 200, 401, 404] * 5


class TestTheExampleEnvironment:
    def test_names_every_variable_that_settings_read_and_no_other(self) -> None:
        example = (FUNCTIONS / ".env.example").read_text()
        named = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
        readers = [*(FUNCTIONS / "app").glob("*/settings.py"), FUNCTIONS / "app" / "kit" / "deployment.py"]
        read = {name for code in readers for name in re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", code.read_text())}
        platform = {"FUNCTIONS_EMULATOR", "K_SERVICE", "GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT", "FIREBASE_CONFIG"}
        outside_of_settings = {"THREADS", "MODEL_VENDOR_SECRETS"}
        vendors = set(variables(BUNDLED.read_text()))
        assert named == read - platform | outside_of_settings | vendors

    def test_is_accepted_once_the_secrets_are_set(self) -> None:
        example = (FUNCTIONS / ".env.example").read_text()
        given = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
        found = python("import main", **{**given, **DEPLOYED})
        assert found.returncode == 0, found.stderr
