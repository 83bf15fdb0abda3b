"""A `once` property is built once, and a refusal while it is built is our own mistake."""

import threading
import time

import pytest

from app.kit.errors import Failure, Invalid, InvariantViolation, Unavailable
from app.kit.once import Locked, once


class House(Locked):
    """Notes who builds what."""

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.built: list[str] = []

    @once
    def roof(self) -> object:
        self.built.append("roof")
        time.sleep(0.02)
        return object()

    @once
    def door(self) -> object:
        self.built.append("door")
        if self.failure is not None:
            raise self.failure
        return self.roof


def test_it_is_built_once_however_many_ask_first() -> None:
    house, found = House(), list[object]()
    threads = [threading.Thread(target=lambda: found.append(house.door)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert house.built == ["door", "roof"]
    assert set(found) == {house.roof}
    assert len(found) == 8


def test_a_refusal_while_it_is_built_is_no_callers_fault() -> None:
    with pytest.raises(InvariantViolation, match="door cannot be built: nonsense"):
        _ = House(Invalid("nonsense")).door


def test_what_fails_is_built_again() -> None:
    house = House(Unavailable("down"))
    with pytest.raises(Unavailable):
        _ = house.door
    house.failure = None
    assert house.door is house.roof
    assert house.built == ["door", "door", "roof"]
