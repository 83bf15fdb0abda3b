"""Several vendors at once: what an entry says, who is offered, and answers whose chain crosses vendors."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from app.kit.environment import BadSetting, Environment
from app.kit.money import from_decimal
from app.models.catalogue import BUNDLED, BadCatalogue, Catalogue, ModelNotOffered, UnsuitableModel, load, parse
from app.models.settings import ModelsSettings
from app.models.vendors import reading
from app.models.vendors.reading import BadVendors, offered
from app.models.vendors.vendor import PLATFORM, Vendor
from support.raw_vendor import END, Replies, Reply, event, replying, stream, text
from support.world import World

ANSWER: Final = stream(text("Hi "), text("there"), END, b"data: [DONE]\n\n")
SPOILT: Final = Reply(401, b'{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}')
BROKE: Final = Reply(402, b'{"error": {"message": "Insufficient credits", "code": 402}}')
FULL: Final = Reply(503, b'{"error": {"message": "Overloaded", "code": "overloaded"}}')
ENTRY: Final = """
[vendors.mine]
name = "Mine"
base_url = "https://mine.example/v1/"
key = "MINE_KEY"
dialect = "xai"
takes = ["stream_options"]
connect_seconds = 3
first_token_seconds = 90
silence_seconds = 20
"""


def book(*, small: str = "", large: str = "") -> str:
    """The bundled catalogue with more lines for two of its models; the dialect of `small` is its vendor's."""
    bundled = BUNDLED.read_text()
    _, _, rest = bundled.partition("[models.small]")
    rest = rest.replace('dialect = "openai"\n', "", 1) if small else rest
    found = f"{bundled.partition('[models.small]')[0]}[models.small]\n{small}\n{rest}"
    return found.replace("[models.large]\n", f"[models.large]\n{large}\n")


class TestAnEntry:
    def test_is_read_with_its_key(self) -> None:
        [found] = reading.parse(ENTRY, Environment({"MINE_KEY": " secret "})).values()
        assert found == Vendor(
            "mine",
            "Mine",
            "https://mine.example/v1",
            "MINE_KEY",
            "secret",
            "xai",
            frozenset({"stream_options"}),
            3,
            90,
            20,
        )
        assert "secret" not in repr(found)

    def test_needs_a_name_an_address_and_a_dialect(self) -> None:
        text = '[vendors.mine]\nname = "Mine"\nbase_url = "http://127.0.0.1:1/v1"\ndialect = "openai"'
        found = reading.parse(text, Environment({}))["mine"]
        assert found.configured, "it names no key, so it takes none"
        assert found.takes == {"stream_options", "user"}

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("vendors.mine", "vendors.platform", "taken"),
            ("vendors.mine", "vendors.Mine", "small letters"),
            ("https://mine.example/v1/", "mine.example", "base_url"),
            ("https://mine.example/v1/", "https://", "base_url"),
            ("https://mine.example/v1/", "https://mine.example:port", "base_url"),
            ('"MINE_KEY"', '"sk-123"', "name of a variable"),
            ('"xai"', '"anthropic"', "Messages API"),
            ('"xai"', '"klingon"', "dialect"),
            ('["stream_options"]', '["tools"]', "takes"),
            ("silence_seconds", "silent_seconds", "unknown silent_seconds"),
            ("first_token_seconds = 90", "first_token_seconds = 301", "first_token_seconds"),
            ('name = "Mine"', "", "name is missing"),
            ("[vendors.mine]", "[vendors", "TOML"),
            ("[vendors.mine]", "[others.mine]", "unknown others"),
        ],
    )
    def test_is_refused_by_name_when_something_is_wrong(self, old: str, new: str, said: str) -> None:
        assert old in ENTRY
        with pytest.raises(BadVendors, match=said):
            reading.parse(ENTRY.replace(old, new), Environment({}))


