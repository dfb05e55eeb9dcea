"""Rule 19: an error that leaves says in which listener of which dispatch it was raised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Sequential
from tests.cancellation.listeners import Make, every_strategy
from tests.cancellation.tasks import leaves, left_by, no_task_left_behind, tasks_before_and_after

__all__ = ("no_task_left_behind", "tasks_before_and_after")


class OrderPlaced(Event):
    pass


def failing(error: BaseException) -> Callable[[Any], Awaitable[None]]:
    async def fail(event: Event) -> None:
        raise error

    return fail


def notes(exc: BaseException) -> list[str]:
    return getattr(exc, "__notes__", [])


@every_strategy
@pytest.mark.parametrize("policy", ["raise", "collect"])
async def test_a_note_names_listener_event_and_dispatcher(make: Make, policy: Any) -> None:
    dispatcher, error = AsyncEventDispatcher(name="orders"), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    await left_by(lambda: dispatcher.adispatch("order.placed", OrderPlaced(), strategy=make(errors=policy)))
    (note,) = notes(error)
    for named in (
        "failing.<locals>.fail",
        __name__,
        "'order.placed'",
        "OrderPlaced",
        "<AsyncEventDispatcher 'orders'>",
    ):
        assert named in note


@every_strategy
async def test_a_dispatcher_without_a_name_is_named_by_its_repr(make: Make) -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make()))
    assert repr(dispatcher) in notes(error)[0]


async def test_an_event_without_a_name_is_named_by_its_class() -> None:
    sync = EventDispatcher()
    error = ValueError()

    def fail(event: OrderPlaced) -> None:
        raise error

    sync.add_listener("order.placed", fail)
    with pytest.raises(ValueError):
        sync.dispatch("order.placed", OrderPlaced())
    assert "OrderPlaced" in notes(error)[0]
    assert "None" not in notes(error)[0]


async def test_the_plain_dispatch_notes_too() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    with pytest.raises(ValueError) as caught:
        await dispatcher.adispatch("order.placed")
    assert caught.value is error
    assert len(notes(error)) == 1


@every_strategy
async def test_of_a_group_that_a_listener_raises_the_leaves_carry_the_note(make: Make) -> None:
    deep, shallow = ValueError(), LookupError()
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [deep]), shallow])
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(group))
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make()))
    assert [len(notes(leaf)) for leaf in leaves(left)] == [1, 1]
    assert notes(group) == []
    assert notes(group.exceptions[0]) == []


@every_strategy
async def test_an_error_raised_by_two_listeners_of_a_dispatch_has_one_note(make: Make) -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    dispatcher.add_listener("order.placed", failing(error))
    await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    assert len(notes(error)) == 1


async def test_a_cached_error_raised_in_every_dispatch_has_one_note() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    for _ in range(3):
        await left_by(lambda: dispatcher.adispatch("order.placed"))
    assert len(notes(error)) == 1


async def test_each_dispatch_on_the_way_out_adds_its_own_note_once() -> None:
    inner, outer, error = AsyncEventDispatcher(name="inner"), AsyncEventDispatcher(name="outer"), ValueError()
    inner.add_listener("deep", failing(error))

    @outer.listen("order.placed")
    async def dispatch(event: Event) -> None:
        await inner.adispatch("deep")

    await left_by(lambda: outer.adispatch("order.placed"))
    assert ["inner" in note and "outer" not in note for note in notes(error)] == [True, False]
    assert "outer" in notes(error)[1]


async def test_at_most_eight_notes_of_ours_are_on_one_error() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    error.add_note("the user's own")

    def passing_on(depth: int) -> Any:
        async def listener(event: Event) -> None:
            await dispatcher.adispatch(f"depth {depth - 1}")

        return listener

    dispatcher.add_listener("depth 0", failing(error))
    for depth in range(1, 20):
        dispatcher.add_listener(f"depth {depth}", passing_on(depth))
    await left_by(lambda: dispatcher.adispatch("depth 19"))
    assert notes(error)[0] == "the user's own"
    assert len(notes(error)) == 9
    assert "depth 0" in notes(error)[1], "the innermost ones are kept: they say where it was raised"


async def test_users_notes_do_not_count() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    for number in range(20):
        error.add_note(f"note {number}")
    dispatcher.add_listener("order.placed", failing(error))
    await left_by(lambda: dispatcher.adispatch("order.placed"))
    assert len(notes(error)) == 21


async def test_what_a_policy_overlooks_gets_no_note() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", failing(error))
    await dispatcher.adispatch("order.placed", strategy=Sequential(errors=lambda *call: None))
    assert notes(error) == []


@every_strategy
async def test_what_a_policy_raises_gets_the_note(make: Make) -> None:
    dispatcher, error = AsyncEventDispatcher(), LookupError()
    dispatcher.add_listener("order.placed", failing(ValueError()))

    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise error

    await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=refuse)))
    assert len(notes(error)) == 1


# Errors, listeners and events that make it hard


@dataclass(frozen=True)
class Frozen(Exception):
    number: int


class RefusesNotes(Exception):
    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes here")


class HidesNotes(Exception):
    @property
    def __notes__(self) -> Any:  # type: ignore[override]  # that is what makes it odd
        raise RuntimeError("no notes here")


class OddNotes(Exception):
    __notes__ = None  # type: ignore[assignment]  # that is what makes it odd


class OddMembers(Exception):
    def __init__(self) -> None:
        self.__notes__ = [1, None, object()]  # type: ignore[list-item]  # that is what makes it odd


@every_strategy
@pytest.mark.parametrize(
    "error", [Frozen(1), RefusesNotes(), HidesNotes(), OddNotes(), OddMembers()], ids=lambda error: type(error).__name__
)
async def test_an_error_that_takes_no_notes_still_leaves(make: Make, error: Exception) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(error))
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    assert leaves(left) == [error]


class Evil:
    def __repr__(self) -> str:
        raise RuntimeError("no repr here")


class EvilListener(Evil):
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self, event: Any) -> None:
        raise self.error


class EvilAttributes(EvilListener):
    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":
            raise RuntimeError("no attributes here")
        raise AttributeError(name)


class EvilName(Evil):
    pass


@every_strategy
@pytest.mark.parametrize("listener", [EvilListener, EvilAttributes])
async def test_a_listener_that_cannot_be_named_does_not_hide_its_error(make: Make, listener: Any) -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError("the real one")
    dispatcher.add_listener("order.placed", listener(error))
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make()))
    assert leaves(left) == [error]
    assert len(notes(error)) == 1


async def test_a_note_names_what_a_partial_calls_and_not_its_arguments() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()

    async def fail(password: str, event: Event) -> None:
        raise error

    dispatcher.add_listener("order.placed", partial(fail, "secret"))
    await left_by(lambda: dispatcher.adispatch("order.placed"))
    (note,) = notes(error)
    assert f"{__name__}.{fail.__qualname__}," in note
    assert "secret" not in note


@every_strategy
async def test_a_name_or_dispatcher_that_cannot_be_shown_does_not_hide_an_error(make: Make) -> None:
    class EvilDispatcher(AsyncEventDispatcher):
        def __repr__(self) -> str:
            raise RuntimeError("no repr here")

    dispatcher, error, name = EvilDispatcher(), ValueError("the real one"), EvilName()
    dispatcher.add_listener(name, failing(error))
    left = await left_by(lambda: dispatcher.adispatch(name, Event(), strategy=make()))
    assert leaves(left) == [error]
    assert len(notes(error)) == 1
