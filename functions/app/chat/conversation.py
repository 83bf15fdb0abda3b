"""A conversation as a frozen value: its settings, and the window of recent turns that the model sees. Pure.

The window is stored in the conversation's own document, so that a message reads one document however long the
conversation has become.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.chat.branching.tree import FIRST, Spent, Tree, is_id, read_spent, stored_tree
from app.chat.search.words import beginnings
from app.kit.clock import to_rfc3339
from app.kit.errors import InvariantViolation, ensure
from app.kit.stores.documents import Fields, Value, as_map, list_field, optional_text, text_field, unknown
from app.kit.stores.reading import FieldReader, flag_field, time_field

MOST_TURNS: Final = 24
MOST_BYTES: Final = 96 * 1024
"""Of the window: far below Firestore's megabyte, and within the context of every text model of the catalogue."""

_EXCHANGE: Final = frozenset({"message_id", "question", "answer", "spent"})
OPEN: Final = "open"
DELETING: Final = "deleting"
_TITLE_LENGTH: Final = 60
_OF_THE_END: Final = frozenset({"tree", "trunk", "leaf", "window", "branch"})
_EPOCH: Final = to_rfc3339(0)

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


_NONE: Final = Tree()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is put: the turn that it answers, what its model sees of the branch, and what that has cost.

    `adopted`: turns that the stored tree lacks, when the message branches off from among those of the time before
    trees, or when the tree could not be read.
    """

    parent: str
    window: tuple[Exchange, ...]
    spent: Spent | None
    adopted: Tree = _NONE


@dataclass(frozen=True, slots=True)
class Conversation:
    """Times are RFC 3339 text. `model` None: the first of the catalogue that fits a message.

    `tree` has the turns that ended, and `leaf` the last one of the active branch, whose recent turns are in `window`,
    and which cost `branch` up to there; `spent` is the cost of all turns. `tree` is None until the first message to a
    conversation of the time before trees; while `trunk` is set, it lacks the turns of that time, which are a chain in
    order of time. What these cost together is not known. `share` is the token under which a branch of it can be read,
    and `claim` what the file of an imported one said of it; see `importing.origin`.

    `unread` names the fields whose stored values cannot be read. Sums among them are None: they are never guessed.
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
    claim: str | None = None
    unread: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether the end of its active branch could be read, as it is stored."""
        return self.unread.isdisjoint(_OF_THE_END)

    @property
    def lost(self) -> bool:
        """Whether its tree cannot be read, and must be made anew from its turns."""
        return "tree" in self.unread and self.tree is None

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

    def adopting(self, older: Tree) -> "Conversation":
        """The conversation whose tree has the turns of the time before trees as well."""
        if not self.trunk or not older.text:
            return self
        return replace(self, tree=(self.tree or Tree()).adopting(older), trunk=False)

    def restored(self, older: Tree) -> "Conversation":
        """The conversation with all its turns in its tree, and an active branch among them."""
        found = self.adopting(older)
        tree = found.tree or Tree()
        if self.leaf in tree:
            return found
        last = self.window[-1].message_id if self.window else FIRST
        return replace(found, leaf=last if last in tree else tree.last)

    def grown(self, id: str, place: Place, exchange: Exchange | None, own: Spent, at: str) -> "Conversation":
        """The conversation after a turn ended at `place` and cost its `own`; `exchange` is what the model sees of it.

        The turn becomes the end of the active branch. One without an answer does so only where it goes on with that
        branch: a second answer that failed does not hide the first one. Neither does one that was answered before.
        """
        adopted = self.adopting(place.adopted)
        tree = (adopted.tree or Tree()).joined(id, place.parent)
        spent = None if self.spent is None else self.spent + own
        again = self.tree is not None and id in self.tree
        elsewhere = place.parent != self.leaf
        if (again and id != self.leaf and tree.nodes().children.get(id)) or (exchange is None and elsewhere):
            return replace(adopted, tree=tree, spent=spent)
        branch = None if place.spent is None else place.spent + own
        window = self.window if exchange is None or (self.whole and not elsewhere) else place.window
        moved = replace(adopted, tree=tree, spent=spent, leaf=id, branch=branch, window=window)
        return moved if exchange is None else moved.after(replace(exchange, spent=branch), at)

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
        "claim": conversation.claim,
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
    """The value of a document; None while the conversation is being deleted.

    A field that cannot be read is named in `unread` and takes no other with it.

    Raises:
        InvariantViolation: neither its state nor its times can be read, so it is no conversation.
    """
    if fields.get("state") == DELETING or "deleted_at" in fields:
        return None
    reader = FieldReader(fields)
    reader.take("state", _state, OPEN)
    updated_at = reader.take("updated_at", time_field, _EPOCH)
    created_at = reader.take("created_at", time_field, updated_at)
    ensure(len(reader.unread) < 3, "a conversation has a state and times")
    found = Conversation(
        id=id,
        title=reader.take("title", text_field, ""),
        model=reader.take("model", optional_text, None),
        system_prompt=reader.take("system_prompt", text_field, ""),
        memory=reader.take("memory", text_field, "buffer"),
        created_at=created_at,
        updated_at=max(created_at, updated_at),
        archived=reader.take("archived", flag_field, False),
        pinned=reader.take("pinned", flag_field, False),
        window=_window(reader),
        spent=reader.take("spent", read_spent, None),
        share=reader.take("share", _share, None),
        claim=reader.take("claim", optional_text, None),
    )
    return _with_tree(found, reader)


def _state(fields: Fields, name: str) -> str:
    ensure(text_field(fields, name) == OPEN, "a conversation is open, or being deleted")
    return OPEN


def _window(reader: FieldReader) -> tuple[Exchange, ...]:
    window: list[Exchange] = []
    nothing: Sequence[Value] = ()
    for value in reader.take("window", list_field, nothing):
        try:
            exchange = _exchange(value, reader)
        except InvariantViolation:
            reader.unread["window"] = None
            continue
        if exchange.tellable:
            window.append(exchange)
    return tuple(window)


def _with_tree(found: Conversation, reader: FieldReader) -> Conversation:
    """The conversation with its tree and its active branch.

    A leaf that is not in the tree is found in the window again. Where that does not know it either, the tree is the one
    that was spoilt.
    """
    tree, last = reader.take("tree", stored_tree, None), found.window[-1].message_id if found.window else FIRST
    if tree is None and not reader.fields.keys() & {"tree", "trunk", "leaf", "branch", "spent"}:
        return replace(found, leaf=last, unread=frozenset(reader.unread))
    trunk = reader.take("trunk", _trunk, True)
    leaf = reader.take("leaf", _leaf, None)
    branch = reader.take("branch", read_spent, None)
    if tree is not None and not trunk and (leaf is None or ((leaf or tree.text) and leaf not in tree)):
        reader.unread["leaf"] = None
        if last in tree or leaf is None:
            leaf, branch = last if last in tree else tree.last, None
        else:
            tree = None
    if tree is None:
        reader.unread["tree"] = None
    return replace(
        found,
        tree=tree,
        trunk=trunk or tree is None,
        leaf=last if leaf is None else leaf,
        branch=branch,
        unread=frozenset(reader.unread),
    )


def _share(fields: Fields, name: str) -> str | None:
    token = optional_text(fields, name)
    ensure(token is None or is_id(token), "a share has a token")
    return token


def _trunk(fields: Fields, name: str) -> bool:
    ensure(name in fields, "a tree says whether it has a trunk")
    return flag_field(fields, name)


def _leaf(fields: Fields, name: str) -> str:
    leaf = text_field(fields, name)
    ensure(leaf == FIRST or is_id(leaf), "a leaf is a turn")
    return leaf


def tombstone(at: str) -> dict[str, Value]:
    """The document while its messages are being deleted. Lists order by `updated_at`, so without it none shows this."""
    return {"state": DELETING, "deleted_at": at}


def _exchange(value: Value, reader: FieldReader) -> Exchange:
    """An exchange of a stored window; raises InvariantViolation. What its branch had cost is left out if spoilt."""
    stored = as_map(value)
    within = FieldReader(stored)
    spent = within.take("spent", read_spent, None)
    reader.unread.update(dict.fromkeys(("window",) if within.unread else ()))
    message_id, question, answer = (text_field(stored, name) for name in ("message_id", "question", "answer"))
    return Exchange(message_id, question, answer, unknown(stored, _EXCHANGE), spent)


def _shortened(text: str, most_bytes: int) -> str:
    """Two thirds of the room for the beginning of the text and one for its end."""
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    room = max(0, most_bytes - len(SHORTENED))
    tail = room // 3
    head = encoded[: room - tail].decode(errors="ignore")
    return head + SHORTENED + encoded[len(encoded) - tail :].decode(errors="ignore")
