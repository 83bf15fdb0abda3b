"""What must be true of messages when all is quiet: their text, their price and their live view.

Text and price are compared with what the vendor really sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from app.credits.core.entry import Entry
from app.kit.clock import from_rfc3339, minutes
from app.kit.money import to_decimal
from app.kit.stores.documents import Document, int_field, text_field
from app.kit.stores.realtime import Json
from simulation.audit import deletions
from simulation.audit.prices import most, possible, price
from simulation.audit.records import Records
from simulation.outside.model_vendor import VendorAnswer, answer_of
from simulation.workload import Known
from simulation.world import World

_FORGOTTEN_US: Final = 100 * 60_000_000
"""An instance that was silent for 90 minutes is forgotten by the next sweep, which is ten minutes away at most."""
_OUT_OF_TIME_US: Final = minutes(4)
"""An answer that takes longer is ended before its function is."""
_MOST_ANSWER: Final = 512 * 1024
_LONG_WORD: Final = 100_000

Found = Iterator[str]


def turns(world: World, known: Known, records: Records) -> Found:
    """Every turn is over, and charged once for what its owner got."""
    charged: dict[str, list[Entry]] = {}
    for uid in records.uids():
        for entry in records.entries(uid):
            if entry.draft.reference.type == "message":
                charged.setdefault(entry.draft.reference.id, []).append(entry)
    chat = [one for one in records.documents("users/") if "/conversations/" in one.path]
    gone = deletions.gone(known, chat)
    left = [one for one in chat if "/messages/" in one.path and one.path.partition("/messages/")[0] not in gone]
    yield from deletions.remains(known, chat)
    for answered in known.answers.keys() - {turn.id for turn in left}:
        if known.conversations[answered] not in gone:
            yield f"turn {answered} was answered and is gone"
        elif -sum(entry.amount for entry in charged.get(answered, [])) not in known.answers[answered]:
            yield f"turn {answered} was deleted, and what it cost is not what is charged"
    for path in [one.path for one in left if "reserved" not in one.fields]:
        yield f"{path} has the end of a turn, and not the turn"
    left = [one for one in left if "reserved" in one.fields]
    for turn in left:
        yield from _turn(world, known, turn, charged.get(turn.id, []))
    held = {turn.id: turn for turn in left}
    for message, entries in charged.items():
        yield from _priced(world, known, message, entries, held.get(message))


def _turn(world: World, known: Known, turn: Document, entries: list[Entry]) -> Found:
    if turn.fields["state"] == "running":
        yield f"turn {turn.id} still runs at the end"
        return
    cost = int_field(turn.fields, "cost")
    if len(entries) > 1:
        yield f"turn {turn.id} was charged {len(entries)} times"
    if cost != -sum(entry.amount for entry in entries):
        yield f"turn {turn.id} says it cost {cost}, charged was {[entry.amount for entry in entries]}"
    if not 0 <= cost <= int_field(turn.fields, "reserved"):
        yield f"turn {turn.id} cost {cost}, reserved was {turn.fields['reserved']}"
    held, most, limit = (*(int_field(turn.fields, one) for one in ("reserved", "ceiling")), known.limits.get(turn.id))
    if not held <= most <= (10**12 if limit is None else limit):
        yield f"turn {turn.id} reserved {held} of {most}, its owner's limit is {limit}"
    if turn.fields["reason"] in ("crashed", "reservation_lost") and cost:
        yield f"turn {turn.id} cost {cost}, though nobody settled it in time ({turn.fields['reason']})"
    if turn.fields["reason"] in ("completed", "client_gone_partial", "cancelled_partial") and cost == 0:
        yield f"turn {turn.id} was delivered ({turn.fields['reason']}) and cost nothing"
    faults = world.faults
    # A reservation whose answer was lost leaves a turn behind; one whose text was seen must have been settled.
    seen_once = turn.id in known.texts and turn.fields["attempt"] == 1
    certain = not faults.crash and not faults.stall and (not faults.unavailable or seen_once)
    if turn.fields["reason"] == "crashed" and certain:
        yield f"turn {turn.id} was left behind though nothing crashed"
    seen = known.answers.get(turn.id)
    if seen is not None and cost not in seen and turn.fields["state"] == "done":
        yield f"turn {turn.id}: the client was told {seen}, charged was {cost}"
    yield from _text(world, known, turn)


def _text(world: World, known: Known, turn: Document) -> Found:
    """The answer is what the vendor wrote, and what its reader has seen."""
    answer = text_field(turn.fields, "answer")
    if not answer.strip():
        return
    number, answers = answer_of(answer), world.outside.models.answers
    if number >= len(answers):
        yield f"turn {turn.id} holds {answer[:200]!r}, which nobody wrote for it"
        return
    source = answers[number]
    if source.question != known.questions[turn.id]:
        yield f"turn {turn.id} is answered with what was written for another"
    written = "".join(source.texts)
    # What the vendor wrote after its reader had left reached nobody.
    age_us = from_rfc3339(text_field(turn.fields, "ended_at")) - from_rfc3339(text_field(turn.fields, "created_at"))
    out_of_time = turn.fields["reason"] in ("length_limit", "reservation_lost") and age_us > _OUT_OF_TIME_US
    shorter = (
        turn.fields["reason"] in ("client_gone_partial", "budget_reached") or len(written) > _MOST_ANSWER or out_of_time
    )
    left = shorter and written.startswith(answer)
    torn = source.torn and answer == "".join(source.texts[:-1])
    if answer != written and not left and not torn:
        yield f"turn {turn.id} holds {answer[:200]!r}, the vendor wrote {written[:200]!r}"
    if len(answer.encode()) > _MOST_ANSWER:
        yield f"turn {turn.id} holds {len(answer.encode())} bytes, and has to fit a document"
    if turn.fields["state"] == "done" and turn.fields["attempt"] == 1:
        for seen in known.whole.get(turn.id, ()):
            if seen != answer:
                yield f"turn {turn.id} holds {answer!r}, its reader has seen {seen!r}"


def _priced(world: World, known: Known, message: str, entries: list[Entry], turn: Document | None) -> Found:
    """What was charged is the price of the answer that the vendor gave to this message and its turn holds."""
    given = [one for one in world.outside.models.answers if one.question == known.questions[message]]
    for entry in entries:
        if turn is None:
            full = {price for one in given for price in possible(one, entry.draft.reason)}
        else:
            answers = world.outside.models.answers
            unheard = [replace(one, usage=None, finish=None) if one.unsure else one for one in answers]
            full = {_of(turn, seen, entry.draft.reason) for seen in (answers, unheard)}
        prices = {min(price, held) for price in full for held in _held(world, known, message)}
        if turn is None and any(len(text) > _LONG_WORD for one in given for text in one.texts):
            # Nobody knows any more how much of a long word was passed on.
            prices |= {-entry.amount} if -entry.amount < max(prices) else set()
        unseen = [one for one in given if one.usage is None and one.texts]
        if unseen == given and given and -entry.amount > max(map(most, given)):
            yield f"message {message} was charged {-entry.amount}, and its vendor counts {[*map(most, given)]}"
        if -entry.amount not in prices:
            yield f"message {message} ({entry.draft.reason}) was charged {-entry.amount}, its answers cost {prices}"


def _of(turn: Document, answers: Sequence[VendorAnswer], reason: str) -> int:
    """The price of exactly the text that a turn holds."""
    answer = text_field(turn.fields, "answer")
    if not answer.strip():
        return 0
    if answer_of(answer) >= len(answers):
        return 0
    given = answers[answer_of(answer)]
    return price(given, reason, len(answer.split()), answer)


def _held(world: World, known: Known, message: str) -> Sequence[int]:
    """What can have been held, as far as its function knew: all of it was, or what it heard of last."""
    held = known.held.get(message, [0])
    return held if world.faults.unavailable else held[-1:]


class Streams:
    """Live views of answers: it looks at each when it is taken away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: dict[str, Json] = {}
        world.realtime.real.before_write.append(self._written)

    def _written(self, values: Mapping[str, Json]) -> None:
        for path, value in values.items():
            parts = path.split("/")
            if value is None and len(parts) == 4 and parts[2] == "streams":
                self._last[parts[3]] = self._world.realtime.real.peek(path) or self._last.get(parts[3])

    def verdict(self, known: Known, records: Records) -> Found:
        """All are gone. Before they went they showed what their turns say, whatever died and however writes failed."""
        users = self._world.realtime.real.peek("users")
        for uid, node in users.items() if isinstance(users, dict) else ():
            if isinstance(node, dict) and node.get("streams"):
                yield f"live streams of {uid} are left: {node['streams']}"
        if left := self._world.realtime.real.peek("orchestration/streams_due"):
            yield f"streams_due are left: {left}"
        told = self._world.realtime.real.peek("orchestration/instances")
        for name, one in told.items() if isinstance(told, dict) else ():
            at_us = one["at"] if isinstance(one, dict) else None
            if not isinstance(at_us, int) or at_us < self._world.kernel.now_us - _FORGOTTEN_US:
                yield f"instance {name} is not forgotten: {one}"
        for turn in records.documents("users/"):
            shown = self._last.get(turn.id)
            if isinstance(shown, dict) and "/messages/" in turn.path:
                yield from _shown(turn, shown)


def _shown(turn: Document, shown: Mapping[str, Json]) -> Found:
    if turn.fields["state"] == "running":
        return  # That it is not over was found before.
    chunks = shown.get("chunks")
    text = "".join(str(chunks[key]) for key in sorted(chunks)) if isinstance(chunks, dict) else ""
    if (shown.get("status"), shown.get("cost")) != (turn.fields["state"], to_decimal(int_field(turn.fields, "cost"))):
        yield f"the live stream of {turn.id} shows {shown}, its turn is {turn.fields}"
    # What a crashed attempt had shown stays, though its turn keeps none of it.
    if text != turn.fields.get("answer") and turn.fields["reason"] != "crashed":
        yield f"the live stream of {turn.id} shows {text!r}, its turn holds {turn.fields.get('answer')!r}"
