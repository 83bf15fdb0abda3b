"""Who is asked after a failure, who is told of it, and whom it makes sick."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
import structlog

from app.kit.errors import Failure
from app.models.catalogue import BUNDLED, Catalogue, load, parse
from app.models.faults import (
    Blame,
    ContentRefused,
    ModelBroke,
    ModelBusy,
    ModelFault,
    ModelMisconfigured,
    ModelRefused,
    ModelTimeout,
    PromptTooLong,
    blame_of,
)
from app.models.gateway import AnsweredBy, Delta, Gateway, Message, ModelEvent, Question, VendorCall
from app.models.health import REFUSED, ModelHealth
from app.models.settings import Patience
from support.clock import ManualClock
from support.lines import no_breakers, one_vendor
from support.raw_vendor import END, Reply, event, replying, stream, text
from support.slow_network import Script, SlowTime, Step

ANSWER: Final = stream(text("Hi "), text("there"), END, b"data: [DONE]\n\n")
BRIEF: Final = Patience(connect_s=2, first_s=1, idle_s=1, tick_s=1)


def refusing(status: int, message: str = "", **headers: str) -> Reply:
    """An error with a message and nothing else to go by."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, b'{"error": {"message": "%s", "code": %d}}' % (message.encode(), status), headers=named)


class Desk:
    """A gateway to one vendor, and what it logs."""

    def __init__(self, base_url: str) -> None:
        self.catalogue: Catalogue = load()
        self.clock = ManualClock()
        self.health = ModelHealth(self.clock.now_us)
        self.gateway = Gateway(self.catalogue, lines=one_vendor(base_url), health=self.health, breakers=no_breakers())

    def events(self, model: str = "small", *, account: str = "a", patience: Patience = BRIEF) -> list[ModelEvent]:
        question = Question(self.catalogue.get(model), [Message("user", "Hi")], 9, account=account, patience=patience)
        return [*self.gateway.stream(question, VendorCall())]

    def fails(self, model: str = "small", *, account: str = "a") -> Failure:
        with pytest.raises(Failure) as caught:
            self.events(model, account=account)
        return caught.value


