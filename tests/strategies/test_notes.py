"""Rule 19: an error that leaves carries a note that says in which listener of which dispatch it was raised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Sequential
from tests.cancellation.listeners import Make, every_strategy, failing
from tests.cancellation.tasks import leaves, left_by


class OrderPlaced(Event): ...


def notes(exc: BaseException) -> list[str]:
    return getattr(exc, "__notes__", [])


async def dispatch(*listeners: Any, strategy: Any = None, dispatcher: Any = None, name: Any = "order.placed") -> Any:
    """Dispatch to the listeners. Returns what leaves."""
    dispatcher = AsyncEventDispatcher() if dispatcher is None else dispatcher
    for listener in listeners:
        dispatcher.add_listener(name, listener)
    return await left_by(lambda: dispatcher.adispatch(name, OrderPlaced(), strategy=strategy))


@every_strategy
@pytest.mark.parametrize("policy", ["raise", "collect"])
@pytest.mark.parametrize("label", ["orders", None], ids=["named", "unnamed"])
async def test_a_note_names_listener_event_and_dispatcher(make: Make, policy: Any, label: str | None) -> None:
    dispatcher, error = AsyncEventDispatcher(name=label), ValueError()
    await dispatch(failing(error), strategy=make(errors=policy), dispatcher=dispatcher)
    (note,) = notes(error)
    for part in ("failing.<locals>.fail", failing.__module__, "'order.placed'", "OrderPlaced", repr(dispatcher)):
        assert part in note


async def test_an_event_without_a_name_is_shown_by_its_class() -> None:
    error = ValueError()
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(OrderPlaced, failing(error))
    await left_by(lambda: dispatcher.adispatch(OrderPlaced()))
    assert "OrderPlaced" in notes(error)[0]
    assert "None" not in notes(error)[0]


def test_a_sync_dispatch_adds_one_note() -> None:
    def fail(event: OrderPlaced) -> None:
        raise error

    dispatcher, error = EventDispatcher(), ValueError()
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(ValueError):
        dispatcher.dispatch("order.placed", OrderPlaced())
    (note,) = notes(error)
    assert "OrderPlaced" in note


@every_strategy
async def test_of_a_group_the_leaves_carry_the_note(make: Make) -> None:
    deep, shallow = ValueError(), LookupError()
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [deep]), shallow])
    left = await dispatch(failing(group), strategy=make())
    assert [len(notes(leaf)) for leaf in leaves(left)] == [1, 1]
    assert notes(group) == notes(group.exceptions[0]) == []


@every_strategy
async def test_one_error_of_two_listeners_has_one_note(make: Make) -> None:
    error = ValueError()

    async def charge(event: Event) -> None:
        raise error

    await dispatch(failing(error), charge, strategy=make(errors="collect"))
    assert len(notes(error)) == 1


async def test_one_error_of_several_dispatches_has_one_note() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    left = await dispatch(failing(error), dispatcher=dispatcher)
    for _ in range(2):
        await dispatch(dispatcher=dispatcher)
    assert left is error
    assert len(notes(error)) == 1


async def test_each_dispatch_on_the_way_out_adds_its_note() -> None:
    inner, outer, error = AsyncEventDispatcher(name="inner"), AsyncEventDispatcher(name="outer"), ValueError()
    inner.add_listener("deep", failing(error))

    async def nest(event: Event) -> None:
        await inner.adispatch("deep")

    await dispatch(nest, dispatcher=outer)
    assert ["inner" in note and "outer" not in note for note in notes(error)] == [True, False]
    assert "outer" in notes(error)[1]


async def test_at_most_eight_notes_are_added_to_one_error() -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError()
    error.add_note("the user's own")

    def nesting(depth: int) -> Any:
        async def listener(event: Event) -> None:
            await dispatcher.adispatch(f"depth {depth - 1}")

        return listener

    dispatcher.add_listener("depth 0", failing(error))
    for depth in range(1, 20):
        dispatcher.add_listener(f"depth {depth}", nesting(depth))
    await left_by(lambda: dispatcher.adispatch("depth 19"))
    assert notes(error)[0] == "the user's own"
    assert len(notes(error)) == 9
    assert "depth 0" in notes(error)[1], "the innermost notes say where the error was raised"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit()], ids=repr)
async def test_an_interrupt_gets_no_note(interrupt: Any) -> None:
    assert await dispatch(failing(interrupt)) is interrupt
    assert notes(interrupt) == []


async def test_notes_of_the_user_do_not_count() -> None:
    error = ValueError()
    for number in range(20):
        error.add_note(f"note {number}")
    await dispatch(failing(error))
    assert len(notes(error)) == 21


async def test_an_error_that_a_policy_ignores_gets_no_note() -> None:
    error = ValueError()
    assert await dispatch(failing(error), strategy=Sequential(errors=lambda *call: None)) is None
    assert notes(error) == []


@every_strategy
async def test_what_a_policy_raises_gets_a_note_that_names_the_policy(make: Make) -> None:
    error, original = LookupError(), ValueError()

    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise error

    await dispatch(failing(original), strategy=make(errors=refuse))
    (note,) = notes(error)
    assert "refuse" in note
    assert len(notes(original)) == 1


async def test_a_note_names_what_a_partial_calls_and_not_its_arguments() -> None:
    error = ValueError()

    async def fail(password: str, event: Event) -> None:
        raise error

    await dispatch(partial(fail, "secret"))
    (note,) = notes(error)
    assert f"{__name__}.{fail.__qualname__}," in note
    assert "secret" not in note


# Errors, listeners and names that raise


@dataclass(frozen=True)
class Frozen(Exception):
    number: int


class RefusesNotes(Exception):
    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes here")


class HidesNotes(Exception):
    @property
    def __notes__(self) -> Any:
        raise RuntimeError("no notes here")


class OddNotes(Exception):
    __notes__ = None


class OddMembers(Exception):
    def __init__(self) -> None:
        self.__notes__ = [1, None, object()]


@every_strategy
@pytest.mark.parametrize(
    "error", [Frozen(1), RefusesNotes(), HidesNotes(), OddNotes(), OddMembers()], ids=lambda error: type(error).__name__
)
async def test_an_error_that_takes_no_notes_still_leaves(make: Make, error: Exception) -> None:
    assert leaves(await dispatch(failing(error), strategy=make(errors="collect"))) == [error]


class WithoutRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr here")


class ListenerWithoutRepr(WithoutRepr):
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self, event: Any) -> None:
        raise self.error


class ListenerWithoutName(ListenerWithoutRepr):
    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":
            raise RuntimeError("no attributes here")
        raise AttributeError(name)


class DispatcherWithoutRepr(WithoutRepr, AsyncEventDispatcher): ...


@every_strategy
@pytest.mark.parametrize(
    ("listener", "dispatcher", "name"),
    [
        (ListenerWithoutRepr, AsyncEventDispatcher, "order.placed"),
        (ListenerWithoutName, AsyncEventDispatcher, "order.placed"),
        (failing, DispatcherWithoutRepr, WithoutRepr()),
    ],
    ids=["listener without repr", "listener without name", "dispatcher and name"],
)
async def test_what_cannot_be_shown_does_not_hide_an_error(
    make: Make, listener: Any, dispatcher: Any, name: Any
) -> None:
    error = ValueError("the real one")
    left = await dispatch(listener(error), strategy=make(), dispatcher=dispatcher(), name=name)
    assert leaves(left) == [error]
    assert len(notes(error)) == 1
