"""What must be true of deleted conversations once nothing moves any more: only their charges are left."""

from collections.abc import Iterator, Sequence

from app.chat.conversation import OPEN
from app.kit.documents import Document
from simulation.workload import Told


def gone(told: Told, chat: Sequence[Document]) -> set[str]:
    """Conversations whose deletion was requested and which no user sees any more. `chat`: all documents of chat."""
    return set(told.deletions) - {one.path for one in chat if one.fields["state"] == OPEN}


def remains(told: Told, chat: Sequence[Document]) -> Iterator[str]:
    """Yields the conversations of which a deletion that took effect has left documents behind."""
    unseen = gone(told, chat)
    for path, accepted in told.deletions.items():
        left = [one.path for one in chat if one.path.startswith(path)]
        if left and (accepted or path in unseen):
            yield f"conversation {path} was deleted, and left are {left}"
