"""What must be true of deleted conversations once nothing moves any more: only their charges are left."""

from collections.abc import Iterator, Sequence

from app.chat.conversation import OPEN
from app.kit.stores.documents import Document
from simulation.workload import Known


def gone(known: Known, chat: Sequence[Document]) -> set[str]:
    """Conversations whose deletion was requested and which no user sees any more. `chat`: all documents of chat."""
    return set(known.deletions) - {one.path for one in chat if one.fields["state"] == OPEN}


def remains(known: Known, chat: Sequence[Document]) -> Iterator[str]:
    """Whoever wanted a conversation gone finds it whole, if that was not accepted, or nothing of it."""
    unseen = gone(known, chat)
    for path, accepted in known.deletions.items():
        left = [one.path for one in chat if one.path.startswith(path)]
        if left and (accepted or path in unseen):
            yield f"conversation {path} was deleted, and left are {left}"
