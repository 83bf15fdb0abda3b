"""The gateway against a real vendor process: what comes out, what each fault becomes, and when it hangs up."""

import threading

import pytest

from app.models.catalogue import Catalogue, load
from app.models.faults import (
    ContentRefused,
    ModelBroke,
    ModelBusy,
    ModelFault,
    ModelMisconfigured,
    ModelRefused,
    ModelTimeout,
    PromptTooLong,
    of_status,
)
from app.models.gateway import (
    AnsweredBy,
    Counted,
    Delta,
    Finished,
    Gateway,
    Message,
    ModelEvent,
    Question,
    Silence,
    Stopped,
    VendorCall,
)
from app.models.health import ModelHealth
from app.models.settings import Patience
from app.models.usage import NOTHING, Reported, latest
from support.clock import ManualClock
from support.lines import no_breakers, one_vendor
from support.vendor import Vendor

BRIEF = Patience(connect_s=5, first_s=1, idle_s=1, tick_s=5)


class Desk:
    """A gateway to the vendor simulator, with methods that ask it."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.catalogue: Catalogue = load()
        self.clock = ManualClock()
        self.health = ModelHealth(self.clock.now_us)
        self.gateway = self.with_key("test-key")

    def with_key(self, key: str) -> Gateway:
        lines = one_vendor(self.vendor.base_url, key=key)
        return Gateway(self.catalogue, lines=lines, health=self.health, breakers=no_breakers())

    def question(self, text: str = "What is a ledger?", *, model: str = "large", most: int = 12) -> Question:
        return Question(self.catalogue.get(model), [Message("user", text)], most, patience=BRIEF)

    def events(self, text: str = "What is a ledger?", *, model: str = "large", most: int = 12) -> list[ModelEvent]:
        return [*self.gateway.stream(self.question(text, model=model, most=most), VendorCall())]


@pytest.fixture
def desk(vendor: Vendor) -> Desk:
    return Desk(vendor)


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def usage_of(events: list[ModelEvent]) -> Reported:
    found = NOTHING
    for event in events:
        if isinstance(event, Counted):
            found = latest(found, event.reported)
    return found


class TestAnAnswer:
    def test_is_told_in_order(self, desk: Desk) -> None:
        events = desk.events()
        assert isinstance(events[0], AnsweredBy)
        assert events[0].model.id == "large"
        assert text_of(events)
        assert [type(event) for event in events if not isinstance(event, Delta)] == [AnsweredBy, Finished, Counted]
        assert Finished("length") in events

    def test_counts_as_many_pieces_as_the_vendor_made_tokens(self, desk: Desk) -> None:
        events = desk.events()
        pieces = sum(event.pieces for event in events if isinstance(event, Delta))
        assert usage_of(events).written == (pieces, 0, 0)

    def test_asks_for_usage_and_sends_the_limit(self, desk: Desk) -> None:
        """T-12, T-10: without stream_options there is no usage; the limit that was reserved for is sent."""
        desk.events(most=7)
        [asked] = desk.vendor.requests()
        assert asked["usage_sent"] is True
        params = asked["params"]
        assert isinstance(params, dict)
        assert params["max_tokens"] == 7

    def test_needs_one_connection_for_many(self, desk: Desk) -> None:
        for _ in range(5):
            desk.events()
        assert len(desk.gateway._lines.to(desk.catalogue.get("large")).transport.pool._kept) == 1

    @pytest.mark.parametrize(
        "fault", ["", "usage=last-content", "usage=with-finish", "usage=after-finish", "usage=usage-only", "no-done"]
    )
    def test_gives_the_same_usage_wherever_it_stands(self, desk: Desk, fault: str) -> None:
        """T-12."""
        healthy = usage_of(desk.events())
        assert healthy.read is not None
        if fault:
            desk.vendor.arrange(fault)
        assert usage_of(desk.events()) == healthy

    def test_takes_the_largest_of_cumulative_reports(self, desk: Desk) -> None:
        """T-13."""
        healthy = usage_of(desk.events())
        desk.vendor.arrange("usage=cumulative")
        events = desk.events()
        assert sum(isinstance(event, Counted) for event in events) > 2
        assert usage_of(events) == healthy

    @pytest.mark.parametrize(
        ("fault", "reported"),
        [
            ("usage=missing", NOTHING),
            ("usage=null", NOTHING),
            ("usage=zero", Reported((0, 0), (0, 0, 0))),
            ("usage=negative", NOTHING),
            ("usage=absurd", Reported((12, 0), None)),
        ],
    )
    def test_without_a_usable_count_says_so(self, desk: Desk, fault: str, reported: Reported) -> None:
        """T-5, T-23: zero is a count; a missing or absurd report is none."""
        desk.vendor.arrange(fault)
        events = desk.events()
        assert text_of(events)
        assert usage_of(events) == reported

    def test_names_the_model_that_answered(self, desk: Desk) -> None:
        """T-20."""
        desk.vendor.arrange("answers-as=sim-vision")
        answering = [event.model.id for event in desk.events() if isinstance(event, AnsweredBy)]
        assert answering == ["large", "vision"]

    def test_under_an_unknown_name_stays_that_of_the_model_asked(self, desk: Desk) -> None:
        """T-18, T-19."""
        desk.vendor.arrange("answers-as=sim-large-2027")
        answering = [event.model.id for event in desk.events() if isinstance(event, AnsweredBy)]
        assert answering == ["large"]


class TestBeforeTheFirstText:
    @pytest.mark.parametrize("fault", ["status=500", "status=503", "reset", "html", "disconnect-after=0", "status=429"])
    def test_a_fault_is_tried_again(self, desk: Desk, fault: str) -> None:
        desk.vendor.arrange(fault)
        assert text_of(desk.events())
        assert len(desk.vendor.requests()) == 2

    def test_the_fallback_is_asked_when_there_is_one(self, desk: Desk) -> None:
        """T-20, T-109: after the model itself was asked a second time."""
        desk.vendor.arrange("status=500", model="sim-small", times=2)
        events = desk.events(model="small")
        assert [event.model.id for event in events if isinstance(event, AnsweredBy)] == ["large"]
        assert text_of(events)

    def test_it_is_not_tried_for_ever(self, desk: Desk) -> None:
        desk.vendor.arrange("status=500", times=None)
        with pytest.raises(ModelFault):
            desk.events()
        assert len(desk.vendor.requests()) == 2

    def test_a_long_pause_is_the_callers_to_wait(self, desk: Desk) -> None:
        desk.vendor.arrange("status=429,retry-after=30", times=None)
        with pytest.raises(ModelBusy) as caught:
            desk.events()
        assert caught.value.retry_after_s == 30
        assert len(desk.vendor.requests()) == 1

    @pytest.mark.parametrize("fault", ["stall-after=0", "timeout=30"])
    def test_silence_ends_and_nobody_else_is_paid_for_the_same_prompt(self, desk: Desk, fault: str) -> None:
        """A queued vendor may be at work on it: neither it nor the fallback is asked at once."""
        desk.vendor.arrange(fault, times=None)
        with pytest.raises(ModelTimeout):
            desk.events(model="small")
        assert len(desk.vendor.requests()) == 1

    @pytest.mark.parametrize("status", [401, 402, 403, 404])
    def test_our_own_mistake_is_not_repeated(self, desk: Desk, status: int) -> None:
        desk.vendor.arrange(f"status={status}")
        with pytest.raises(ModelMisconfigured):
            desk.events()
        assert len(desk.vendor.requests()) == 1

    def test_a_bad_key_is_our_own_mistake(self, desk: Desk) -> None:
        with pytest.raises(ModelMisconfigured):
            list(desk.with_key("bad-key").stream(desk.question(), VendorCall()))

    def test_an_unpaid_vendor_is_not_asked_again(self, desk: Desk) -> None:
        desk.vendor.arrange("status=429,code=insufficient_quota", times=None)
        with pytest.raises(ModelMisconfigured, match="our_balance"):
            desk.events()
        assert len(desk.vendor.requests()) == 1

    def test_nobody_at_the_address(self, desk: Desk) -> None:
        gateway = Gateway(
            desk.catalogue, lines=one_vendor("http://127.0.0.1:9/v1"), health=desk.health, breakers=no_breakers()
        )
        with pytest.raises(ModelFault, match="reached"):
            list(gateway.stream(desk.question(), VendorCall()))


class TestAfterTheFirstText:
    @pytest.mark.parametrize(
        "fault", ["disconnect-after=3", "truncate-after=3", "malformed-after=3", "error-after=3", "stall-after=3"]
    )
    def test_a_fault_is_told_and_never_repeated(self, desk: Desk, fault: str) -> None:
        """T-2: text delivered before the fault counts, the text of an error never does."""
        desk.vendor.arrange(fault)
        events: list[ModelEvent] = []
        with pytest.raises(ModelFault):
            for event in desk.gateway.stream(desk.question(), VendorCall()):
                events.append(event)
        assert sum(event.pieces for event in events if isinstance(event, Delta)) == 3
        assert len(desk.vendor.requests(wait_ms=None)) == 1


class TestStopping:
    def test_hangs_up_at_once(self, desk: Desk) -> None:
        """T-30: the vendor makes no tokens for a stream that nobody reads any more."""
        desk.vendor.arrange("tokens-per-second=200")
        events = desk.gateway.stream(desk.question(most=4000), VendorCall())
        while not isinstance(next(events), Delta):
            pass
        events.close()
        [asked] = desk.vendor.requests()
        assert asked["client_aborted"] is True
        assert asked["tokens_after_disconnect"] == 0

    @pytest.mark.parametrize("fault", ["stall-after=0", "stall-after=2", "timeout=30"])
    def test_wakes_a_read_that_waits(self, desk: Desk, fault: str) -> None:
        """T-30: from another thread, before the head, before the first text and after it."""
        desk.vendor.arrange(fault)
        call, patient = VendorCall(), Patience(first_s=60, idle_s=60, tick_s=60)
        question = Question(desk.catalogue.get("large"), [Message("user", "Hi")], 9, patience=patient)
        timer = threading.Timer(0.2, call.stop)
        timer.start()
        with pytest.raises(Stopped):
            list(desk.gateway.stream(question, call))
        timer.join()

    def test_before_the_call_asks_nobody(self, desk: Desk) -> None:
        call = VendorCall()
        call.stop()
        with pytest.raises(Stopped):
            list(desk.gateway.stream(desk.question(), call))

    def test_silence_is_told(self, desk: Desk) -> None:
        desk.vendor.arrange("stall-after=2,stall-ms=1500")
        patient = Patience(first_s=9, idle_s=9, tick_s=1)
        question = Question(desk.catalogue.get("large"), [Message("user", "Hi")], 9, patience=patient)
        assert Silence() in [*desk.gateway.stream(question, VendorCall())]


class TestHealth:
    def test_follows_the_outcomes(self, desk: Desk) -> None:
        assert desk.health.of("large") == "up"
        desk.vendor.arrange("status=500", times=None)
        for _ in range(2):
            with pytest.raises(ModelFault):
                desk.events()
        assert desk.health.of("large") == "down"
        desk.vendor.reset()
        desk.events()
        assert desk.health.of("large") == "degraded"
        desk.clock.advance(minutes=11)
        assert desk.health.of("large") == "up"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":{"code":"context_length_exceeded"}}', PromptTooLong),
        (400, b'{"error":{"code":"content_policy_violation"}}', ContentRefused),
        (400, b'{"error":{"message":"secret sk-123"}}', ModelRefused),
        (400, b"<html>", ModelRefused),
        (408, b"", ModelFault),
        (429, b"", ModelBusy),
        (502, b"\xff\xfe", ModelFault),
        (302, b"", ModelBroke),
    ],
)
def test_a_vendors_words_never_reach_a_client(status: int, body: bytes, kind: type[Exception]) -> None:
    failure = of_status(status, body, None)
    assert type(failure) is kind
    assert "secret" not in str(failure)


@pytest.mark.parametrize(
    ("header", "seconds"), [("1", 1), ("0", 0), ("1.5", 2), ("-1", None), ("soon", None), (None, None), ("9" * 9, None)]
)
def test_retry_after_is_read_in_whole_seconds(header: str | None, seconds: int | None) -> None:
    failure = of_status(429, b"", header)
    assert isinstance(failure, ModelBusy)
    assert failure.retry_after_s == seconds
