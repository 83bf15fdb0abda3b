"""What must be true of deleted conversations when all is quiet: nothing of them is left but their charges."""

from collections.abc import Iterator, Sequence

from app.chat.conversation import OPEN
from app.kit.documents import Document
from simulation.workload import Known


def gone(known: Known, chat: Sequence[Document]) -> set[str]:
    """Conversations that somebody wanted gone and that nobody can see any more. `chat`: all that users have."""
    return set(known.deletions) - {one.path for one in chat if one.fields["state"] == OPEN}


def remains(known: Known, chat: Sequence[Document]) -> Iterator[str]:
    """Whoever wanted a conversation gone finds it whole, if that was not accepted, or nothing of it."""
    unseen = gone(known, chat)
    for path, accepted in known.deletions.items():
        left = [one.path for one in chat if one.path.startswith(path)]
        if left and (accepted or path in unseen):
            yield f"conversation {path} was deleted, and left are {left}"
