"""Removes what an import left behind that died and was never sent again, as an operation of an hour later.

The record goes first: each commit of an import needs it as it was, so nothing is written behind it.
"""

from typing import Final

from app.chat.importing.origin import import_path
from app.chat.store import BATCH, ChatStore, conversation_path
from app.kit.clock import minutes
from app.kit.errors import ensure
from app.kit.stores.documents import Delete, Documents, text_field
from app.orchestration.queue.handler import Done, Handler, Run
from app.orchestration.queue.operation import Priority, SecurityLevel
from app.orchestration.queue.operation_queue import Order
from app.orchestration.queue.retry import STEADFAST

NAME: Final = "chat.remove_unfinished_import"
WRITING: Final = "writing"
DONE: Final = "done"
"""States of an import's record."""
KEPT_US: Final = minutes(60)


def order(uid: str, record: str, conversation_id: str, due_us: int) -> Order:
    """The order to look at this import again at `due_us`."""
    return Order(
        NAME,
        payload={"record": record, "conversation": conversation_id},
        source="api",
        account=uid,
        once=conversation_path(uid, conversation_id),
        due_us=due_us,
    )


def handler(documents: Documents, batch: int = BATCH) -> Handler:
    """The handler of the operation; it deletes at most `batch` turns in one commit."""
    store = ChatStore(documents)

    def work(run: Run) -> Done:
        ensure(run.operation.account is not None, "an import is somebody's")
        uid, payload = str(run.operation.account), run.operation.payload
        id = text_field(payload, "conversation")
        path = import_path(uid, text_field(payload, "record"))
        record = documents.get(path)
        ours = record is not None and text_field(record.fields, "conversation") == id
        if record is not None and ours and text_field(record.fields, "state") == DONE:
            return Done()
        if record is not None and ours:
            documents.commit([Delete(path, record.version)])
        # Without our record nothing more is written. A conversation that was finished and deleted is removed by that.
        if store.stands(uid, id):
            return Done()
        while messages := store.message_paths(conversation_path(uid, id), batch):
            store.delete(messages)
            run.renew()
        return Done()

    return Handler(NAME, work, level=SecurityLevel.USER, priority=Priority.LOW, retry=STEADFAST)
