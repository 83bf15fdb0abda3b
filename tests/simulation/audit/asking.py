"""What must follow from what a model vendor really did: who is asked next, how the turn ends, who is alarmed and whom
it makes sick.

Each turn is looked at in the commit that ends it, when the process that asked knows no more than the vendor does.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Final

from app.kit.clock import from_rfc3339
from app.kit.stores.documents import Fields, int_field, map_field, text_field
from simulation.audit.prices import most, paid_output, pays, written
from simulation.machine.kernel import Instance, Process
from simulation.outside.book import BOOK, BY_VENDOR, Priced
from simulation.outside.mishaps import KINDS
from simulation.outside.model_vendor import VendorAnswer
from simulation.outside.tokenizer import most as longest
from simulation.outside.truth import SECOND, Failing
from simulation.workload import Known
from simulation.world import World
from support.memory import Change

_SKEW: Final = 4 * SECOND
_MARGIN_US: Final = 20 * SECOND
_MOST_OUTPUT: Final = 16_384
_MOST_ANSWER: Final = 512 * 1024
_MOST_FALLBACKS: Final = 2
_FAILURES: Final = 5
_USERS: Final = 2
"""So many failures of a model, met by so many users, leave it alone."""
_PATIENT_S: Final = 2
"""A longer Retry-After is left to another model."""
_HEARD_US: Final = SECOND * 8 // 10
"""Whoever leaves has the vendor's count waited for longer than this."""
_BY_USER: Final = (
    "cancelled_before_first_token",
    "cancelled_partial",
    "client_gone_before_first_token",
    "client_gone_partial",
)
_RESTING: Final = "model_resting"
_UNSETTLED: Final = ("crashed", "reservation_lost")

Found = Iterator[str]


@dataclass
class _Course:
    """What one process met, as it should have gone on."""

    first: Priced
    failed: list[tuple[Priced, Failing]] = field(default_factory=list)
    last: VendorAnswer | Failing | None = None
    because: str = ""
    """Why another model is asked than the first one."""
    expected: Priced | None = None
    """Who should have been asked after the last failure."""
    wrong: list[str] = field(default_factory=list)


