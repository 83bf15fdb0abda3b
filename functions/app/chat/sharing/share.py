"""A share as a frozen value and as its document. Pure.

The token names the document, and stands in its conversation as well, so that its owner is shown it again. It is not
hashed: whoever can read these documents can read the conversation itself.
"""

from dataclasses import dataclass

from app.kit.stores.documents import Fields, Value, text_field


@dataclass(frozen=True, slots=True)
class Share:
    """`leaf` is the last turn that is shown. Times are RFC 3339 text."""

    token: str
    account: str
    conversation_id: str
    leaf: str
    shared_at: str
    title: str = ""


def share_path(token: str) -> str:
    """Where a share is stored."""
    return f"shares/{token}"


def write(share: Share) -> dict[str, Value]:
    """The document of a share."""
    return {
        "account": share.account,
        "conversation_id": share.conversation_id,
        "leaf": share.leaf,
        "shared_at": share.shared_at,
        "title": share.title,
    }


def read(token: str, fields: Fields) -> Share:
    """The share in a document."""
    names = ("account", "conversation_id", "leaf", "shared_at")
    account, conversation_id, leaf, shared_at = (text_field(fields, name) for name in names)
    title = fields.get("title")
    return Share(token, account, conversation_id, leaf, shared_at, title if isinstance(title, str) else "")
