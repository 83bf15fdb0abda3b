"""Reads a document field by field, so that a value which somebody spoilt does not take the others with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from app.kit.clock import is_stored_time
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Fields, text_field

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FieldReader:
    """`unread` are the names of the fields that could not be read, in the order in which they were asked for."""

    fields: Fields
    unread: dict[str, None] = field(default_factory=dict)

    def take(self, name: str, read: Callable[[Fields, str], T], otherwise: T) -> T:
        """What `read` makes of the field; `otherwise` where it raises InvariantViolation or ValueError."""
        try:
            return read(self.fields, name)
        except (InvariantViolation, ValueError):
            self.unread[name] = None
            return otherwise


def flag_field(fields: Fields, name: str) -> bool:
    """The truth value in `name`; False where it is missing."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise InvariantViolation(f"field {name} should hold a truth value, holds {type(value).__name__}")
    return value


def time_field(fields: Fields, name: str) -> str:
    """The time in `name`, in the one spelling in which documents hold it."""
    text = text_field(fields, name)
    if not is_stored_time(text):
        raise InvariantViolation(f"field {name} should hold a time as documents spell it")
    return text


def unread_reason(unread: Iterable[str]) -> str:
    """Why a document that was read in part is listed as broken."""
    return f"fields that cannot be read: {', '.join(sorted(unread))}"