class Askings:
    """Watches the ends of turns."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._vendor = world.outside.models
        self._longest_us = world.backends[0].system.settings.api.timeout_s * SECOND
        self._found: list[str] = []
        world.documents.watchers.append(self._committed)

    def verdict(self) -> Found:
        """What was found."""
        yield from self._found
        for answer in self._vendor.answers:
            for sin in answer.sins:
                yield f"answer {answer.number} of {answer.model}: {sin}"

    def _committed(self, changes: list[Change]) -> None:
        asker = self._world.kernel.current
        met = self._vendor.met.get(asker) if asker is not None else None
        for path, before, after in changes:
            ends = before is not None and before.get("state") == "running" and after is not None
            if ends and "/messages/" in path and after is not None and after["state"] != "running":
                if met and asker is not None:
                    self._found += [f"{path}: {one}" for one in self._ended(asker, met, after)]
                elif after["reason"] == "length_limit":
                    _doubt(self._given(text_field(after, "id")))

    def _given(self, message: str) -> list[VendorAnswer | Failing]:
        """What was answered to a message whose end another process commits than the one that asked."""
        question = self._known.questions.get(message)
        return [one for one in self._vendor.answers if one.question == question]

    def _ended(self, asker: Process, met: list[VendorAnswer | Failing], turn: Fields) -> Found:
        instance, began_us = asker.instance, from_rfc3339(text_field(turn, "created_at"))
        stood_still = instance is not None and instance.frozen_us > began_us - _SKEW
        voids = any(isinstance(one, VendorAnswer) and one.void for one in met)
        # The answer is ended a while before the platform would, also by an instance that stood still.
        late = self._world.kernel.now_us - began_us > self._longest_us - _MARGIN_US - _SKEW
        if late:
            _doubt(met)
        if turn["reason"] in _UNSETTLED or stood_still or (voids and self._world.faults.stall):
            return  # Whoever stood still cannot tell silence, or a connection closed before, from one that broke.
        passed = [str(line["model"]) for line in self._world.pager.about("model_passed_over", asker)]
        without = self._known.without.get(text_field(turn, "id"), frozenset())
        course = _course(met, turn, deque(passed), without)
        yield from course.wrong
        yield from self._passed_over(passed)
        by_user = turn["reason"] in _BY_USER
        if course.expected is not None and not by_user and not late:
            yield f"ended as {turn['reason']}, and {course.expected.id} was not asked after {course.last}"
        elif not by_user:
            yield from _truly(course, turn, late=late)
        yield from self._alarmed(asker, course, exactly=not (by_user or late))
        yield from self._sick(asker, course, turn)
        if turn["reason"] == "client_gone_partial":
            yield from self._left(course, text_field(turn, "id"))

    def _alarmed(self, asker: Process, course: _Course, *, exactly: bool) -> Found:
        told = [(line["model"], str(line["blame"])) for line in self._world.pager.about("model_needs_attention", asker)]
        wanted = [(model.id, failing.whose) for model, failing in course.failed if failing.follows.alarm]
        if told != wanted and (exactly or told != wanted[: len(told)]):
            yield f"somebody was alarmed about {told}, and needed for {wanted}"
        odd = isinstance(course.last, VendorAnswer) and KINDS.get(course.last.finish or "") == "unknown"
        if exactly and odd and not self._world.pager.about("unknown_finish_reason", asker):
            yield "nobody was told of a finish that nobody knows"

    def _passed_over(self, models: list[str]) -> Found:
        """A model is passed over when it failed several times on one instance and for several users, and for no other
        reason. Instances tell one another.
        """
        for model in models:
            failed = [*self._failed(BOOK[model])]
            if len(failed) < _FAILURES or len({*failed} - {""}) + failed.count("") < _USERS:
                yield f"{model} was passed over, and had failed {len(failed)} times, for {sorted({*failed})}"

    def _failed(self, model: Priced) -> Iterator[str]:
        """Whom each failure of a model met; empty for a connection, of which nobody knows whose it was."""
        owners = {asked: self._known.conversations[id].split("/")[1] for id, asked in self._known.questions.items()}
        for one in chain.from_iterable(self._vendor.met.values()):
            if isinstance(one, Failing):
                yield from ("",) if one.follows.sick else ()
                continue
            sick = one.stood_still or (one.failing is not None and one.failing.follows.sick)
            if sick and one.model == model.vendor_id and not one.void:
                yield owners.get(one.question, "")

    def _sick(self, asker: Process, course: _Course, turn: Fields) -> Found:
        """Only a failure of the vendor's or of ours makes a model sick, and for those of this instance alone."""
        instance = asker.instance
        backend = next((one for one in self._world.backends if one.instance is instance), None)
        if backend is None or instance is None:
            return
        outcomes = list(self._outcomes(instance))
        for model in {course.first.id: course.first, **{one.id: one for one, _ in course.failed}}.values():
            state = backend.system.models.health.of(model.id)
            mine = [(who, bad) for who, vendor_id, bad in outcomes if vendor_id in ("", model.vendor_id)]
            if state != "up" and not any(bad for _, bad in mine):
                yield f"{model.id} is {state}, and has done nothing wrong"
            alone = all(who is asker for who, _ in mine)
            failed = any(one is model and failing.follows.sick for one, failing in course.failed)
            if state == "up" and alone and failed and turn["reason"] not in _BY_USER:
                yield f"{model.id} is up, and has failed"

    def _outcomes(self, instance: Instance) -> Iterator[tuple[Process, str, bool]]:
        """Whoever asked on an instance, which model, and whether that may make it sick; any model for a connection."""
        for process, met in self._vendor.met.items():
            for one in met if process.instance is instance else ():
                if isinstance(one, Failing):
                    yield process, "", one.follows.sick
                elif not one.void:
                    sick = one.failing is not None and one.failing.follows.sick
                    yield process, one.model, sick or one.stood_still

    def _left(self, course: _Course, message: str) -> Found:
        """Whoever leaves behind the last word pays what the vendor counts, so its count is waited for (T-108)."""
        left_us, last = self._known.left.get(message), course.last
        if left_us is None or self._world.faults.stall or not isinstance(last, VendorAnswer):
            return
        if not left_us <= last.closed_us <= left_us + 2 * SECOND:
            return
        for due_us, one in last.unread:
            if one.text or one.fails or one.data is None or due_us > left_us + _HEARD_US:
                return
            if one.counted:
                yield "its reader left, and a count that came at once was not waited for"
                return


def _doubt(met: list[VendorAnswer | Failing]) -> None:
    """Notes that the time was up with the last answer, so that nobody knows what was heeded of it."""
    last = next((one for one in reversed(met) if isinstance(one, Failing) or not one.void), None)
    if isinstance(last, VendorAnswer):
        last.unsure = True


def _course(met: list[VendorAnswer | Failing], turn: Fields, passed: deque[str], without: frozenset[str]) -> _Course:
    """Follows what the vendor did, as the table of `simulation.outside.truth` says.

    `passed`: who was passed over; `without`: providers that its user has left out.
    """
    course = _Course(BOOK[text_field(turn, "model")])
    asked = next((one for one in met if isinstance(one, VendorAnswer)), None)
    others = [one for one in course.first.chain(without) if asked is None or _paid(one, asked, turn)]
    left = deque([course.first, *others[:_MOST_FALLBACKS]])
    course.expected = _begun(left, passed, met)
    model = course.expected or course.first
    twice = model is course.first
    course.because = "" if twice else _RESTING
    for one, then in zip_longest(met, met[1:]):
        if isinstance(one, VendorAnswer) and (one.model != model.vendor_id or course.expected is None):
            course.wrong.append(f"{one.model} was asked, and not {course.expected and course.expected.id}")
        if isinstance(one, VendorAnswer) and one.void:
            continue
        course.last, failing = one, one if isinstance(one, Failing) else one.failing
        course.expected = None
        if failing is not None:
            course.failed.append((model, failing))
        if failing is None or (isinstance(one, VendorAnswer) and one.texts):
            continue
        again, twice = failing.follows.again and twice and failing.wait_s <= _PATIENT_S, False
        course.expected = _next(deque([model]), passed, then) if again else None
        if course.expected is None and failing.follows.next and asked is not None:
            course.because = course.because or failing.code
            course.expected = _next(left, passed, then)
        model = course.expected or model
    return course


