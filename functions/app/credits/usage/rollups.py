"""Entries added up by hour, model and task, and by conversation: what analytics reads instead of the whole ledger.

Pure: a batch of entries becomes the increments of a few documents. Derived state only: it can be deleted and computed
from the entries again, and no decision about money reads it.

    accounts/{uid}/rollups/cursor                    {generation, sequence}: every entry up to there is counted
    accounts/{uid}/rollups/{generation}-{day}        hours.{hour}.{model}.{task}.{measure}, movements.{hour}.{kind}
    accounts/{uid}/conversation_costs/{generation}-{conversation}
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from app.credits.core.entry import Kind
from app.kit.stores.documents import Fields, Increment, Merge, Value, int_field, text_field

MEASURES: Final = ("cost", "charges", "input", "cached_input", "output", "reasoning", "image", "cache_write")
"""`cost` in micro-credits, `charges` counts entries, the others count tokens as the price book names them."""

Counts = dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last entry that an account's rollups count; a rebuild begins a new generation."""

    generation: int = 1
    sequence: int = 0

    def fields(self) -> dict[str, Value]:
        """As it is stored."""
        return {"generation": self.generation, "sequence": self.sequence}


def cursor_path(uid: str) -> str:
    return f"accounts/{uid}/rollups/cursor"


def slot(generation: int, day: str) -> str:
    """The id of a day's document, and the value of its field `slot`, by which periods are queried."""
    return f"{generation:06d}-{day}"


def increments(uid: str, cursor: Cursor, entries: Iterable[Fields]) -> list[Merge]:
    """What a batch of entries adds, as merges of the documents concerned; each document once."""
    days: dict[str, Counts] = defaultdict(lambda: defaultdict(int))
    conversations: dict[str, Counts] = defaultdict(lambda: defaultdict(int))
    for entry in entries:
        day, hour = text_field(entry, "created_at")[:10], text_field(entry, "created_at")[11:13]
        amount = int_field(entry, "amount")
        days[day]["movements", hour, text_field(entry, "kind")] += amount
        if entry["kind"] != Kind.SETTLE.value:
            continue
        usage = _map(entry.get("usage"))
        counted = {"cost": -amount, "charges": 1, **_tokens(usage)}
        for measure, count in counted.items():
            days[day]["hours", hour, _text(usage, "model"), _text(usage, "task"), measure] += count
        if (conversation := usage.get("conversation")) is not None:
            conversations[str(conversation)]["cost",] -= amount
            conversations[str(conversation)]["messages",] += 1
    return [
        *(_day(uid, cursor.generation, day, counts) for day, counts in days.items()),
        *(_conversation(uid, cursor.generation, id, counts) for id, counts in conversations.items()),
    ]


def _day(uid: str, generation: int, day: str, counts: Counts) -> Merge:
    id = slot(generation, day)
    return Merge(f"accounts/{uid}/rollups/{id}", {"slot": id, "day": day, **_added(counts)})


def _conversation(uid: str, generation: int, id: str, counts: Counts) -> Merge:
    place = slot(generation, id)
    names: dict[str | tuple[str, ...], Value] = {"slot": place, "conversation": id, "generation": generation}
    return Merge(f"accounts/{uid}/conversation_costs/{place}", {**names, **_added(counts)})


def _added(counts: Counts) -> dict[str | tuple[str, ...], Value | Increment]:
    return {place: Increment(count) for place, count in counts.items()}


def _tokens(usage: Fields) -> dict[str, int]:
    tokens = _map(usage.get("tokens"))
    return {name: count for name, count in tokens.items() if name in MEASURES and isinstance(count, int) and count > 0}


def _map(value: Value) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _text(usage: Fields, name: str) -> str:
    value = usage.get(name)
    return value if isinstance(value, str) and value else "other"
