"""What the readers of other programs' files share: values of any kind, times, and texts with marks in them. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from app.chat.conversation import titled
from app.chat.importing.draft import ImportedConversation
from app.chat.importing.threads import ForeignTree, cut, turns_of
from app.kit.clock import to_rfc3339

MOST_TITLE: Final = 200
MOST_PROMPT: Final = 16_000
MOST_IMAGES: Final = 8
_MICROSECONDS: Final = ((1e17, 0.001), (1e14, 1), (1e11, 1_000), (0, 1_000_000))
"""How many there are in the unit of a time that is at least so large: nanoseconds, microseconds, milliseconds, seconds.
Each unit has its own numbers from 1973 to 5000.
"""
_LARGEST: Final = 1e19

Object = Mapping[str, object]


def object_of(value: object) -> Object:
    """The value as an object; an empty one when it is none."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: object) -> Sequence[object]:
    """The value as a list; an empty one when it is none."""
    return value if isinstance(value, list) else ()


def text_of(value: object) -> str:
    """The value as a text; an empty one when it is none."""
    return value if isinstance(value, str) else ""


def time_of(value: object, latest_us: int) -> int | None:
    """Microseconds of a number of seconds, or of a finer unit; None where it tells no time up to `latest_us`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    return min(latest_us, int(min(value, _LARGEST) * next(each for least, each in _MICROSECONDS if value >= least)))


def without_marked(text: str, opening: str, closing: str) -> tuple[str, int]:
    """The text without what stands between these marks, and how often that was."""
    kept: list[str] = []
    at = count = 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
        kept.append(text[at:start])
        at = end + len(closing)
        count += 1
    return "".join(kept) + text[at:], count


def conversation_of(
    tree: ForeignTree, counts: "Counter[str]", *, title: str, updated_us: int | None, prompt: str = "", **flags: bool
) -> ImportedConversation:
    """The conversation that these messages are. `flags`: whether it is archived, and pinned."""
    turns, active = turns_of(tree, counts)
    used_us = max(tree.since_us, updated_us or 0)
    first = titled(turns[0].question) if turns else ""
    return ImportedConversation(
        title=cut(title, MOST_TITLE, counts) or first,
        created_at=min([to_rfc3339(tree.since_us), *(turn.created_at for turn in turns)]),
        updated_at=max([to_rfc3339(used_us), *(turn.ended_at for turn in turns)]),
        turns=turns,
        active=active,
        system_prompt=cut(prompt, MOST_PROMPT, counts),
        archived=flags.get("archived", False),
        pinned=flags.get("pinned", False),
        left_out=+counts,
    )
