"""Events: published with their cause, delivered at least once, with effects that happen exactly once."""

import contextlib
from dataclasses import replace

import pytest

from app.kit.clock import minutes
from app.kit.errors import NotFound, Unavailable
from app.kit.stores.documents import Create, Increment, Merge
from app.orchestration.event_bus import Event, Reaction, Replay, Subscription
from app.orchestration.queue.handler import Done, Run, RunOutcome
from app.orchestration.queue.inbox import Inbox
from app.orchestration.queue.operation import OperationState
from orchestration.shop import Shop


def reaction(counter: str, seen: list[object] | None = None, failures: list[Exception] | None = None) -> Reaction:
    def react(event: Event, run: Run) -> RunOutcome:
        if failures:
            raise failures.pop()
        if seen is not None:
            seen.append(event.data["n"])
        return Done(None, lambda: [Merge(f"counts/{counter}", {"n": Increment(1)})])

    return react


def happened(shop: Shop, n: int, *, name: str = "CreditsSettled", account: str = "alice", version: int = 1) -> Event:
    return Event(shop.ids.new("evt"), name, version, account, shop.clock.now_us() + n, {"n": n})


def count(shop: Shop, counter: str) -> object:
    stored = shop.documents.get(f"counts/{counter}")
    return stored.fields["n"] if stored else 0


class TestPublishing:
    def test_one_operation_for_each_subscriber_and_none_where_nobody_listens(self) -> None:
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        assert shop.bus.rows([happened(shop, 1, name="NobodyCares")]) == []
        assert len(shop.bus.rows([happened(shop, 1), happened(shop, 2)])) == 2

    def test_two_subscribers_of_one_event_do_not_hide_each_other(self) -> None:
        """T-45: the dedupe key is (subscriber, event id)."""
        shop = Shop(
            subscriptions=[
                Subscription("mirror", "CreditsSettled", reaction("mirror")),
                Subscription("mail", "CreditsSettled", reaction("mail")),
            ]
        )
        shop.outbox.commit([Create("things/1", {}), *shop.bus.rows([happened(shop, 1)])])
        shop.drain()
        assert (count(shop, "mirror"), count(shop, "mail")) == (1, 1)

    def test_an_effect_happens_once_however_often_the_trigger_fires(self) -> None:
        """T-44: the trigger fires seven times, and the sweeper rings as well."""
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        shop.outbox.commit(shop.bus.rows([happened(shop, 1)]))
        for _ in range(7):
            shop.runner().serve("events")
            for operation in shop.operations():
                shop.runner().run(operation)
        shop.pass_time(minutes=2)
        assert count(shop, "mirror") == 1

    def test_an_ordered_subscriber_hears_one_account_in_order(self) -> None:
        """T-46: rows of later events reach the queue first."""
        seen: list[object] = []
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("m", seen), ordered=True)])
        events = [happened(shop, n) for n in range(1, 6)]
        for event in reversed(events):
            shop.outbox.commit(shop.bus.rows([event]))
        shop.drain()
        assert seen == [1, 2, 3, 4, 5]

    def test_a_newer_shape_waits_for_the_subscriber_that_knows_it(self) -> None:
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        shop.outbox.commit(shop.bus.rows([happened(shop, 1, version=2)]))
        shop.drain()
        assert shop.states() == ["queued"]
        assert count(shop, "mirror") == 0