class TestTheBundledVendors:
    VENDORS: Final = reading.parse(reading.BUNDLED.read_text(), Environment({}))

    def test_are_those_that_are_promised(self) -> None:
        named = {"openai", "groq", "together", "openrouter", "nebius", "llamacpp", "ollama", "vllm"}
        assert self.VENDORS.keys() == named

    def test_are_reached_over_tls_unless_they_are_ones_own(self) -> None:
        for vendor in self.VENDORS.values():
            local = vendor.base_url.startswith("http://127.0.0.1:")
            assert local is vendor.configured is (not vendor.key_name), vendor.id
            assert local or vendor.base_url.startswith("https://"), vendor.id

    def test_of_ones_own_answer_where_a_variable_says(self) -> None:
        found = reading.read(Environment({"OLLAMA_BASE_URL": "http://10.0.0.7:11434/v1/"}), "")
        assert found["ollama"].base_url == "http://10.0.0.7:11434/v1"


class TestSettings:
    """A bad value stops the start with one sentence that names the variable."""

    GOOD: Final = {"AI_PLATFORM_API_KEY": "key"}

    def read(self, tmp_path: Path, *, catalogue: str = "", vendors: str = "", **variables: str) -> ModelsSettings:
        for name, content in (("MODEL_CATALOGUE", catalogue), ("MODEL_VENDORS", vendors)):
            if content:
                (tmp_path / name).write_text(content)
                variables[name] = str(tmp_path / name)
        return ModelsSettings.read(Environment({**self.GOOD, **variables}))

    def test_of_one_vendor_are_what_they_were(self, tmp_path: Path) -> None:
        found = self.read(tmp_path)
        assert found.asked == (found.vendors[PLATFORM],)
        assert found.vendors[PLATFORM].base_url == "https://api.openai.com/v1"

    @pytest.mark.parametrize(
        ("variables", "said"),
        [
            ({"GROQ_API_KEY": "two words"}, "GROQ_API_KEY should be a key"),
            ({"VLLM_BASE_URL": "localhost:8000"}, "VLLM_BASE_URL should be a URL"),
            ({"vendors": "[vendors.mine]"}, "MODEL_VENDORS names a file that cannot be used: vendors.mine"),
            ({"catalogue": book(small='vendor = "nobody"')}, "MODEL_CATALOGUE .* its vendor 'nobody' is none of groq"),
        ],
    )
    def test_that_are_wrong_name_the_variable(self, tmp_path: Path, variables: dict[str, str], said: str) -> None:
        with pytest.raises(BadSetting, match=said) as caught:
            self.read(tmp_path, **{"catalogue": BUNDLED.read_text(), **variables})
        assert "two words" not in str(caught.value)

    def test_let_an_own_entry_take_the_place_of_a_bundled_one(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, vendors=ENTRY.replace("mine]", "groq]"))
        assert found.vendors["groq"].name == "Mine"
        assert found.vendors["openai"].name == "OpenAI"

    def test_need_the_platforms_key_only_where_a_model_is_its(self, tmp_path: Path) -> None:
        all_mine = BUNDLED.read_text().replace("provider =", 'vendor = "groq"\nprovider =')
        found = self.read(tmp_path, catalogue=all_mine, AI_PLATFORM_API_KEY="", GROQ_API_KEY="k")
        assert [vendor.id for vendor in found.asked] == ["groq"]
        with pytest.raises(BadSetting, match="AI_PLATFORM_API_KEY is not set"):
            self.read(tmp_path, catalogue=book(small='vendor = "groq"'), AI_PLATFORM_API_KEY="")

    def test_tell_who_is_asked(self, tmp_path: Path) -> None:
        catalogue = book(small='vendor = "groq"', large='vendor = "nebius"')
        found = self.read(tmp_path, catalogue=catalogue, GROQ_API_KEY="k", OPENAI_API_KEY="k")
        assert {vendor.id for vendor in found.asked} == {PLATFORM, "groq"}


