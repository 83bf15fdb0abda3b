"""Where an imported conversation came from, as its document holds it. Pure."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """`record` names the document that knows of the import. `id` and `model` are what the file called the conversation
    and its model; `id` is None where the file is no export of ours, `model` where this deployment offers it.
    """

    record: str
    id: str | None = None
    model: str | None = None


def import_path(uid: str, record: str) -> str:
    """The document that knows which conversation a file's conversation became."""
    return f"users/{uid}/imports/{record}"


def write(origin: Origin) -> str:
    """The text in the conversation's document."""
    return json.dumps([origin.record, origin.id, origin.model])


def read(text: str | None) -> Origin | None:
    """What `write` wrote; None for a conversation that was not imported, or where something else stands."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    match found:
        case [str() as record, str() | None as id, str() | None as model]:
            return Origin(record, id, model)
    return None