class TestReplay:
    def test_what_was_handled_stays_handled(self) -> None:
        shop = Shop(
            subscriptions=[
                Subscription("mirror", "CreditsSettled", reaction("mirror")),
                Subscription("stats", "CreditsSettled", reaction("stats")),
            ]
        )
        start = shop.clock.now_us()
        shop.outbox.commit(shop.bus.rows([happened(shop, n) for n in range(3)]))
        shop.drain()
        question = Replay("stats", "CreditsSettled", start, start + minutes(1))
        assert shop.bus.replay(question, shop.outbox, shop.clock).sent == 0
        assert count(shop, "stats") == 3

    def test_a_subscriber_that_came_later_gets_the_past(self) -> None:
        old = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        start = old.clock.now_us()
        old.outbox.commit(old.bus.rows([happened(old, n) for n in range(5)]))
        old.drain()
        late = Subscription("stats", "CreditsSettled", reaction("stats"))
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror")), late])
        shop.documents.commit([Create(path, d.fields) for path, d in old.documents.all().items()])
        after: tuple[int, str] | None = None
        while True:
            page = shop.bus.replay(
                Replay("stats", "CreditsSettled", start, start + minutes(1), limit=2, after=after),
                shop.outbox,
                shop.clock,
            )
            after = page.after
            if after is None:
                break
        shop.drain()
        assert (count(shop, "stats"), count(shop, "mirror")) == (5, 5)

    def test_again_repeats_once_for_each_name_given_to_it(self) -> None:
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        start = shop.clock.now_us()
        shop.outbox.commit(shop.bus.rows([happened(shop, 1)]))
        shop.drain()
        for _ in range(2):
            question = Replay("mirror", "CreditsSettled", start, start + minutes(1), again="rebuild-1")
            shop.bus.replay(question, shop.outbox, shop.clock)
            shop.drain()
        assert count(shop, "mirror") == 2

    def test_an_unknown_subscription_is_refused(self) -> None:
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        for subscriber, event in (("nobody", "CreditsSettled"), ("mirror", "NobodyCares")):
            with pytest.raises(NotFound):
                shop.bus.replay(Replay(subscriber, event, 0, 1), shop.outbox, shop.clock)

    def test_finds_each_event_once_however_many_listen_and_however_small_the_pages(self) -> None:
        seen: list[object] = []
        shop = Shop(
            subscriptions=[
                *(Subscription(f"other{n}", "CreditsSettled", reaction(f"other{n}")) for n in range(3)),
                Subscription("stats", "CreditsSettled", reaction("stats", seen), ordered=True),
            ]
        )
        start = shop.clock.now_us()
        for first in range(0, 12, 3):
            shop.outbox.commit(shop.bus.rows([happened(shop, n) for n in range(first, first + 3)]))
        shop.drain()
        for limit in (1, 2, 5, 48, 100):
            seen.clear()
            question = Replay("stats", "CreditsSettled", start, start + minutes(1), f"by {limit}", limit)
            assert replayed(shop, question) == 12
            assert seen == [*range(12)], "in order, although the pages are sent one after the other"

    def test_keeps_the_order_of_the_events_of_one_commit(self) -> None:
        """All have the same time; an ordered subscriber receives them in the order of their publication."""
        seen: list[object] = []
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("m", seen), ordered=True)])
        now_us = shop.clock.now_us()
        events = [Event(f"evt_{9 - n}", "CreditsSettled", 1, "alice", now_us, {"n": n}) for n in range(9)]
        shop.outbox.commit(shop.bus.rows(events))
        shop.drain()
        question = Replay("mirror", "CreditsSettled", now_us, now_us + 1, again="once more")
        assert replayed(shop, question) == 9
        assert seen == [*range(9), *range(9)]

    def test_an_earlier_replay_of_something_older_is_not_of_this_range(self) -> None:
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        start = shop.clock.now_us()
        shop.outbox.commit(shop.bus.rows([happened(shop, n) for n in range(3)]))
        shop.clock.advance(minutes=60)
        old = Replay("mirror", "CreditsSettled", start, start + minutes(1), again="first")
        assert replayed(shop, old) == 3
        shop.outbox.commit(shop.bus.rows([happened(shop, 7)]))
        shop.drain()
        recent = Replay("mirror", "CreditsSettled", start + minutes(30), start + minutes(90), again="second")
        assert replayed(shop, recent) == 1, "what was only sent again in that time did not happen in it"

    def test_two_at_once_send_each_event_once(self) -> None:
        """T-44"""
        shop = Shop(subscriptions=[Subscription("mirror", "CreditsSettled", reaction("mirror"))])
        start = shop.clock.now_us()
        shop.outbox.commit(shop.bus.rows([happened(shop, n) for n in range(4)]))
        shop.drain()
        one = Replay("mirror", "CreditsSettled", start, start + minutes(1), again="both", limit=2)
        other: list[int] = []

        def meanwhile(_: object) -> None:
            shop.documents.before_commit.remove(meanwhile)
            other.append(shop.bus.replay(one, shop.outbox, shop.clock).sent)

        shop.documents.before_commit.append(meanwhile)
        whole = Replay("mirror", "CreditsSettled", start, start + minutes(1), again="both")
        assert (shop.bus.replay(whole, shop.outbox, shop.clock).sent, other) == (2, [2])
        shop.drain()
        assert count(shop, "mirror") == 8


