"""The deletion of a conversation, as an operation: its messages batch by batch, itself with the last of them.

`Chat.delete` orders it in the commit that hides the conversation from its user, so that neither happens without the
other. Deleting what is gone changes nothing, so an attempt that died is simply begun again. Entries of the ledger stay.
The live text of a batch goes before its documents, which alone name it: whatever fails or dies, it is found again.
"""

from typing import Final

from app.chat.live.stream_mirror import stream_path
from app.chat.store import BATCH, ChatStore, conversation_path
from app.kit.errors import ensure
from app.kit.stores.documents import Delete, Documents, text_field
from app.kit.stores.realtime import Realtime
from app.orchestration.queue.handler import Done, Handler, Run
from app.orchestration.queue.operation import Operation, Priority, SecurityLevel
from app.orchestration.queue.operation_queue import Order
from app.orchestration.queue.retry import STEADFAST

NAME: Final = "chat.delete_conversation"


def order(uid: str, conversation_id: str) -> Order:
    """The order to delete this conversation. However often it is given, it makes one operation."""
    return Order(
        NAME,
        payload={"conversation": conversation_id},
        source="api",
        account=uid,
        once=conversation_path(uid, conversation_id),
    )


def handler(documents: Documents, realtime: Realtime, batch: int = BATCH) -> Handler:
    """The handler of the operation; it deletes at most `batch` messages in one commit."""
    store = ChatStore(documents)

    def work(run: Run) -> Done:
        conversation = _path(run.operation)
        while len(messages := _darkened(store.message_paths(conversation, batch), run, realtime)) == batch:
            store.delete(messages)
            run.renew()
        # A message that is written after this query is the turn of an answer that began before the deletion. When it
        # ends it finds no conversation and deletes itself (`paid_turn.record`); if its function dies, the sweep does.
        # What it writes of its live text meanwhile is on a list of the sweep.
        return Done(writes=lambda: [Delete(path) for path in (*messages, conversation)])

    return Handler(NAME, work, level=SecurityLevel.USER, priority=Priority.LOW, retry=STEADFAST)


def _darkened(messages: list[str], run: Run, realtime: Realtime) -> list[str]:
    """The messages, after their live text was removed."""
    uid = str(run.operation.account)
    if messages:
        realtime.update({stream_path(uid, path.rpartition("/")[2]): None for path in messages})
    return messages


def _path(operation: Operation) -> str:
    ensure(operation.account is not None, "a conversation is somebody's")
    return conversation_path(str(operation.account), text_field(operation.payload, "conversation"))
