"""Rules 17 and 18: what an error does to a dispatch is an argument of its strategy.

The plain cases are in the table of guarantees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_strategy,
    every_unlimited_strategy,
    failing,
    logging,
    of,
)
from tests.cancellation.tasks import forever, leaves, left_by, settle

every_kind = pytest.mark.parametrize("make", [Sequential, Concurrent, Race, EventDispatcher])


async def left_by_dispatch(dispatcher: AsyncEventDispatcher, strategy: Strategy | None) -> Any:
    return await left_by(lambda: dispatcher.adispatch("order.placed", strategy=strategy))


def refusing(error: Exception) -> Callable[[Exception, Any, Any], None]:
    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise error

    return refuse


# "raise"


@pytest.mark.parametrize("strategy", [None, Sequential(), Sequential(errors="raise")], ids=repr)
async def test_in_turn_the_first_error_leaves_as_it_is(strategy: Strategy | None) -> None:
    log, error, cause = list[str](), ValueError("first"), LookupError("cause")
    error.__cause__ = cause
    dispatcher = of(logging(log, "before"), failing(error), failing(ValueError("second")), logging(log, "after"))
    assert await left_by_dispatch(dispatcher, strategy) is error
    assert (error.__cause__, error.args) == (cause, ("first",))
    assert log == ["before"]

    group = ExceptionGroup("a listener's", [ValueError(1), LookupError(2)])
    assert await left_by_dispatch(of(failing(group)), strategy) is group


@every_grouping_strategy
async def test_together_a_group_leaves_also_for_one_error(make: Make) -> None:
    error = ValueError("alone")
    left = await left_by_dispatch(of(failing(error)), make())
    assert type(left) is ExceptionGroup
    assert left.exceptions == (error,)
    assert "order.placed" in str(left)


# "collect"


@every_strategy
async def test_collected_errors_leave_in_the_order_of_the_dispatch(make: Make) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    turns = {name: index for index, name in enumerate("dcba")}

    def late(name: str) -> Any:
        async def fail(event: Event) -> None:
            # Listeners that run together fail in the reverse order.
            for _ in range(3 * turns[name[0]]):
                await checkpoint()
            raise ValueError(name)

        return fail

    for priority in (1, 0):
        for name in "abcd":
            dispatcher.add_listener("order.placed", late(f"{name}{priority}"), priority=priority)
        dispatcher.add_listener("order.placed", logging(log, f"ran {priority}"), priority=priority)
    left = await left_by_dispatch(dispatcher, make(errors="collect"))
    assert type(left) is ExceptionGroup
    assert [str(error) for error in left.exceptions] == ["a0", "b0", "c0", "d0", "a1", "b1", "c1", "d1"]
    assert log == ["ran 0", "ran 1"]


@every_strategy
async def test_collected_groups_stay_whole_and_errors_may_repeat(make: Make) -> None:
    group, error = ExceptionGroup("a listener's", [ValueError(1)]), ValueError("shared")
    left = await left_by_dispatch(of(failing(error), failing(group), failing(error)), make(errors="collect"))
    assert left.exceptions == (error, group, error)


@pytest.mark.parametrize("make", [Sequential, Concurrent], ids=["sequential", "concurrent"])
async def test_a_stop_ends_the_dispatch_and_the_collected_errors_leave(make: Make) -> None:
    async def stop(event: Event) -> None:
        event.stop_propagation()

    log, error = list[str](), ValueError("before")
    dispatcher = of(failing(error), stop, later=logging(log, "after"))
    left = await left_by_dispatch(dispatcher, make(errors="collect"))
    assert (left.exceptions, log) == ((error,), [])


# A callable


@every_strategy
async def test_a_callable_gets_exception_event_and_listener(make: Make) -> None:
    log, given, event = list[str](), list[Any](), Event()
    first, second = failing(error_1 := ValueError(1)), failing(error_2 := ValueError(2))
    dispatcher = of(first, logging(log, "sibling"), later=second)
    dispatcher.add_listener("order.placed", logging(log, "later"), priority=2)
    strategy = make(errors=lambda *call: given.append(call))
    assert await dispatcher.adispatch("order.placed", event, strategy=strategy) is event
    assert given == [(error_1, event, first), (error_2, event, second)]
    assert log == ["sibling", "later"]


async def test_a_callable_gets_the_listener_as_it_was_registered() -> None:
    given: list[Any] = []

    class Service:
        async def listener(self, event: Event) -> None:
            raise ValueError

    def plain(event: Event) -> None:
        raise ValueError

    service, dispatcher = Service(), AsyncEventDispatcher(sync_listeners="inline")
    dispatcher.add_listener("order.placed", service.listener, once=True)
    dispatcher.add_listener("order.placed", plain)
    strategy = Sequential(errors=lambda exc, event, listener: given.append(listener))
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert given == [service.listener, plain]


async def test_a_callable_may_stop_the_event() -> None:
    log: list[str] = []
    dispatcher = of(failing(ValueError()), later=logging(log, "later"))
    for make in (Sequential, Concurrent, Race):
        strategy = make(errors=lambda exc, event, listener: event.stop_propagation())
        await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == []


async def test_in_turn_what_a_callable_raises_leaves_as_it_is() -> None:
    log, refusal, original = list[str](), LookupError("refused"), ValueError("first")
    dispatcher = of(failing(original), logging(log, "later"))
    assert await left_by_dispatch(dispatcher, Sequential(errors=refusing(refusal))) is refusal
    assert refusal.__context__ is original
    assert log == []

    # Also the error that it was given.
    original = ValueError()
    assert await left_by_dispatch(of(failing(original)), Sequential(errors=refusing(original))) is original
    assert len(original.__notes__) == 1


@every_unlimited_strategy
async def test_together_what_a_callable_raises_cancels_the_siblings(make: Make) -> None:
    log, refusal = list[str](), LookupError("refused")

    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            log.append("cancelled")

    async def fail(event: Event) -> None:
        await settle()
        raise ValueError

    dispatcher = of(sibling, fail, later=logging(log, "later"))
    left = await left_by_dispatch(dispatcher, make(errors=refusing(refusal)))
    assert left.exceptions == (refusal,)
    assert log == ["cancelled"]


@every_strategy
async def test_ignored_errors_do_not_leave_with_what_a_callable_raises(make: Make) -> None:
    def ignore_value_errors(exc: Exception, event: Any, listener: Any) -> None:
        if not isinstance(exc, ValueError):
            raise exc

    refused = LookupError("refused")
    dispatcher = of(failing(ValueError("ignored")), later=failing(refused))
    assert leaves(await left_by_dispatch(dispatcher, make(errors=ignore_value_errors))) == [refused]


# The argument


@every_kind
@pytest.mark.parametrize("errors", ["ignore", "RAISE", "", None, 1, True, ["raise"]], ids=repr)
def test_other_policies_are_refused(make: Callable[..., Any], errors: Any) -> None:
    with pytest.raises(ValueError if isinstance(errors, str) else TypeError, match="errors="):
        make(errors=errors)


@every_kind
def test_an_async_policy_is_refused(make: Callable[..., Any]) -> None:
    async def policy(exc: Exception, event: Any, listener: Any) -> None: ...

    class Policy:
        async def __call__(self, exc: Exception, event: Any, listener: Any) -> None: ...

    for errors in (policy, Policy()):
        with pytest.raises(TypeError, match="async"):
            make(errors=errors)


async def test_a_policy_that_returns_something_to_await_is_refused() -> None:
    async def log(*arguments: object) -> None:
        raise AssertionError("never awaited")

    left = await left_by_dispatch(of(failing(ValueError())), Sequential(errors=lambda *arguments: log(*arguments)))
    assert isinstance(left, TypeError)
    assert "a dispatch does not await it" in str(left)


async def test_the_strategy_of_a_dispatch_has_its_own_policy() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="collect"))
    dispatcher.add_listener("order.placed", failing(ValueError()))
    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.placed")
    with pytest.raises(ValueError):
        await dispatcher.adispatch("order.placed", strategy=Sequential())
