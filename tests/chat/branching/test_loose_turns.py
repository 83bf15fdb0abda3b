"""Turns that no tree has, because they run or their functions died: each is shown, however many there are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.chat.opening import Ask
from app.chat.store import LOOSE, turn_path
from app.kit.clock import to_rfc3339
from app.kit.stores.documents import Create, Fields, Merge, Value, as_map, list_field
from app.metering.billing import Mode
from chat.branching.test_branches import Talk, aged
from support.vendor import Vendor
from support.world import World

MANY = 2 * LOOSE + 7


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world.client("alice"), world)


def stored(world: World, path: str) -> Fields:
    found = world.documents.get(path)
    assert found is not None
    return found.fields


def left(talk: Talk, parent: str, count: int = MANY) -> list[str]:
    """Puts turns behind `parent` whose functions died, one a second."""
    fields = stored(talk.world, turn_path("alice", talk.id, parent))
    began_us = talk.world.clock.now_us()
    ids = [f"msg_left{number:03d}" for number in range(count)]
    for number, id in enumerate(ids):
        own: dict[str, Value] = {
            "id": id,
            "parent": parent,
            "loose": True,
            "created_at": to_rfc3339(began_us + number * 1_000_000),
        }
        talk.world.documents.commit([Create(turn_path("alice", talk.id, id), {**fields, **own})])
    return ids


def exported(talk: Talk) -> list[dict[str, Any]]:
    found = talk.client.get(f"{talk.path}/export").json
    assert found is not None
    return list(found["turns"])


def test_are_all_exported_and_all_siblings(talk: Talk) -> None:
    first = talk.say("One?")["message_id"]
    ids = left(talk, first)
    assert [turn["id"] for turn in exported(talk)] == [first, *ids]
    assert talk.branch()[0]["siblings"] == ids
    assert [turn["message_id"] for turn in talk.branch(leaf=ids[0])] == [ids[0], first]


@pytest.mark.parametrize("limit", [1, 2, 20])
def test_are_in_the_pages_of_their_branch(talk: Talk, world: World, limit: int) -> None:
    """Also in a conversation of the time before trees that goes on."""
    old = [talk.say(f"{number}?")["message_id"] for number in range(3)]
    aged(world)
    new = talk.say("New?")["message_id"]
    [loose] = left(talk, new, 1)
    expected = ["0?", "1?", "2?", "New?", "New?"]
    assert talk.questions(limit=limit) == expected
    assert talk.questions(leaf=loose, limit=limit) == expected
    assert talk.questions(leaf=old[0], limit=limit) == expected


def test_of_the_time_before_trees_run_where_they_stand(talk: Talk, world: World) -> None:
    old = [talk.say(f"{number}?")["message_id"] for number in range(3)]
    aged(world)
    [loose] = left(talk, old[-1], 1)
    assert [turn["message_id"] for turn in talk.branch()] == [loose, *old[::-1]]
    assert [turn["message_id"] for turn in talk.branch(leaf=loose, limit=2)] == [loose, *old[::-1]]
    assert [turn["id"] for turn in exported(talk)] == [*old, loose]


def test_that_cannot_be_read_are_named(talk: Talk, world: World) -> None:
    first = talk.say("One?")["message_id"]
    ids = left(talk, first, 3)
    world.documents.commit([Merge(turn_path("alice", talk.id, ids[1]), {"parent": 7})])
    world.documents.commit([Merge(turn_path("alice", talk.id, ids[2]), {"question": 7})])
    assert {turn["id"] for turn in exported(talk)} == {first, *ids}
    [unread, asked] = talk.branch(leaf=ids[2])
    assert (unread["message_id"], unread["unreadable"]) == (ids[2], ["question"])
    assert asked["message_id"] == first
    listed = [as_map(row)["path"] for row in list_field(stored(world, "jobs/turns_list"), "broken")]
    assert listed == [turn_path("alice", talk.id, id) for id in (ids[2], ids[1])]


@pytest.mark.parametrize("read", [Talk.questions, lambda talk: [turn["turn"]["content"] for turn in exported(talk)]])
def test_that_end_while_they_are_read_are_not_missed(
    talk: Talk, world: World, monkeypatch: pytest.MonkeyPatch, read: Callable[[Talk], list[str]]
) -> None:
    """The commit that ends a turn takes it from the loose ones into the tree."""
    events = world.system.chat.service.answer(Ask("alice", talk.id, "One?"), Mode.STREAM).events
    next(events)

    def then_it_ends(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            found = real(*given)
            monkeypatch.undo()
            assert [*events]
            return found

        return call

    for name in ("get", "query"):
        monkeypatch.setattr(world.documents, name, then_it_ends(getattr(world.documents, name)))
    assert read(talk) == ["One?"]