def replayed(shop: Shop, question: Replay) -> int:
    """Replays page after page, each handled before the next is sent. Returns how many deliveries were made."""
    sent = 0
    while True:
        page = shop.bus.replay(question, shop.outbox, shop.clock)
        shop.drain()
        sent += page.sent
        if page.after is None:
            return sent
        question = replace(question, after=page.after)


class TestDeadLetters:
    def test_a_letter_is_replayed_and_then_handled_once(self) -> None:
        failures: list[Exception] = [Unavailable("down") for _ in range(8)]
        shop = Shop(subscriptions=[Subscription("mail", "CreditsSettled", reaction("mail", failures=failures))])
        shop.outbox.commit(shop.bus.rows([happened(shop, 1)]))
        shop.pass_time(minutes=60)
        [letter] = shop.dead_letters()
        assert letter.reason == "Unavailable: down"
        shop.letters.replay(letter.id, by="ada")
        shop.drain()
        assert count(shop, "mail") == 1
        assert shop.queue.get(letter.id).history[-1].outcome == "replayed"

    def test_a_letter_is_discarded_with_a_name_and_a_reason(self) -> None:
        failures: list[Exception] = [Unavailable("down") for _ in range(8)]
        shop = Shop(subscriptions=[Subscription("mail", "CreditsSettled", reaction("mail", failures=failures))])
        shop.outbox.commit(shop.bus.rows([happened(shop, 1)]))
        shop.pass_time(minutes=60)
        [letter] = shop.dead_letters()
        shop.letters.discard(letter.id, by="ada", reason="told by phone")
        assert shop.queue.get(letter.id).state is OperationState.DISCARDED
        acts = [d.fields for path, d in shop.documents.all().items() if path.startswith("audit_log/")]
        assert any(a["actor"] == "ada" and a["action"] == "discarded" for a in acts)
        assert shop.letters.replay(letter.id, by="ada").state is OperationState.QUEUED, "putting away is not for ever"
        assert shop.dead_letters() == []


class TestInbox:
    def test_the_key_is_the_handler_and_the_event(self) -> None:
        """T-45, T-44"""
        shop = Shop()
        inbox = Inbox(shop.outbox, shop.clock, shop.pauses.append)
        for _ in range(7):
            for handler in ("mirror", "stats"):
                inbox.once(handler, "event-1", lambda: [Merge("counts/all", {"n": Increment(1)})])
        assert count(shop, "all") == 2

    def test_a_failure_is_not_remembered_as_done(self) -> None:
        """T-60"""
        shop = Shop()
        inbox = Inbox(shop.outbox, shop.clock, shop.pauses.append)
        failures = [Unavailable("down")]

        def effect() -> list[Merge]:
            if failures:
                raise failures.pop()
            return [Merge("counts/all", {"n": Increment(1)})]

        with contextlib.suppress(Unavailable):
            inbox.once("mirror", "event-1", effect)
        assert inbox.once("mirror", "event-1", effect)
        assert count(shop, "all") == 1
