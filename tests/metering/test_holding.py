"""What is held for a call while it is written: enough before it is passed on, never more than may be, never twice."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.credits.core.account import Reservation
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.errors import Unavailable
from app.kit.stores.documents import Delete, Merge
from app.metering.billing import Ending, Mode
from app.metering.holding import MOST_TRIES
from app.metering.quote import ALIKE, LEAST_OUTPUT
from app.models.gateway import Counted, Delta, Thought
from app.models.usage import Reported, TokenUsage
from metering.gallery import BOOK, SMALL, USUAL, Gallery, Task
from metering.test_second_owner import ABANDONED, charges, ends, failing, lease_is_over, rule, stored
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments

RICH = 1_000_000_000


@pytest.fixture
def money() -> CreditsWorld:
    return CreditsWorld()


@pytest.fixture
def gallery(money: CreditsWorld) -> Gallery:
    return Gallery(money, Mode.STREAM, captions=True)


def writes(task: Task, tokens: int) -> bool:
    """So many tokens come, one a piece; whether all of them were paid for."""
    for _ in range(tokens):
        task.meter.add(Delta("word ", 1))
        if not task.holding.pays(task.meter):
            return False
    return True


def counts(task: Task, tokens: int, *, ended: bool = True) -> None:
    """The vendor counts so many."""
    task.meter.count(Counted(Reported((20, 0), (tokens, 0, 0)), {}))
    task.meter.finish = "stop" if ended else None
    task.holding.pays(task.meter)


def held(money: CreditsWorld) -> int:
    """What the account really holds."""
    return money.account("alice").reserved


def take(money: CreditsWorld, left: int, id: str = "other") -> None:
    """Another answer holds all that is available but so much."""
    available = money.credits.available(money.account("alice"))
    other = Reserve(id, available - left, available - left, "chat", Reference("message", id), 10**9)
    money.credits.reserve("alice", other)


def writer(gallery: Gallery) -> MemoryDocuments:
    assert isinstance(gallery.documents, MemoryDocuments)
    return gallery.documents


class TestAnOrdinaryCall:
    def test_holds_what_such_a_call_usually_needs_and_writes_nothing_more(
        self, money: CreditsWorld, gallery: Gallery
    ) -> None:
        task = gallery.begin("one")
        before = writer(gallery).writes
        assert writes(task, USUAL // 2)
        counts(task, USUAL // 2)
        assert writer(gallery).writes == before
        assert task.grant.reserved == held(money) < task.grant.most // 100

    def test_takes_a_part_of_a_small_balance(self) -> None:
        money = CreditsWorld(bonus=2_625 * ALIKE // 2)
        task = Gallery(money, Mode.STREAM, captions=True).begin("one")
        assert task.grant.reserved == 2_625 // 2
        assert task.grant.most == 2_625 * ALIKE // 2

    def test_takes_what_it_needs_at_least_of_a_smaller_one(self) -> None:
        money = CreditsWorld(bonus=600)
        task = Gallery(money, Mode.STREAM, captions=True).begin("one")
        assert (task.grant.reserved, task.grant.most) == (20 * 25 // 4 + LEAST_OUTPUT * 25, 600)


class TestALongCall:
    def test_holds_more_before_more_is_passed_on_and_is_charged_exactly(
        self, money: CreditsWorld, gallery: Gallery
    ) -> None:
        task = gallery.begin("one")
        for _ in range(3_000):
            assert writes(task, 1)
            written = BOOK.cost(SMALL, TokenUsage(input=20, output=task.meter.measured().delivered.output))
            assert written <= task.holding.held == held(money) == stored(gallery, "one")["reserved"]
        counts(task, 3_000)
        settled = gallery.end(task, Ending.COMPLETED)
        assert settled.cost == BOOK.cost(SMALL, TokenUsage(input=20, output=3_000))
        assert money.audit("alice").balance == RICH - settled.cost

    def test_of_a_vendor_that_ends_with_every_piece_is_held_for_likewise(
        self, money: CreditsWorld, gallery: Gallery
    ) -> None:
        """T-107: text may follow a finish."""
        task = gallery.begin("one")
        task.meter.finish = "stop"
        assert writes(task, 500)
        assert held(money) >= BOOK.cost(SMALL, TokenUsage(input=20, output=500))

    def test_takes_few_steps(self, gallery: Gallery) -> None:
        task = gallery.begin("one")
        before = writer(gallery).writes
        assert writes(task, 3_000)
        assert writer(gallery).writes - before <= 2 * 6, "it doubles: account and document, at most six times"

    def test_is_never_held_for_beyond_what_may_be(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        counts(task, 4_900, ended=False)
        counts(task, 4_900)
        task.meter.answered_by(BOOK.catalogue.get("large"))
        writes(task, 4_000)
        assert task.holding.held == held(money) <= task.grant.most

    def test_keeps_its_lease(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        before = only(money).expires_at_us
        assert writes(task, 500)
        assert only(money).expires_at_us == before
        lease_is_over(money)
        money.credits.expire_due()
        assert held(money) == 0
        assert not writes(task, 3_000), "what was given back pays for nothing"
        assert gallery.end(task, Ending.BUDGET).cost == 0

    def test_of_a_dead_function_gives_all_of_it_back(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        assert writes(task, 500)
        lease_is_over(money)
        assert gallery.sweep() == 1
        assert (held(money), stored(gallery, "one")["cost"]) == (0, 0)
        assert task.holding.held > task.grant.reserved

    def test_whose_document_is_gone_writes_none(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        gallery.documents.commit([Delete("tasks/one")])
        assert writes(task, 500)
        assert gallery.documents.get("tasks/one") is None
        assert task.holding.held == held(money) > task.grant.reserved

    @pytest.mark.parametrize("spoilt", [7, None, "one.2"])
    def test_whose_document_shows_another_attempt_or_none_leaves_it_alone(
        self, money: CreditsWorld, gallery: Gallery, spoilt: int | str | None
    ) -> None:
        """It is held for and charged all the same."""
        task = gallery.begin("one")
        gallery.documents.commit([Merge("tasks/one", {"reservation_id": spoilt, "reserved": 7})])
        assert writes(task, 500)
        assert stored(gallery, "one")["reserved"] == 7
        assert gallery.end(task, Ending.COMPLETED).cost >= BOOK.cost(SMALL, TokenUsage(output=500))


class TestAnotherModel:
    def test_is_held_for_with_its_prompt_before_its_text(self, money: CreditsWorld, gallery: Gallery) -> None:
        """T-20."""
        large, task = BOOK.catalogue.get("large"), gallery.begin("one")
        task.meter.answered_by(large)
        assert task.holding.pays(task.meter)
        assert held(money) >= BOOK.cost(large, TokenUsage(input=20, output=USUAL))
        assert writes(task, 500)
        counts(task, 500)
        assert gallery.end(task, Ending.COMPLETED).cost == BOOK.cost(large, TokenUsage(input=20, output=500))

    @pytest.mark.parametrize("left", [0, 3_000, 5_000])
    def test_that_cannot_be_held_for_is_not_paid_before_it_says_a_word(
        self, money: CreditsWorld, gallery: Gallery, left: int
    ) -> None:
        """T-20: neither its prompt nor the least useful answer of it."""
        task = gallery.begin("one")
        take(money, left)
        task.meter.answered_by(BOOK.catalogue.get("large"))
        assert not task.holding.pays(task.meter)


class TestWhatComesLate:
    def test_of_hidden_reasoning_is_charged_as_far_as_it_can_be_held(
        self, money: CreditsWorld, gallery: Gallery
    ) -> None:
        """T-15."""
        task = gallery.begin("one")
        assert writes(task, 20)
        counts(task, 2_000)
        assert gallery.end(task, Ending.COMPLETED).cost == BOOK.cost(SMALL, TokenUsage(input=20, output=2_000))
        assert held(money) == 0

    def test_is_not_charged_where_it_is_not_held(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        assert writes(task, 20)
        take(money, 1_000)
        counts(task, 2_000)
        assert gallery.end(task, Ending.COMPLETED).cost == task.grant.reserved + 1_000

    def test_thoughts_are_held_for_while_they_come(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        for _ in range(400):
            task.meter.think(Thought(5, 1))
            assert task.holding.pays(task.meter)
        assert held(money) >= BOOK.cost(SMALL, TokenUsage(input=20, reasoning=400))


class TestAnExtensionThatIsRefused:
    def test_ends_the_answer_at_what_was_held(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        take(money, 0)
        assert not writes(task, 3_000)
        assert USUAL - 1 <= task.meter.measured().delivered.output <= USUAL + 1
        settled = gallery.end(task, Ending.BUDGET)
        assert 0 < settled.cost <= task.grant.reserved
        assert money.audit("alice").balance == RICH - settled.cost

    def test_is_tried_again_at_the_end_when_others_gave_back(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        take(money, 0)
        assert writes(task, USUAL - 10)
        money.credits.release("alice", "other", "done")
        assert writes(task, 500)

    def test_takes_what_little_there_is(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        take(money, 1_000)
        assert not writes(task, 3_000)
        assert task.meter.measured().delivered.output >= USUAL + 1_000 // 25 - LEAST_OUTPUT

    def test_is_not_waited_for(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        take(money, 0)
        assert not writes(task, 3_000)
        assert gallery.pauses == []

    def test_is_forgotten_once_there_was_enough(self, money: CreditsWorld, gallery: Gallery) -> None:
        """The next step is made before it is needed again, when one that fails can still be repeated."""
        task = gallery.begin("one")
        take(money, 0)
        assert writes(task, USUAL - 10)
        money.credits.release("alice", "other", "done")
        assert writes(task, 12)
        with failing(gallery, Unavailable("no answer"), times=1):
            assert writes(task, 300)
        assert gallery.pauses == []


@pytest.mark.parametrize("piece", ["🜁🜂🜃🜄", "    ", "----", "qwxz"])
def test_text_of_many_pieces_that_come_together_is_held_for_by_its_pieces(
    money: CreditsWorld, gallery: Gallery, piece: str
) -> None:
    """Our estimate of such text is far below what its pieces prove."""
    task = gallery.begin("one")
    take(money, 0)
    for part in task.holding.parts(task.meter, (Delta(piece * 16, 16) for _ in range(400))):
        assert isinstance(part, Delta)
        task.meter.add(part)
        if not task.holding.pays(task.meter):
            break
    assert task.meter.written <= USUAL + 16, "what is held for, and one portion beyond it"


class TestAnExtensionThatNobodyHeardOf:
    @pytest.mark.parametrize("after", [False, True], ids=["not written", "not heard of"])
    def test_is_made_once_and_counts_when_it_is_heard_of(
        self, money: CreditsWorld, gallery: Gallery, *, after: bool
    ) -> None:
        task = gallery.begin("one")
        with failing(gallery, Unavailable("no answer"), after=after):
            assert writes(task, USUAL - 10)
        assert task.holding.held == task.grant.reserved, "nobody knows yet"
        once = held(money)
        assert writes(task, 12)
        assert task.holding.held == held(money) == 2 * task.grant.reserved
        assert once == (held(money) if after else task.grant.reserved)

    @pytest.mark.parametrize(("after", "waits"), [(False, [*range(2, MOST_TRIES)]), (True, [])])
    def test_several_times_is_waited_for_where_the_hold_ends(
        self, gallery: Gallery, waits: list[int], *, after: bool
    ) -> None:
        """A store that is away for a moment cuts no answer for which there are credits. The first step was early, and
        could be done without; one that was written needs no further commit.
        """
        task = gallery.begin("one")
        with failing(gallery, Unavailable("no answer"), after=after, times=MOST_TRIES - 1):
            assert writes(task, 500)
        assert gallery.pauses == waits

    def test_behind_the_end_is_tried_again_with_all_that_comes(self, money: CreditsWorld, gallery: Gallery) -> None:
        """The count of hidden reasoning, and then nothing but the end of the stream."""
        task = gallery.begin("one")
        assert writes(task, 20)
        with failing(gallery, Unavailable("no answer"), times=MOST_TRIES + 1):
            counts(task, 2_000)
            assert task.holding.held == task.grant.reserved
            counts(task, 2_000)
        assert len(gallery.pauses) == MOST_TRIES - 1, "it is not waited for again and again"
        counts(task, 2_000)
        assert gallery.end(task, Ending.COMPLETED).cost == BOOK.cost(SMALL, TokenUsage(input=20, output=2_000))

    def test_for_good_ends_the_answer_and_is_not_charged(self, money: CreditsWorld, gallery: Gallery) -> None:
        task = gallery.begin("one")
        with failing(gallery, Unavailable("no answer"), times=10):
            assert not writes(task, 3_000)
        assert len(gallery.pauses) <= MOST_TRIES
        counts(task, 90)
        settled = gallery.end(task, Ending.BUDGET)
        assert 0 < settled.cost <= task.grant.reserved
        assert held(money) == 0


def extended(_: CreditsWorld, __: Gallery, task: Task) -> None:
    assert writes(task, 150)


def refused(money: CreditsWorld, _: Gallery, task: Task) -> None:
    take(money, 0)
    assert not writes(task, 150)


def unwritten(_: CreditsWorld, gallery: Gallery, task: Task) -> None:
    with failing(gallery, Unavailable("no answer"), times=10):
        assert not writes(task, 150)


def unheard(_: CreditsWorld, gallery: Gallery, task: Task) -> None:
    with failing(gallery, Unavailable("no answer"), after=True):
        assert writes(task, USUAL - 20)


@pytest.mark.parametrize("reported", [None, 90, 100_000])
@pytest.mark.parametrize("meets", [extended, refused, unwritten, unheard])
@pytest.mark.parametrize(("ending", "mode"), [(ending, mode) for ending in Ending for mode in Mode])
def test_every_line_of_the_table_holds_around_an_extension(
    money: CreditsWorld,
    ending: Ending,
    mode: Mode,
    meets: Callable[[CreditsWorld, Gallery, Task], None],
    reported: int | None,
) -> None:
    """T-1, T-2, T-5: no charge exceeds what was acknowledged, whatever became of a step, and the rest returns."""
    gallery = Gallery(money, mode, captions=True)
    task = gallery.begin("one")
    meets(money, gallery, task)
    if reported is not None:
        task.meter.count(Counted(Reported((20, 0), (reported, 0, 0)), {}))
    task.meter.finish = "stop"
    measured, said, acknowledged = task.meter.measured(), rule(ending, mode), task.holding.held
    ends(money, gallery, task, ending)
    by_basis = {
        "nothing": 0,
        "delivered": min(measured.delivered_price, measured.reported_price or measured.delivered_price),
        "usage": measured.delivered_price if measured.reported_price is None else measured.reported_price,
    }
    cost = min(by_basis[said["basis"]], acknowledged)
    fields = stored(gallery, "one")
    assert (fields["state"], fields["cost"], fields["reason"]) == ("ended", cost, said["reason"])
    assert [-entry.amount for entry in charges(money)] == ([cost] if cost else [])
    assert 0 <= cost <= acknowledged <= task.grant.most
    if meets is refused and ending is not Ending.RESERVATION_LOST and ending not in ABANDONED:
        money.credits.release("alice", "other", "done")
    lease_is_over(money)
    money.clock.advance(minutes=30)
    money.credits.expire_due()
    account = money.audit("alice")
    assert (account.reserved, account.balance) == (0, RICH - cost)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 400)),
        st.tuples(st.just("think"), st.integers(1, 400)),
        st.tuples(st.just("count"), st.integers(1, 6_000)),
        st.tuples(st.just("lose"), st.integers(0, 1)),
        st.tuples(st.just("take"), st.integers(0, 20_000)),
        st.tuples(st.just("give"), st.just(0)),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(600, 2_000_000))
def test_whatever_happens_only_what_is_held_is_charged(steps: list[tuple[str, int]], balance: int) -> None:
    """The charge is at most what was acknowledged, that at most what the account holds, and that what may be held."""
    money = CreditsWorld(bonus=balance)
    gallery = Gallery(money, Mode.STREAM, captions=True)
    task, ended = gallery.begin("one"), Ending.COMPLETED
    other = ""
    for number, (step, much) in enumerate(steps):
        match step:
            case "write" if not writes(task, much):
                ended = Ending.BUDGET
                break
            case "think":
                task.meter.think(Thought(4 * much, much))
                task.holding.pays(task.meter)
            case "count":
                counts(task, much, ended=False)
            case "lose":
                with failing(gallery, Unavailable("no answer"), after=bool(much)):
                    writes(task, 40)
            case "take" if not other and money.credits.available(money.account("alice")) > much:
                other = f"other-{number}"
                take(money, much, other)
            case "give" if other:
                money.credits.release("alice", other, "done")
                other = ""
        mine = only(money).amount
        assert task.grant.reserved <= task.holding.held <= mine <= task.grant.most <= balance
    settled = gallery.end(task, ended)
    assert 0 <= settled.cost <= task.holding.held
    assert money.account("alice").balance == balance - settled.cost


def only(money: CreditsWorld) -> Reservation:
    """The reservation of the call."""
    found = money.account("alice").reservation("one.1")
    assert found is not None
    return replace(found)
