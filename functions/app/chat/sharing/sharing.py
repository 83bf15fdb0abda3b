"""Shares a conversation, takes it back, and reads what is shared.

A share and its token in the conversation are written in one commit, against the version of the conversation that was
read. A share that its conversation does not name is none: what a deletion or an older version of the code left behind
shows nothing.
"""

from dataclasses import dataclass, replace
from typing import Final, TypeVar

from app.chat import turn as turns
from app.chat.branching.branches import Branches
from app.chat.conversation import Conversation, write
from app.chat.sharing import share as shares
from app.chat.sharing.share import Share, share_path
from app.chat.store import ChatStore, NoSuchConversation
from app.chat.turn import Turn
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import InvariantViolation, NotFound, Rejection
from app.kit.ids import Ids, derived
from app.kit.optimistic import Pause
from app.kit.stores.documents import Delete, Document, Replace
from app.kit.stores.rows import GuardedRows

T = TypeVar("T")
_JOB: Final = "turns_list"
_log = telemetry.log("chat")


class NothingToShare(Rejection):
    """The active branch has no turn that has ended."""

    status = 409
    code = "nothing_to_share"
    title = "There is nothing to share yet"


class NotShared(NotFound):
    """No such share, or none any more."""

    def __init__(self) -> None:
        super().__init__("Nothing is shared here, or not any more.")


@dataclass(frozen=True, slots=True)
class SharedPage:
    """Some turns of what is shared, the first one first; `after` is the place behind them, None at the end."""

    title: str
    share: Share
    turns: list[Turn]
    count: int
    after: int | None


class Sharing:
    """The use cases of shares."""

    def __init__(self, *, store: ChatStore, branches: Branches, clock: Clock, ids: Ids, pause: Pause) -> None:
        self._store, self._branches, self._clock, self._ids, self._pause = store, branches, clock, ids, pause
        self._rows = GuardedRows(store.documents, clock)

    def share(self, uid: str, conversation_id: str) -> Share:
        """Shares the active branch as far as it has ended. Done again, it keeps its token and shows what came since.

        Raises:
            NoSuchConversation, NothingToShare
        """

        def show(found: Conversation, stored: Document) -> Share:
            if not found.leaf:
                raise NothingToShare("Its active branch has no turn that has ended.")
            # Two ids, because half of one is time.
            standing = found.share if found.share and self._store.documents.get(share_path(found.share)) else None
            token = standing or derived("shr", self._ids.new("shr"), self._ids.new("shr"))
            # Never before the end of a turn, whose instance may have another clock.
            at = max(to_rfc3339(self._clock.now_us()), found.updated_at)
            made = Share(token, uid, conversation_id, found.leaf, at, found.title)
            fields = write(replace(found, share=token))
            self._store.documents.commit(
                [
                    Replace(stored.path, fields, stored.version, keep_others=True),
                    Replace(share_path(token), shares.write(made)),
                ]
            )
            return made

        return self._store.changed(uid, conversation_id, self._pause, show)

    def of(self, uid: str, conversation_id: str) -> Share:
        """The share of a conversation.

        Raises:
            NoSuchConversation, NotShared
        """
        found, _ = self._store.conversation(uid, conversation_id)
        share = None if found.share is None else self._stored(found.share)
        if share is None:
            raise NotShared
        return share

    def take_back(self, uid: str, conversation_id: str) -> None:
        """Ends the share, if there is one; its token is never given out again.

        Raises:
            NoSuchConversation
        """

        def end(found: Conversation, stored: Document) -> None:
            if found.share is not None:
                fields = write(replace(found, share=None))
                ended = Delete(share_path(found.share))
                self._store.documents.commit([Replace(stored.path, fields, stored.version, keep_others=True), ended])

        self._store.changed(uid, conversation_id, self._pause, end)

    def page(self, token: str, limit: int, after: int) -> SharedPage:
        """At most `limit` of the turns that are shared, from the place `after` on. It costs four Firestore calls.

        Raises:
            NotShared
        """
        share = self._stored(token)
        if share is None:
            raise NotShared
        try:
            outline = self._branches.outline(share.account, share.conversation_id)
        except NoSuchConversation:
            raise NotShared from None
        if outline.conversation.share != token:
            raise NotShared
        ids = [turn for turn in outline.nodes.up(share.leaf) if turn in outline.numbers][::-1]
        shown = ids[after : after + limit]
        found = self._store.turns_with(share.account, share.conversation_id, shown)
        read = self._rows.decoded(_JOB, found, lambda stored: turns.read(stored.fields))
        more = after + limit if len(ids) > after + limit else None
        return SharedPage(share.title, share, [_as_shared(one, share) for one in read], len(ids), more)

    def _stored(self, token: str) -> Share | None:
        stored = self._store.documents.get(share_path(token))
        if stored is None:
            return None
        try:
            return shares.read(token, stored.fields)
        except InvariantViolation as broken:
            _log.error("share_not_read", path=stored.path, reason=str(broken))
            return None


def _as_shared(turn: Turn, share: Share) -> Turn:
    """The turn without an answer that came after it was shared, where the first attempt had none."""
    later = turn.end is not None and turn.end.ended_at > share.shared_at
    return replace(turn, end=None) if later else turn
