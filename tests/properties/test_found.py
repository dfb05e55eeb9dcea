"""Bugs that random programs have found, each as the smallest program that shows it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, Strategy
from antiphon.testing import Backend, BackendName
from tests.properties.interpreter import perform
from tests.properties.scenarios import Add, Dispatch, Fail, How, Program, Together


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_stop_in_a_nested_dispatch_of_the_same_event_does_not_win_the_race_around_it(name: BackendName) -> None:
    """A stop speaks to the running dispatch: here the inner one, which nobody races in."""
    dispatcher = AsyncEventDispatcher()
    called: list[str] = []

    @dispatcher.listen("outer")
    async def redispatches(event: Any) -> None:
        await dispatcher.adispatch("inner", event, strategy=Sequential())

    @dispatcher.listen("inner")
    async def stops(event: Any) -> None:
        event.stop_propagation()

    @dispatcher.listen("outer", priority=1)
    async def comes_later(event: Any) -> None:
        called.append("comes later")

    Backend(name).run(lambda: dispatcher.adispatch("outer", Event(), strategy=Race()))

    assert called == ["comes later"]


@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(errors="collect")], ids=repr)
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_errors_in_hand_do_not_leave_alone_when_a_later_listener_cancelled_the_scope_around(
    name: BackendName, strategy: Strategy
) -> None:
    """A group of errors alone is caught by ``except Exception``, and the code goes on as if nobody had cancelled it."""
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    scopes: list[anyio.CancelScope] = []
    left: list[BaseException] = []

    @dispatcher.listen("order.placed")
    async def fails(event: Any) -> None:
        raise ValueError

    @dispatcher.listen("order.placed", priority=1)
    async def cancels(event: Any) -> None:
        scopes[0].cancel()

    async def main() -> None:
        with pytest.raises(ExceptionGroup), anyio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await dispatcher.adispatch("order.placed")
            except BaseException as exc:
                left.append(exc)
                raise

    Backend(name).run(main)

    assert not isinstance(left[0], Exception)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_cancellation_is_that_of_the_scope_which_asked_for_it_and_ends_there(name: BackendName) -> None:
    """On asyncio a cancelled scope makes native requests too; a cancellation made up for these would pass the scope."""
    together = How("concurrent", limit=2)
    program = Program(
        voices=(
            (Together((Dispatch(again=True),)), Dispatch(how=together, again=True, caught=True)),
            (Together((Fail(), Dispatch(again=True))),),
        ),
        script=(
            Add(voice=0, priority=1),
            Add(voice=1),
            Add(voice=1, once=True),
            Add(voice=0, priority=1, once=True),
            Together((Dispatch(), Dispatch(again=True), Dispatch(again=True))),
        ),
        default=together,
    )
    perform(program, Backend(name, 84))
