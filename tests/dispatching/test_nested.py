"""A listener that dispatches the event that it was given (rule 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy
from antiphon._dispatchers.loops import change_running
from tests.dispatching.conftest import dispatching, fail, stop
from tests.event_kinds import UNUSUAL_LOOKUPS, kinds
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


@pytest.fixture(params=[0, 1], ids=["alone", "beside another dispatch"], autouse=True)
def other_dispatches(request: pytest.FixtureRequest) -> Iterator[None]:
    """With and without another dispatch that waits: with it, each dispatch looks whether its event is in flight."""
    change_running(request.param)
    yield
    change_running(-request.param)


def view(event: Any) -> tuple[Any, ...]:
    return event.name, event.dispatcher, event.propagation_stopped


@pytest.mark.parametrize("inner_name", ["inner", "outer"])
@pytest.mark.parametrize("inner_listeners", [[], [stop], [fail]], ids=["none", "stops", "fails"])
async def test_the_inner_dispatch_runs_at_once_and_the_outer_view_returns(
    sequential: AnyDispatcher, event: Any, inner_name: str, inner_listeners: Any
) -> None:
    inner: AnyDispatcher = type(sequential)()
    views: list[Any] = []

    def look(event: Any) -> None:
        views.append(view(event))

    inner.add_listener(inner_name, make_listener(inner, look))
    for function in inner_listeners:
        inner.add_listener(inner_name, make_listener(inner, function))

    def dispatch_plainly(event: Any) -> None:
        try:
            inner.dispatch(inner_name, event)
        except LookupError:
            pass

    async def dispatch(event: Any) -> None:
        try:
            await inner.adispatch(inner_name, event)
        except LookupError:
            pass

    sequential.add_listener("outer", make_listener(sequential, look))
    sequential.add_listener("outer", dispatch_plainly if isinstance(sequential, EventDispatcher) else dispatch)
    sequential.add_listener("outer", make_listener(sequential, look))

    await sequential.adispatch("outer", event)

    outer = ("outer", sequential, False)
    assert views == [outer, (inner_name, inner, False), outer]
    assert view(event) == outer


@pytest.mark.parametrize("inner_listens", [True, False])
async def test_the_outer_stop_does_not_stop_the_inner_dispatch(
    sequential: AnyDispatcher, event: Any, inner_listens: bool
) -> None:
    log: list[str] = []

    def stop_and_dispatch(event: Any) -> Any:
        event.stop_propagation()
        return sequential, "inner", event

    sequential.add_listener("outer", dispatching(sequential, stop_and_dispatch))
    sequential.add_listener("outer", make_recording_listener(sequential, log, "outer"))
    if inner_listens:
        sequential.add_listener("inner", make_recording_listener(sequential, log, "first"))
        sequential.add_listener("inner", make_recording_listener(sequential, log, "second"))

    await sequential.adispatch("outer", event)

    assert log == (["first", "second"] if inner_listens else [])
    assert view(event) == ("outer", sequential, True)


class Copying:
    def __copy__(self) -> Any:
        return type(self)()


class WithItsOwnCopy(Copying, Event): ...


@kinds([*UNUSUAL_LOOKUPS, WithItsOwnCopy])
async def test_the_outer_view_of_an_unusual_class_returns(sequential: AnyDispatcher, kind: Any) -> None:
    event, views = kind(), list[Any]()
    sequential.add_listener("outer", dispatching(sequential, lambda event: (sequential, "inner", event)))
    sequential.add_listener("outer", make_listener(sequential, lambda event: views.append(view(event))))
    sequential.add_listener("inner", make_listener(sequential, stop))

    for _ in range(2):
        await sequential.adispatch("outer", event)

    assert views == [("outer", sequential, False)] * 2
    assert view(event) == ("outer", sequential, False)


async def test_a_nested_dispatch_may_be_the_last_step(sequential: AnyDispatcher, event: Any) -> None:
    sequential.add_listener("outer", dispatching(sequential, lambda event: (sequential, "inner", event)))

    await sequential.adispatch("outer", event)

    assert (event.name, event.dispatcher) == ("outer", sequential)


async def test_nested_dispatches_go_as_deep_as_the_listeners(sequential: AnyDispatcher, event: Any) -> None:
    names: list[Any] = []

    def descend(event: Any) -> Any:
        names.append(event.name)
        return (sequential, event.name + 1, event) if event.name < 5 else None

    for name in range(6):
        sequential.add_listener(name, dispatching(sequential, descend))
        sequential.add_listener(name, make_listener(sequential, lambda event: names.append(event.name)))

    await sequential.adispatch(0, event)

    assert names == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]


async def test_an_event_is_dispatched_under_its_own_name(sequential: AnyDispatcher) -> None:
    log: list[int] = []

    def count_down(event: Any) -> Any:
        log.append(len(log))
        return (sequential, "order.placed", event) if len(log) < 3 else None

    sequential.add_listener("order.placed", dispatching(sequential, count_down))
    sequential.add_listener("order.placed", make_recording_listener(sequential, log, "next"))

    await sequential.adispatch("order.placed", Event())

    assert log == [0, 1, 2, "next", "next", "next"]


async def test_a_sync_dispatcher_may_dispatch_the_event_of_an_async_one(event: Any) -> None:
    inner, outer, views = EventDispatcher(), AsyncEventDispatcher(), []
    inner.add_listener("inner", lambda event: views.append(view(event)))

    @outer.listen("outer")
    async def pass_on(event: Any) -> None:
        inner.dispatch("inner", event)
        views.append(view(event))

    await outer.adispatch("outer", event)

    assert views == [("inner", inner, False), ("outer", outer, False)]


async def test_another_event_does_not_change_the_outer_one(dispatcher: AnyDispatcher, event: Any) -> None:
    dispatcher.add_listener("outer", dispatching(dispatcher, lambda event: (dispatcher, "inner", Event())))
    dispatcher.add_listener("inner", make_listener(dispatcher, stop))

    await dispatcher.adispatch("outer", event)

    assert (event.name, event.propagation_stopped) == ("outer", False)


@pytest.mark.parametrize(
    ("outer_strategy", "inner_strategy"),
    [
        (None, None),
        (Sequential(errors="collect"), Sequential(errors="collect")),
        (Sequential(errors=print), Sequential(errors=print)),
        (None, Concurrent()),
        (None, Race()),
    ],
    ids=repr,
)
@pytest.mark.parametrize("ends", ["well", "with an error", "cancelled"])
async def test_the_outer_view_returns_however_the_inner_dispatch_ends(
    outer_strategy: Strategy | None, inner_strategy: Strategy | None, ends: str
) -> None:
    outer, inner, views = AsyncEventDispatcher(), AsyncEventDispatcher(), list[Any]()

    @outer.listen("outer")
    async def dispatch(event: Event) -> None:
        with anyio.CancelScope() as scope:
            try:
                if ends == "cancelled":
                    scope.cancel()
                await inner.adispatch("inner", event, strategy=inner_strategy)
            except* ValueError:
                pass
        views.append(view(event))

    @inner.listen("inner")
    async def stop_and_end(event: Event) -> None:
        event.stop_propagation()
        if ends == "with an error":
            raise ValueError
        await checkpoint()

    @outer.listen("outer")
    async def later(event: Event) -> None:
        views.append(view(event))

    event = await outer.adispatch("outer", Event(), strategy=outer_strategy)
    assert views == [("outer", outer, False)] * 2
    assert view(event) == ("outer", outer, False)
