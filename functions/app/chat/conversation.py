"""A conversation as a frozen value: its settings, and the window of recent turns that the model sees. Pure.

The window is stored in the conversation's own document, so that a message reads one document however long the
conversation has become.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.chat.branching.tree import FIRST, Spent, Tree, read_spent, stored_tree
from app.chat.search.words import beginnings
from app.kit.stores.documents import Fields, Value, list_field, text_field, unknown

MOST_TURNS: Final = 24
MOST_BYTES: Final = 96 * 1024
"""Of the window: far below Firestore's megabyte, and within the context of every text model of the catalogue."""

_EXCHANGE: Final = frozenset({"message_id", "question", "answer", "spent"})
OPEN: Final = "open"
DELETING: Final = "deleting"
_TITLE_LENGTH: Final = 60

SHORTENED: Final = "\n[... a part of this text was left out here, because it is long ...]\n"
"""Stands in a recalled text where its middle was, so that the model does not take the rest for the whole."""
_SHARES: Final = (4, 8)
"""An exchange that must yield to others is shortened to one of these parts of the room. A smaller one is left whole."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One finished turn as the model sees it again."""

    message_id: str
    question: str
    answer: str
    others: Fields = field(default_factory=dict)
    """What is stored with it and is not known here: another version of the code wrote it. It is kept."""
    spent: Spent | None = None
    """What its branch had cost up to and with it; None where that is not known."""

    @property
    def size(self) -> int:
        """UTF-8 bytes of its texts."""
        return len(self.question.encode()) + len(self.answer.encode())

    @property
    def tellable(self) -> bool:
        """Whether a model may be sent it. Vendors refuse a request in which any message is blank."""
        return bool(self.question.strip() and self.answer.strip())

    def shortened(self, most_bytes: int) -> "Exchange | None":
        """Its beginnings and ends within `most_bytes`; None when too little would be left to tell anything."""
        if most_bytes < 8 * len(SHORTENED):
            return None
        asked, answered = len(self.question.encode()), len(self.answer.encode())
        half = most_bytes // 2
        question = _shortened(self.question, max(half, most_bytes - answered))
        return replace(self, question=question, answer=_shortened(self.answer, max(half, most_bytes - asked)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is put: the turn that it answers, what its model sees of the branch, and what that has cost.

    `adopted`: the turns of the time before trees, in their order, when the message branches off from among them.
    """

    parent: str
    window: tuple[Exchange, ...]
    spent: Spent | None
    adopted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Times are RFC 3339 text. `model` None: the first of the catalogue that fits a message.

    `tree` has the turns that ended, and `leaf` the last one of the active branch, whose recent turns are in `window`,
    and which cost `branch` up to there; `spent` is the cost of all turns. `tree` is None until the first message to a
    conversation of the time before trees; while `trunk` is set, it lacks the turns of that time, which are a chain in
    order of time. What these cost together is not known. `share` is the token under which a branch of it can be read.
    """

    id: str
    title: str
    model: str | None
    system_prompt: str
    memory: str
    created_at: str
    updated_at: str
    archived: bool = False
    pinned: bool = False
    window: tuple[Exchange, ...] = ()
    tree: Tree | None = None
    trunk: bool = True
    leaf: str = FIRST
    branch: Spent | None = None
    spent: Spent | None = None
    share: str | None = None

    @property
    def end(self) -> Place:
        """The end of the active branch, where a message is put that names no parent."""
        return Place(self.leaf, self.window, self.branch)

    def place(self, parent: str) -> Place | None:
        """The place behind a turn; None when its document must be asked, or those of the turns before it."""
        if parent == FIRST:
            return Place(FIRST, (), Spent())
        if parent == self.leaf:
            return self.end
        ids = [one.message_id for one in self.window]
        if parent not in ids or self.tree is None or parent not in self.tree:
            return None
        kept = self.window[: ids.index(parent) + 1]
        enough = len(kept) in (len(self.window), *range(MOST_TURNS // 2, MOST_TURNS))
        whole = enough or self.tree.nodes().parents.get(kept[0].message_id) == FIRST
        return Place(parent, kept, kept[-1].spent) if whole else None

    def adopting(self, chain: Sequence[str]) -> "Conversation":
        """The conversation whose tree has the turns of the time before trees as well, which are given in order."""
        if not self.trunk or not chain:
            return self
        return replace(self, tree=(self.tree or Tree()).adopting(chain), trunk=False)

    def grown(self, id: str, place: Place, exchange: Exchange | None, own: Spent, at: str) -> "Conversation":
        """The conversation after a turn ended at `place` and cost its `own`; `exchange` is what the model sees of it.

        The turn becomes the end of the active branch. One without an answer does so only where it goes on with that
        branch: a second answer that failed does not hide the first one. Neither does one that was answered before.
        """
        adopted = self.adopting(place.adopted)
        tree = (adopted.tree or Tree()).joined(id, place.parent)
        spent = None if self.spent is None else self.spent + own
        joined = replace(adopted, tree=tree, spent=spent)
        again = self.tree is not None and id in self.tree
        if again and id != self.leaf and tree.nodes().children.get(id):
            return joined
        if exchange is None and place.parent != self.leaf:
            return joined
        branch = None if place.spent is None else place.spent + own
        moved = replace(joined, leaf=id, branch=branch)
        if exchange is None:
            return moved
        if place.parent != self.leaf:
            moved = replace(moved, window=place.window)
        return moved.after(replace(exchange, spent=branch), at)

    def after(self, exchange: Exchange, at: str) -> "Conversation":
        """The conversation after one more turn, in which a turn stands once however often it is recorded.

        Long turns are shortened and the oldest dropped until the window fits its bounds. A blank turn never enters it.
        """
        title = self.title or titled(exchange.question)
        others = [one for one in self.window if one.message_id != exchange.message_id]
        window = fit([*others, exchange] if exchange.tellable else others)
        return replace(self, title=title, updated_at=max(at, self.updated_at), window=window)


def titled(question: str) -> str:
    """A title for a list: the beginning of the question, on one line."""
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"


def fit(
    exchanges: Sequence[Exchange], *, most_bytes: int = MOST_BYTES, most_turns: int = MOST_TURNS
) -> tuple[Exchange, ...]:
    """The most recent exchanges within both bounds.

    One that is long does not push out those before it: while not all fit, it is shortened to a part of the room, or
    left out when even that is too much.
    """
    kept: list[Exchange] = []
    left = most_bytes
    recent = exchanges[-most_turns:]
    waiting = sum(exchange.size for exchange in recent)
    for exchange in reversed(recent):
        yields = waiting > left and exchange.size > most_bytes // _SHARES[-1]
        waiting -= exchange.size
        fitting = _beside_others(exchange, left, most_bytes) if yields else exchange
        if fitting is None:
            continue
        if fitting.size > left:
            break
        left -= fitting.size
        kept.append(fitting)
    return tuple(reversed(kept))


def _beside_others(exchange: Exchange, left: int, most_bytes: int) -> Exchange | None:
    """A long exchange as it stands while half of the room that is `left` is kept for those before it."""
    if exchange.size <= left // 2:
        return exchange
    shares = (most_bytes // share for share in _SHARES)
    return exchange.shortened(next((share for share in shares if share <= left // 2), 0))


def write(conversation: Conversation) -> dict[str, Value]:
    """The document. What a conversation of the time before trees lacks is not written."""
    return {
        **_write_tree(conversation),
        "state": OPEN,
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "memory": conversation.memory,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "archived": conversation.archived,
        "pinned": conversation.pinned,
        "share": conversation.share,
        "words": [*beginnings(conversation.title)],
        "window": [
            {
                **one.others,
                "message_id": one.message_id,
                "question": one.question,
                "answer": one.answer,
                "spent": _write_spent(one.spent),
            }
            for one in conversation.window
        ],
    }


def _write_tree(conversation: Conversation) -> dict[str, Value]:
    if conversation.tree is None:
        return {}
    return {
        "tree": conversation.tree.text,
        "trunk": conversation.trunk,
        "leaf": conversation.leaf,
        "branch": _write_spent(conversation.branch),
        "spent": _write_spent(conversation.spent),
    }


def _write_spent(spent: Spent | None) -> list[Value] | None:
    return None if spent is None else spent.write()


def read(id: str, fields: Fields) -> Conversation | None:
    """The value of a document; None while the conversation is being deleted."""
    if text_field(fields, "state") != OPEN:
        return None
    model, share, tree = fields.get("model"), fields.get("share"), stored_tree(fields)
    window = tuple(one for value in list_field(fields, "window") if (one := _exchange(value)) is not None)
    last = window[-1].message_id if window else FIRST
    return Conversation(
        id=id,
        title=text_field(fields, "title"),
        model=model if isinstance(model, str) else None,
        system_prompt=text_field(fields, "system_prompt"),
        memory=text_field(fields, "memory"),
        created_at=text_field(fields, "created_at"),
        updated_at=text_field(fields, "updated_at"),
        archived=fields.get("archived") is True,
        pinned=fields.get("pinned") is True,
        window=window,
        tree=tree,
        trunk=tree is None or fields.get("trunk") is True,
        leaf=last if tree is None else text_field(fields, "leaf"),
        branch=read_spent(fields.get("branch")),
        spent=read_spent(fields.get("spent")),
        share=share if isinstance(share, str) else None,
    )


def tombstone(at: str) -> dict[str, Value]:
    """The document while its messages are being deleted. Lists order by `updated_at`, so without it none shows this."""
    return {"state": DELETING, "deleted_at": at}


def _exchange(value: Value) -> Exchange | None:
    """An exchange of a stored window; None for what no model can be sent, because one bad turn must not end a
    conversation.
    """
    if not isinstance(value, dict):
        return None
    message_id, question, answer = (value.get(name) for name in ("message_id", "question", "answer"))
    if not (isinstance(message_id, str) and isinstance(question, str) and isinstance(answer, str)):
        return None
    exchange = Exchange(message_id, question, answer, unknown(value, _EXCHANGE), read_spent(value.get("spent")))
    return exchange if exchange.tellable else None


def _shortened(text: str, most_bytes: int) -> str:
    """Two thirds of the room for the beginning of the text and one for its end."""
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    room = max(0, most_bytes - len(SHORTENED))
    tail = room // 3
    head = encoded[: room - tail].decode(errors="ignore")
    return head + SHORTENED + encoded[len(encoded) - tail :].decode(errors="ignore")
