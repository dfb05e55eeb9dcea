"""Faults that random scenarios have found, each as the smallest scenario that shows it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Sequential, Strategy
from antiphon.testing import Backend, BackendName
from tests.properties.interpreter import interpret
from tests.properties.rendering import all_invariants
from tests.properties.scenarios import Add, CloseScope, Dispatch, Fail, How, OpenScope, Scenario, Stop, Together

backends = pytest.mark.parametrize("name", ["asyncio", "trio"])


@backends
def test_a_nested_stop_does_not_win_the_outer_race(name: BackendName) -> None:
    """A stop ends the running dispatch: here the inner one, in which no listener races."""
    scenario = Scenario(
        behaviors=((Dispatch("order.paid", How(), again=True),), (Stop(),), ()),
        script=(Add(0), Add(1, "order.paid"), Add(2, priority=1), Dispatch(how=How("race"))),
    )

    outer, inner = interpret(scenario, Backend(name)).dispatches

    assert [len(outer.calls), len(inner.calls)] == [2, 1]


def test_a_scope_within_an_ended_scope_refuses_listeners() -> None:
    """A scope ends with the scope that created it."""
    scenario = Scenario(
        behaviors=((), (), ()),
        script=(OpenScope(), OpenScope(parent=2), Add(0, on=3), CloseScope(), Add(1, on=3), Dispatch(on=3)),
        sync=True,
    )

    history = interpret(scenario, Backend("asyncio"))

    all_invariants(history)
    assert [(each.on, each.removed is not None) for each in history.registrations] == [(3, True)]


@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(errors="collect")], ids=repr)
@backends
def test_collected_errors_do_not_hide_a_cancellation(name: BackendName, strategy: Strategy) -> None:
    """``except Exception`` catches a group of errors alone, and the code goes on as if no scope had been cancelled."""
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


@backends
def test_a_cancellation_ends_at_the_scope_that_requested_it(name: BackendName) -> None:
    """On asyncio a cancelled scope makes native requests too; a cancellation made up for these would pass the scope."""
    together = How("concurrent", limit=2)
    scenario = Scenario(
        behaviors=(
            (Together((Dispatch(again=True),)), Dispatch(how=together, again=True, caught=True)),
            (Together((Fail(), Dispatch(again=True))),),
        ),
        script=(
            Add(behavior=0, priority=1),
            Add(behavior=1),
            Add(behavior=1, once=True),
            Add(behavior=0, priority=1, once=True),
            Together((Dispatch(), Dispatch(again=True), Dispatch(again=True))),
        ),
        default=together,
    )
    interpret(scenario, Backend(name, 84))
