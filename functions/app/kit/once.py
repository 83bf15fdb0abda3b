"""`once`: a property that is built on first use, exactly once, however many threads ask for it first."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, overload

from app.kit.errors import InvariantViolation, Rejection

Built = TypeVar("Built")


class once(Generic[Built]):
    """A lazily built property of a `Locked` object.

    `functools.cached_property` builds twice when two threads come at once. The lock is re-entrant, because building one
    value may build another of the same object.
    """

    def __init__(self, build: Callable[..., Built]) -> None:
        self._build = build
        self._name = build.__name__
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "once[Built]": ...
    @overload
    def __get__(self, instance: "Locked", owner: type) -> Built: ...
    def __get__(self, instance: "Locked | None", owner: type) -> "once[Built] | Built":
        if instance is None:
            return self
        with instance.lock:
            # Stored under the same name: the next look finds the value in the instance and never comes here.
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._built(instance)
        value: Built = instance.__dict__[self._name]
        return value

    def _built(self, instance: "Locked") -> Built:
        try:
            return self._build(instance)
        except Rejection as refusal:
            # No caller asked for this: answering it as a 4xx would hide a broken deployment from its operator.
            raise InvariantViolation(f"{self._name} cannot be built: {refusal.detail}") from refusal


class Locked:
    """Holds the lock of its `once` properties."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
