"""``everywhere()``: one instrument on all dispatchers of the process."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon.instruments import Instrument, everywhere


class Names(Instrument):
    def __init__(self):
        self.names = []

    def dispatch_started(self, record):
        self.names.append(record.name)


@pytest.fixture
def seen():
    return Names()


def test_sees_old_and_new_dispatchers_in_its_block(seen):
    old = EventDispatcher()

    with everywhere(seen):
        new = EventDispatcher()
        old.dispatch("old")
        new.dispatch("new")
    for each in (old, new, EventDispatcher()):
        each.dispatch("after")

    assert seen.names == ["old", "new"]


async def test_sees_a_scope_once(seen):
    dispatcher = AsyncEventDispatcher()

    with dispatcher.scope() as older, everywhere(seen), dispatcher.scope() as scoped:
        await older.adispatch("older")
        await scoped.adispatch("scoped")

    assert seen.names == ["older", "scoped"]


def test_dispatcher_keeps_an_instrument_that_it_had(seen):
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(seen)

    with everywhere(seen):
        dispatcher.dispatch("one")
    dispatcher.dispatch("two")

    assert seen.names == ["one", "two"]


def test_sees_a_dispatcher_once_it_is_initialized(seen):
    half, never = (EventDispatcher.__new__(EventDispatcher) for _ in range(2))

    with everywhere(seen):
        half.__init__()
        half.dispatch("one")
    half.dispatch("two")

    assert seen.names == ["one"]
    assert never


def test_error_in_the_block_ends_it(seen):
    with pytest.raises(ValueError), everywhere(seen):
        raise ValueError
    EventDispatcher().dispatch("after")

    assert seen.names == []


def test_same_instrument_twice_is_refused(seen):
    with everywhere(seen), pytest.raises(ValueError, match="is on all dispatchers already"), everywhere(seen):
        raise AssertionError
    with everywhere(seen):
        EventDispatcher().dispatch("again")

    assert seen.names == ["again"]


def test_other_objects_are_refused():
    with pytest.raises(TypeError), everywhere(print):
        raise AssertionError