class TestAModelWhoseVendorHasNoKey:
    VENDORS: Final = {
        PLATFORM: Vendor(PLATFORM, "", "http://a", "K", "k"),
        "groq": Vendor("groq", "", "http://b", "G", "", "xai"),
    }

    def closed(self, **lines: str) -> Catalogue:
        return offered(parse(book(**lines)), self.VENDORS)

    def test_is_not_offered(self) -> None:
        catalogue = self.closed(small='vendor = "groq"')
        with pytest.raises(ModelNotOffered):
            catalogue.get("small")
        assert catalogue.default("text").id == "large"

    def test_is_no_fallback(self) -> None:
        catalogue = self.closed(large='vendor = "groq"')
        assert [model.id for model in catalogue.chain(catalogue.get("small"))] == ["small"]

    def test_leaves_nothing_where_there_is_no_other(self) -> None:
        text = BUNDLED.read_text().replace("provider =", 'vendor = "groq"\nprovider =')
        with pytest.raises(UnsuitableModel):
            offered(parse(text), self.VENDORS).default("text")

    def test_counts_as_its_vendor_does_unless_it_says_so(self) -> None:
        catalogue = self.closed(small='vendor = "groq"', large='vendor = "groq"')
        assert (catalogue.models["small"].dialect, catalogue.models["large"].dialect) == ("xai", "openai")


class TestTheVendorsNames:
    """T-20: a vendor that names its model names one of its own."""

    def test_may_be_the_same_at_two_vendors(self) -> None:
        text = book(small='vendor = "groq"').replace('"sim-small"', '"sim-large"')
        catalogue = parse(text)
        by_groq, by_platform = catalogue.answering_as("sim-large", "groq"), catalogue.answering_as("sim-large")
        assert by_groq is catalogue.models["small"]
        assert by_platform is catalogue.models["large"]

    def test_are_one_models_alone_at_one_vendor(self) -> None:
        with pytest.raises(BadCatalogue, match="already"):
            parse(BUNDLED.read_text().replace('"sim-small"', '"sim-large"'))


VENDORS: Final = """
[vendors.cheap]
name = "Cheap"
base_url = "{cheap}"
key = "CHEAP_KEY"
dialect = "openai"
takes = []

[vendors.dear]
name = "Dear"
base_url = "{dear}"
key = "DEAR_KEY"
dialect = "openai"
"""


@dataclass
class Shop:
    """A backend with two vendors: `small` is asked of `cheap`, and its fallback `large` of `dear`."""

    world: World
    cheap: Replies
    dear: Replies
    user: str = "alice"
    conversation: str = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.world.client(self.user)
        begun = self.client.post("/v1/chat/conversations", json={}).json
        assert begun is not None
        self.conversation = begun["id"]

    def ask(self, model: str = "small") -> tuple[int, dict[str, Any]]:
        path = f"/v1/chat/conversations/{self.conversation}/messages"
        answer = self.client.post(path, json={"content": "Hi", "model": model})
        assert isinstance(answer.json, dict)
        return answer.status_code, answer.json

    def models(self) -> dict[str, dict[str, Any]]:
        listed = self.client.get("/v1/models").json
        assert listed is not None
        return {model["id"]: model for model in listed["items"]}


@contextmanager
def shop(
    tmp_path: Path, *, cheap: Sequence[Reply | None] = (ANSWER,), dear: Sequence[Reply | None] = (ANSWER,), **keys: str
) -> Iterator[Shop]:
    with ExitStack() as stack:
        one, two = stack.enter_context(replying(*cheap)), stack.enter_context(replying(*dear))
        (tmp_path / "book.toml").write_text(book(small='vendor = "cheap"', large='vendor = "dear"'))
        (tmp_path / "vendors.toml").write_text(VENDORS.format(cheap=one.base_url, dear=two.base_url))
        variables = {"MODEL_CATALOGUE": str(tmp_path / "book.toml"), "MODEL_VENDORS": str(tmp_path / "vendors.toml")}
        yield Shop(World(variables=variables | {"CHEAP_KEY": "c", "DEAR_KEY": "d"} | keys), one, two)


