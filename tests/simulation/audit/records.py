"""What stands in the store at the end, as the auditors read it."""

from app.credits.core import entry as ledger
from app.credits.core.account import Account
from app.credits.core.entry import Entry
from app.credits.ledger import document
from app.kit.stores.documents import Document
from support.memory import MemoryDocuments

JUNK = "junk-"
"""In the paths of documents that an operator has broken by hand."""


class Records:
    """Reads the store past every fault."""

    def __init__(self, documents: MemoryDocuments) -> None:
        self._documents = documents
        self._read: dict[str, list[Entry]] = {}

    def documents(self, prefix: str) -> list[Document]:
        """Those below a path that ends in a slash, without broken ones."""
        stored = self._documents.all()
        return [one for path, one in stored.items() if path.startswith(prefix) and JUNK not in path]

    def one(self, path: str) -> Document | None:
        """One of them."""
        return self._documents.get(path)

    def uids(self) -> list[str]:
        """Of every account."""
        return [one.id for one in self.documents("accounts/") if one.path.count("/") == 1]

    def account(self, uid: str) -> Account:
        """One account, which exists."""
        stored = self._documents.get(f"accounts/{uid}")
        assert stored is not None
        return document.read(stored.fields)

    def entries(self, uid: str) -> list[Entry]:
        """The ledger of an account, oldest first."""
        if uid not in self._read:
            found = [ledger.read(one.fields) for one in self.documents(f"accounts/{uid}/entries/")]
            self._read[uid] = sorted(found, key=lambda entry: entry.sequence)
        return self._read[uid]
