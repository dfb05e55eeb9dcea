"""One instrument on all dispatchers of the process."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon.instruments import Instrument, everywhere


class Names(Instrument):
    def __init__(self):
        self.names = []

    def dispatch_started(self, record):
        self.names.append(record.name)


def test_it_sees_the_old_and_the_new_ones_until_the_end():
    old, seen = EventDispatcher(), Names()

    with everywhere(seen):
        new = EventDispatcher()
        old.dispatch("old")
        new.dispatch("new")
    for each in (old, new, EventDispatcher()):
        each.dispatch("after")

    assert seen.names == ["old", "new"]


async def test_a_scope_is_seen_once():
    dispatcher, seen = AsyncEventDispatcher(), Names()

    with dispatcher.scope() as older, everywhere(seen), dispatcher.scope() as scoped:
        await older.adispatch("older")
        await scoped.adispatch("scoped")

    assert seen.names == ["older", "scoped"]


def test_a_dispatcher_that_has_it_already_shows_each_dispatch_once_and_keeps_it():
    dispatcher, seen = EventDispatcher(), Names()
    dispatcher.add_instrument(seen)

    with everywhere(seen):
        dispatcher.dispatch("one")
    dispatcher.dispatch("two")

    assert seen.names == ["one", "two"]


def test_a_dispatcher_in_the_making_is_seen_when_it_is_made():
    half, never, seen = (*(EventDispatcher.__new__(EventDispatcher) for _ in range(2)), Names())

    with everywhere(seen):
        half.__init__()
        half.dispatch("one")
    half.dispatch("two")

    assert seen.names == ["one"]
    assert never


def test_an_error_in_the_block_ends_it():
    seen = Names()

    with pytest.raises(ValueError), everywhere(seen):
        raise ValueError
    EventDispatcher().dispatch("after")

    assert seen.names == []


def test_refuses_to_be_everywhere_twice():
    seen = Names()

    with everywhere(seen), pytest.raises(ValueError, match="is on all dispatchers already"), everywhere(seen):
        raise AssertionError
    with everywhere(seen):
        EventDispatcher().dispatch("again")

    assert seen.names == ["again"]


def test_refuses_what_is_no_instrument():
    with pytest.raises(TypeError), everywhere(print):
        raise AssertionError