def written(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def answered_by(events: Sequence[ModelEvent]) -> tuple[str, str]:
    *_, by = (event for event in events if isinstance(event, AnsweredBy))
    return by.model.id, by.because


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def alarms(lines: list[structlog.typing.EventDict]) -> list[tuple[str, str]]:
    return [(line["event"], line.get("blame", "")) for line in lines if line["log_level"] == "error"]


class TestARouteOverSeveralModels:
    def test_is_explained_by_the_failure_of_the_one_that_was_asked(self) -> None:
        """T-109: the user asked for that one, and not for the fallback that failed as well."""
        longer = BUNDLED.read_text().replace('fallbacks = ["large"]', 'fallbacks = ["large", "vision"]', 1)
        busy = (b"HTTP/1.1 429 Slower\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",)
        desk = slow(busy, (b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n",), WHOLE, catalogue=parse(longer))
        assert answered_by(desk.events()) == ("vision", "model_busy")


class TestOneFailureOfACheapModel:
    """T-109."""

    @pytest.mark.parametrize("status", [500, 502, 503, 429, 529])
    def test_is_answered_by_itself_a_second_time_and_not_by_a_dearer_one(self, status: int) -> None:
        with replying(refusing(status), ANSWER) as vendor:
            events = Desk(vendor.base_url).events()
        assert vendor.asked == ["sim-small", "sim-small"]
        assert answered_by(events) == ("small", "")

    def test_twice_is_answered_by_its_fallback_which_says_why(self) -> None:
        with replying(refusing(503), refusing(503), ANSWER) as vendor:
            events = Desk(vendor.base_url).events()
        assert vendor.asked == ["sim-small", "sim-small", "sim-large"]
        assert answered_by(events) == ("large", "model_busy")

    def test_and_then_of_its_fallback_is_the_end(self) -> None:
        """The first one is asked twice, each of its fallbacks once."""
        with replying(refusing(503), refusing(503), refusing(503), ANSWER) as vendor:
            Desk(vendor.base_url).fails()
        assert vendor.asked == ["sim-small", "sim-small", "sim-large"]

    def test_on_a_connection_that_the_vendor_had_closed_is_none(self) -> None:
        """The same model is asked on a new connection, and its health does not suffer."""
        with replying(ANSWER, uses=1) as vendor:
            desk = Desk(vendor.base_url)
            for _ in range(3):
                assert answered_by(desk.events()) == ("small", "")
        assert vendor.asked == ["sim-small"] * 3
        assert desk.health.of("small") == "up"

    def test_on_a_new_connection_is_one(self) -> None:
        with replying(None) as vendor:
            desk = Desk(vendor.base_url)
            assert isinstance(desk.fails("large"), ModelBroke)
        assert vendor.asked == ["sim-large", "sim-large"]
        assert desk.health.of("large") == "degraded"

    def test_whose_wait_is_long_is_the_fallbacks_to_answer(self) -> None:
        with replying(refusing(429, Retry_After="30"), ANSWER) as vendor:
            events = Desk(vendor.base_url).events()
        assert vendor.asked == ["sim-small", "sim-large"]
        assert answered_by(events) == ("large", "model_busy")

    def test_whose_wait_is_told_as_a_date_is_waited_for_by_the_vendors_clock(self) -> None:
        then = {"Date": "Sun, 29 Nov 2020 12:00:00 GMT", "Retry_After": "Sun, 29 Nov 2020 12:00:20 GMT"}
        with replying(refusing(429, **then)) as vendor:
            failure = Desk(vendor.base_url).fails("large")
        assert isinstance(failure, ModelBusy)
        assert failure.retry_after_s == 20


class TestWhatIsOurs:
    @pytest.mark.parametrize(
        ("reply", "blame"),
        [
            (refusing(402, "Insufficient Balance"), Blame.OUR_BALANCE),
            (refusing(401), Blame.OUR_KEY),
            (refusing(404, "The model does not exist"), Blame.RETIRED_MODEL),
            (refusing(400, "Unsupported parameter: 'max_tokens' is not supported"), Blame.OUR_REQUEST),
        ],
    )
    def test_alarms_somebody_and_is_answered_by_another_model(
        self, reply: Reply, blame: Blame, logged: list[structlog.typing.EventDict]
    ) -> None:
        with replying(reply, ANSWER) as vendor:
            events = Desk(vendor.base_url).events()
        assert vendor.asked == ["sim-small", "sim-large"]
        assert answered_by(events) == ("large", "model_unavailable")
        assert alarms(logged) == [("model_needs_attention", blame)]

    def test_is_no_users_fault_when_no_other_model_answers(self) -> None:
        with replying(refusing(402, "Insufficient Balance")) as vendor:
            failure = Desk(vendor.base_url).fails()
        assert isinstance(failure, ModelMisconfigured)
        assert vendor.asked == ["sim-small", "sim-large"]

    def test_shows_in_the_catalogue_when_a_model_was_retired(self) -> None:
        with replying(refusing(404)) as vendor:
            desk = Desk(vendor.base_url)
            desk.fails("large")
        assert desk.health.of("large") == "down"
        desk.clock.advance(minutes=11)
        assert desk.health.of("large") == "up"

    def test_is_over_when_the_model_answers_again(self) -> None:
        with replying(refusing(404), ANSWER) as vendor:
            desk = Desk(vendor.base_url)
            desk.fails("large")
            desk.events("large")
        assert desk.health.of("large") != "down"


class TestWhatAUserCaused:
    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (refusing(400, "This model's maximum context length is 8192 tokens"), PromptTooLong),
            (refusing(413), PromptTooLong),
            (refusing(403, "Your input was flagged"), ContentRefused),
            (refusing(400, "Roles must alternate"), ModelRefused),
        ],
    )
    def test_asks_nobody_else_and_makes_no_model_sick(
        self, reply: Reply, kind: type[Failure], logged: list[structlog.typing.EventDict]
    ) -> None:
        with replying(reply) as vendor:
            desk = Desk(vendor.base_url)
            for _ in range(20):
                assert isinstance(desk.fails(), kind)
        assert vendor.asked == ["sim-small"] * 20
        assert desk.health.of("small") == "up"
        assert alarms(logged) == [], "one user alarms nobody"

    def test_by_several_in_a_row_alarms_once(self, logged: list[structlog.typing.EventDict]) -> None:
        with replying(refusing(400, "No")) as vendor:
            desk = Desk(vendor.base_url)
            for user in range(REFUSED + 3):
                assert len(alarms(logged)) == (user >= REFUSED)
                desk.fails(account=f"user{user}")
        assert alarms(logged) == [("model_refused_everybody", Blame.REQUEST)]

    def test_by_several_with_an_answer_in_between_alarms_nobody(self, logged: list[structlog.typing.EventDict]) -> None:
        no = refusing(400, "No")
        with replying(*[no] * (REFUSED - 1), ANSWER, *[no] * (REFUSED - 1)) as vendor:
            desk = Desk(vendor.base_url)
            for user in range(REFUSED - 1):
                desk.fails(account=f"user{user}")
            desk.events()
            for user in range(REFUSED - 1):
                desk.fails(account=f"user{user}")
        assert alarms(logged) == []


class TestAnErrorInPlaceOfAStream:
    def test_with_status_200_is_told_as_what_it_is(self) -> None:
        body = b'{"error": {"code": 400, "message": "Too much", "type": "exceed_context_size_error"}}'
        with replying(Reply(200, body)) as vendor:
            assert isinstance(Desk(vendor.base_url).fails(), PromptTooLong)

    def test_as_an_event_of_the_stream_is_told_as_what_it_is(self) -> None:
        error = event(error={"code": 402, "message": "Insufficient credits"})
        with replying(stream(error), ANSWER) as vendor:
            events = Desk(vendor.base_url).events()
        assert vendor.asked == ["sim-small", "sim-large"]
        assert answered_by(events) == ("large", "model_unavailable")


class TestAFinish:
    def ending(self, reason: str) -> Reply:
        return stream(event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]), b"data: [DONE]\n\n")

    @pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
    def test_that_is_a_failure_is_no_answer(self, reason: str) -> None:
        """T-107."""
        with replying(self.ending(reason), ANSWER) as vendor:
            assert written(Desk(vendor.base_url).events()) == "Hi there"
        assert vendor.asked == ["sim-small", "sim-small"]

    def test_that_is_a_failure_after_some_text_is_not_made_up_for(self) -> None:
        end = event(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "error"}])
        with replying(stream(end)) as vendor:
            assert isinstance(Desk(vendor.base_url).fails(), ModelFault)
        assert vendor.asked == ["sim-small"]

    def test_that_nobody_knows_alarms(self, logged: list[structlog.typing.EventDict]) -> None:
        """T-107."""
        with replying(self.ending("exhausted")) as vendor:
            Desk(vendor.base_url).events()
        assert alarms(logged) == [("unknown_finish_reason", "")]


HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
THINKING: Final = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
MINUTE: Final = 60


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE: Final = (HEAD, chunk(text("Hi")), chunk(END), chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


@dataclass
class SlowDesk:
    """A gateway whose vendor follows a script."""

    script: Script
    catalogue: Catalogue = field(default_factory=load)

    def __post_init__(self) -> None:
        self.health = ModelHealth(lambda: self.script.time.at_us)
        lines = one_vendor("http://vendor/v1", network=self.script, concurrency=self.script.time)
        self.gateway = Gateway(self.catalogue, lines=lines, health=self.health, breakers=no_breakers())

    def events(self, model: str = "small") -> list[ModelEvent]:
        question = Question(self.catalogue.get(model), [Message("user", "Hi")], 9, patience=Patience())
        return [*self.gateway.stream(question, self.gateway.call())]


def slow(*answers: Sequence[Step], catalogue: Catalogue | None = None) -> SlowDesk:
    return SlowDesk(Script(SlowTime(), [*answers]), catalogue or load())


class TestPatience:
    def test_before_the_first_text_is_that_for_the_first_text(self) -> None:
        """A model that says who it is and then thinks in silence is usable."""
        desk = slow((HEAD, chunk(THINKING), 55, *WHOLE[1:]))
        assert written(desk.events()) == "Hi"

    def test_after_it_is_shorter(self) -> None:
        desk = slow((HEAD, chunk(text("Hi")), 55, *WHOLE[2:]))
        with pytest.raises(ModelTimeout):
            desk.events()

    def test_is_a_models_own_where_the_catalogue_gives_it_one(self) -> None:
        """Two minutes of thought, before the head or after it, and one minute between two words."""
        own = 'name = "Large"\nfirst_token_seconds = 150\nsilence_seconds = 70'
        catalogue = parse(BUNDLED.read_text().replace('name = "Large"', own))
        steps = (2 * MINUTE, HEAD, chunk(THINKING), 2 * MINUTE, chunk(text("Oh ")), MINUTE, *WHOLE[1:])
        assert written(slow(steps, catalogue=catalogue).events("large")) == "Oh Hi"
        with pytest.raises(ModelTimeout):
            slow(steps, catalogue=catalogue).events("small")


class TestAShortWait:
    @pytest.mark.parametrize(("seconds", "model"), [(1, "small"), (2, "small"), (3, "large")])
    def test_of_two_seconds_at_most_is_waited_out(self, seconds: int, model: str) -> None:
        """A longer one is the fallback's to answer."""
        busy = f"HTTP/1.1 429 Slower\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode()
        assert answered_by(slow((busy,), WHOLE).events())[0] == model


class TestASilentVendor:
    @pytest.mark.parametrize("before", [(), (HEAD,), (HEAD, chunk(THINKING))])
    def test_is_asked_once_and_so_is_everybody_else(self, before: tuple[bytes, ...]) -> None:
        """It may be at work on the prompt, and nobody pays two vendors for one answer."""
        desk = slow((*before, 10 * MINUTE), WHOLE)
        with pytest.raises(ModelTimeout) as caught:
            desk.events()
        assert blame_of(caught.value) is Blame.SILENT
        assert len(desk.script.requests) == 1
        assert desk.health.of("small") == "degraded"


class TestAKeptConnection:
    @pytest.mark.parametrize("end", [(None,), (1, None)], ids=["closed at once", "closed after a while"])
    def test_that_was_closed_is_replaced_by_a_new_one_to_the_same_model(self, end: Sequence[Step]) -> None:
        """T-109."""
        desk = slow(WHOLE, end, WHOLE)
        desk.events()
        assert answered_by(desk.events()) == ("small", "")
        assert desk.script.connections == 2
        assert desk.health.of("small") == "up"

    def test_is_replaced_once(self) -> None:
        desk = slow(WHOLE, (None,), (None,), WHOLE)
        desk.events()
        assert answered_by(desk.events()) == ("small", "")
        assert (desk.script.connections, len(desk.script.requests)) == (3, 4)
        assert desk.health.of("small") != "up", "the new connection was lost as well, which is a fault"

    @pytest.mark.parametrize(
        "end",
        [(20, None), (HEAD[:20], None), (HEAD, None)],
        ids=["after it could have begun", "in the head of its answer", "in its answer"],
    )
    def test_that_breaks_later_is_a_fault_of_the_vendor(self, end: Sequence[Step]) -> None:
        desk = slow(WHOLE, end, WHOLE)
        desk.events()
        desk.events()
        assert desk.health.of("small") != "up"
