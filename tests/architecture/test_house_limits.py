"""The build fails when the code outgrows the house. Limits stand in pyproject.toml under [tool.house]."""

import re
from dataclasses import replace

import pytest

from architecture.dependencies import Dependencies
from architecture.house import House, Source, breaches, crowded_folders, idle_ratchet, report, unexcused

HOUSE = House.read()
_FIVE = "a, b, c, d, e"


def _breaches_of(text: str, path: str = "functions/app/credits/service.py") -> list[str]:
    return list(breaches(HOUSE, Source.of(path, text)))


def test_no_limit_is_broken_and_the_ratchet_excuses_nothing_for_nothing() -> None:
    assert not report()


class TestTheLimitsThemselves:
    """Each limit bites on the smallest thing that breaks it."""

    @pytest.mark.parametrize(
        "text",
        [
            "from datetime import datetime\nnow = datetime.now()\n",
            "import datetime as d\nnow = d.datetime.now()\n",
            "import time\nnow = time.time()\n",
            "from time import time as now\nx = now()\n",
            "import uuid\nx = uuid.uuid4()\n",
            "from uuid import uuid4\nx = uuid4()\n",
            "import random\nx = random.random()\n",
            "import os\nx = os.environ['A']\n",
            "from os import environ\nx = environ['A']\n",
            "import os\nx = os.getenv('A')\n",
            "print('x')\n",
            "from . import other\n",
            "x = 1  # type: ignore\n",
            "from unittest import mock\nmock.patch('x')\n",
            "from unittest.mock import patch\n",
            "import openai\n",
            "from google.cloud import firestore\n",
            "def f():\n" + "    x = 1\n" * 70,
            "x = 1\n" * 401,
            f"def f({_FIVE}, f): ...\n",
            f"def f({_FIVE}, *, f): ...\n",
            f"class A:\n    def f(self, {_FIVE}, f): ...\n",
            f"class A:\n    @staticmethod\n    def f({_FIVE}, f): ...\n",
        ],
    )
    def test_a_breach_is_found(self, text: str) -> None:
        found = _breaches_of(text)
        assert found
        assert all(re.match(r"functions/app/credits/service\.py:\d+: \w", breach) for breach in found)

    @pytest.mark.parametrize(
        "text",
        [
            "def build():\n    import openai\n    return openai\n",
            "x = 1  # type: ignore[assignment]  # why\n",
            "def random(): ...\nx = random()\n",
            "def f():\n" + "    x = 1\n" * 69,
            "x = 1\n" * 400,
            f"def f({_FIVE}, *rest, **named): ...\n",
            f"class A:\n    def f(self, {_FIVE}): ...\n",
            f"class A:\n    def __init__(self, {_FIVE}, f, g): ...\n",
        ],
    )
    def test_what_is_allowed_is_not(self, text: str) -> None:
        assert not _breaches_of(text)

    def test_kit_may_touch_the_real_clock(self) -> None:
        assert not _breaches_of("import time\nnow = time.time()\n", path="functions/app/kit/clock.py")

    def test_a_file_outside_functions_may_be_longer(self) -> None:
        assert not _breaches_of("x = 1\n" * 500, path="tests/credits/test_service.py")
        assert _breaches_of("x = 1\n" * 501, path="tests/credits/test_service.py")

    @pytest.mark.parametrize(
        ("path", "limited"), [("emulators/a.py", True), ("bench/a.py", True), ("tests/a.py", False)]
    )
    def test_fixtures_make_long_lists_of_parameters_in_tests_alone(self, path: str, limited: bool) -> None:
        assert bool(_breaches_of(f"def f({_FIVE}, f): ...\n", path=path)) is limited

    def test_a_crowded_folder_is_named_and_its_init_is_not_counted(self) -> None:
        files = [f"functions/app/credits/{number}.py" for number in range(15)] + ["functions/app/credits/__init__.py"]
        assert not list(crowded_folders(HOUSE, files))
        (breach,) = crowded_folders(HOUSE, [*files, "functions/app/credits/one_more.py"])
        assert breach.startswith("functions/app/credits/__init__.py:1: 16 files")


class TestTheRatchet:
    def test_excuses_what_it_names_and_is_to_be_emptied_of_what_is_healed(self) -> None:
        house = replace(HOUSE, ratchet=("a.py:1:", "b.py:1:"))
        assert unexcused(house, ["a.py:1: x", "a.py:2: x"]) == ["a.py:2: x"]
        assert idle_ratchet(house, ["a.py:1: x"]) == ["pyproject.toml:1: the ratchet's b.py:1: is healed; take it out"]


class TestDependencies:
    """`web` comes from the package web-kit, `cloud.mail` from cloud-mail and `cloud.disk` from cloud-disk."""

    DEPENDENCIES = Dependencies(
        declared={"web-kit": 3, "cloud-mail": 4, "runner": 5},
        not_imported=frozenset({"runner"}),
        providers={"web": "web-kit", "cloud.mail": "cloud-mail", "cloud.disk": "cloud-disk", "runner": "runner"},
    )
    ALL = "import os\nimport web.views\nfrom app.kit import clock\ndef f():\n    from cloud import mail\n"

    def _breaches_of(self, text: str) -> list[str]:
        return list(self.DEPENDENCIES.breaches({"a.py": Source.of("a.py", text).nodes}))

    def test_what_is_imported_is_deployed_and_the_other_way_round(self) -> None:
        assert not self._breaches_of(self.ALL)

    @pytest.mark.parametrize(
        ("text", "breach"),
        [
            ("from cloud.disk import File", "a.py:6: imports cloud.disk.File of cloud-disk, which"),
            ("import lost", "a.py:6: imports lost, which no installed package provides"),
            ("import runner", "pyproject.toml:5: not_imported need not explain runner"),
        ],
    )
    def test_an_import_that_is_not_deployed_is_named(self, text: str, breach: str) -> None:
        (found,) = self._breaches_of(self.ALL + text)
        assert found.startswith(breach)

    def test_a_package_that_nothing_imports_is_named(self) -> None:
        (found,) = self._breaches_of("import web\nif TYPE_CHECKING:\n    from cloud.mail import Letter\n")
        assert found.startswith("pyproject.toml:4: cloud-mail is deployed, and nothing")