class TestAMessage:
    def test_is_answered_by_its_models_vendor_with_that_ones_key(self, tmp_path: Path) -> None:
        with shop(tmp_path) as world:
            assert world.ask("small")[0] == world.ask("large")[0] == 200
            assert (world.cheap.asked, world.cheap.keys) == (["sim-small"], ["Bearer c"])
            assert (world.dear.asked, world.dear.keys) == (["sim-large"], ["Bearer d"])

    def test_holds_only_the_parameters_that_the_vendor_takes(self, tmp_path: Path) -> None:
        with shop(tmp_path) as world:
            world.ask("small")
            world.ask("large")
            [to_cheap], [to_dear] = world.cheap.bodies, world.dear.bodies
        assert not to_cheap.keys() & {"stream_options", "user"}
        assert to_dear.keys() >= {"stream_options", "user", "max_tokens"}

    @pytest.mark.parametrize("failing", [SPOILT, BROKE, FULL])
    def test_is_answered_by_another_vendor_when_its_own_fails(self, tmp_path: Path, failing: Reply) -> None:
        """The price is that of the model that answered, and the reservation covered it (T-20)."""
        with shop(tmp_path, cheap=[failing]) as world:
            status, answer = world.ask("small")
            book = world.world.system.models.book
            prices = book.catalogue.get("large").prices
        assert status == 200, answer
        assert answer["model"] == "large"
        assert world.dear.asked == ["sim-large"]
        cost = from_decimal(answer["cost"])
        assert cost == -(-(10 * prices["input"] + 5 * prices["output"]) // 1_000_000)
        assert from_decimal(answer["reserved"]) >= cost

    @pytest.mark.parametrize("failing", [SPOILT, BROKE, FULL])
    def test_that_one_vendor_fails_makes_no_model_of_another_sick(self, tmp_path: Path, failing: Reply) -> None:
        with shop(tmp_path, cheap=[failing]) as world:
            for _ in range(3):
                world.ask("small")
            health = {id: model["health"] for id, model in world.models().items()}
        assert health.pop("small") == "down"
        assert set(health.values()) == {"up"}

    def test_that_a_vendor_answers_under_another_vendors_name_is_charged_as_asked(self, tmp_path: Path) -> None:
        """T-20: `cheap` says that a model of `dear` answered, whose price is none of its own."""
        said = stream(event(model="sim-large", choices=[]), text("Hi"), END, b"data: [DONE]\n\n")
        with shop(tmp_path, cheap=[said]) as world:
            _, answer = world.ask("small")
        assert answer["model"] == "small"


class TestAVendorThatFailsForSeveralUsers:
    def test_is_left_alone_which_the_answer_and_the_catalogue_say(self, tmp_path: Path) -> None:
        with shop(tmp_path, cheap=[FULL], MODEL_CIRCUIT_FAILURES="2") as world:
            Shop(world.world, world.cheap, world.dear, user="bob").ask()
            world.ask()
            asked = len(world.cheap.asked)
            _, answer = world.ask()
            assert len(world.cheap.asked) == asked
            models = world.models()
        assert (answer["model"], answer["route"], answer["route_reason"]) == ("large", "fallback", "model_resting")
        small, large = models["small"], models["large"]
        assert (small["health"], small["usable"], small["unusable_because"]) == ("down", False, "down")
        assert (small["success"], small["first_text_ms"]) == (0, None)
        assert (large["success"], large["usable"]) == (1, True)
        assert large["first_text_ms"] >= 0


class TestWithoutTheKeyOfAVendor:
    def test_its_models_are_shown_as_not_usable_and_why(self, tmp_path: Path) -> None:
        with shop(tmp_path, DEAR_KEY="") as world:
            models = world.models()
        told = {id: (one["vendor"], one["usable"], one["unusable_because"]) for id, one in models.items()}
        assert told["small"] == ("cheap", True, None)
        assert told["large"] == ("dear", False, "vendor_not_configured")
        assert told["embed"] == (PLATFORM, False, "no_text")

    def test_they_are_refused_and_never_fallen_back_to(self, tmp_path: Path) -> None:
        with shop(tmp_path, cheap=[FULL], DEAR_KEY="") as world:
            status, problem = world.ask("large")
            assert (status, problem["code"]) == (422, "model_not_offered")
            status, problem = world.ask("small")
            assert (status, problem["code"]) == (503, "model_busy")
            assert world.dear.asked == []

    def test_nothing_is_reserved_for_them(self, tmp_path: Path) -> None:
        """What may be reserved covers the dearest of the chain, and they are no part of it."""
        with shop(tmp_path, DEAR_KEY="") as poor, shop(tmp_path) as rich:
            assert from_decimal(poor.ask()[1]["ceiling"]) < from_decimal(rich.ask()[1]["ceiling"])


def test_the_bundled_catalogue_needs_no_other_vendor() -> None:
    assert {model.vendor for model in load()} == {PLATFORM}