def _begun(left: deque[Priced], passed: deque[str], met: list[VendorAnswer | Failing]) -> Priced | None:
    """Who is asked first. A fallback is asked once: where its answer follows a connection that failed, that one was to
    the first model.
    """
    then = met[1] if len(met) > 1 and isinstance(met[0], Failing) else None
    if isinstance(then, VendorAnswer) and [one.vendor_id for one in [*left][1:2]] == [then.model]:
        return left.popleft()
    return _next(left, passed, met[0])


def _next(left: deque[Priced], passed: deque[str], then: VendorAnswer | Failing | None) -> Priced | None:
    """The first who is not passed over. `then` is what came next: who was asked then was passed over later, if ever."""
    while left:
        model = left.popleft()
        if not passed or passed[0] != model.id or (isinstance(then, VendorAnswer) and then.model == model.vendor_id):
            return model
        passed.popleft()
    return None


def _paid(model: Priced, asked: VendorAnswer, turn: Fields) -> bool:
    return pays(model, asked.prompt, int_field(turn, "ceiling"))


def _truly(course: _Course, turn: Fields, *, late: bool) -> Found:
    """The turn ends as the vendor did, and names who answered and why."""
    last, reason = course.last, text_field(turn, "reason")
    if last is None:
        return
    wanted = _reasons(course.first, last, turn) | (
        {"vendor_failed", "budget_reached", "length_limit"} if late else set()
    )
    if reason not in wanted:
        yield f"ended as {reason}, and should as {sorted(wanted)}: {_said(last)}"
    failing = last if isinstance(last, Failing) else last.failing
    problem = map_field(turn, "problem") if turn.get("problem") else {}
    if failing is not None and not late and problem.get("code") != failing.code:
        yield f"its user was told {problem.get('code')}, the vendor meant {failing}"
    if isinstance(last, VendorAnswer) and last.texts and not late:
        model = BY_VENDOR[last.model]
        why = "" if model is course.first else course.because
        if (turn["answered_by"], turn["route_reason"]) != (model.id, why):
            yield f"says {turn['answered_by']} answered for {turn['route_reason']!r}, it was {model.id} for {why!r}"


def _reasons(first: Priced, last: VendorAnswer | Failing, turn: Fields) -> set[str]:
    failing = last if isinstance(last, Failing) else last.failing
    texts = last.texts if isinstance(last, VendorAnswer) else []
    if failing is not None and failing.whose == "moderation":
        return {"moderation_refused"}
    if failing is not None:
        return {"vendor_failed_partial" if texts else "vendor_failed"}
    assert isinstance(last, VendorAnswer)
    kind = KINDS.get(last.finish or "", "whole" if last.done and last.counted else "none")
    if not texts and (kind != "none" or _unheld(last, turn)):
        return {"moderation_refused" if kind == "filtered" else "empty_answer"}
    overrun = len(texts) > last.limit or (last.usage is not None and most(last) > int_field(turn, "reserved"))
    return {*_ends(kind, first, last), *(("budget_reached",) if overrun or _unheld(last, turn) else ())}


def _unheld(last: VendorAnswer, turn: Fields) -> bool:
    """Whether what came used up what was held, and no more was: there was nothing, or the store did not answer."""
    held, count = int_field(turn, "reserved"), written(last, len(last.texts)) + len(last.thoughts)
    return held < int_field(turn, "ceiling") and count > paid_output(BY_VENDOR[last.model], last.prompt, held)


def _ends(kind: str, first: Priced, last: VendorAnswer) -> set[str]:
    match kind:
        case "whole":
            return {"completed" if last.usage is not None and last.usage.whole else "usage_missing"}
        case "length":
            wanted = min(_MOST_OUTPUT, first.max_output_tokens, BY_VENDOR[last.model].max_output_tokens)
            crowded = 2 * longest(last.prompt) > first.context_tokens
            return {"budget_reached", "length_limit"} if crowded else _cut(last, wanted)
        case "context":
            return {"model_length"}
        case "filtered":
            return {"content_filtered"}
        case "unknown":
            return {"unknown_finish"}
        case _:
            return {"length_limit"} if sum(map(len, last.texts)) > _MOST_ANSWER else set()


def _cut(last: VendorAnswer, wanted: int) -> set[str]:
    return {"budget_reached" if last.limit < wanted else "length_limit"}


def _said(last: VendorAnswer | Failing) -> str:
    if isinstance(last, Failing):
        return str(last)
    return f"{len(last.texts)} pieces, finish {last.finish}, done {last.done}, {last.usage}, {last.failing}"
