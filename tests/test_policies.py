"""Rules 17 and 18: what an error does to a dispatch is an argument of its strategy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy
from tests.cancellation.listeners import Make, every_grouping_strategy, every_strategy
from tests.cancellation.tasks import Watch, forever, no_task_left_behind, settle, tasks_before_and_after

__all__ = ("no_task_left_behind", "tasks_before_and_after")

Listener = Callable[[Any], Awaitable[None]]


def failing(error: Exception) -> Listener:
    async def fail(event: Event) -> None:
        raise error

    return fail


def logging(log: list[str], name: str) -> Listener:
    async def listener(event: Event) -> None:
        await lowlevel.checkpoint()
        log.append(name)

    return listener


# "raise"


@pytest.mark.parametrize("strategy", [None, Sequential(), Sequential(errors="raise")], ids=repr)
async def test_raise_sequential_the_first_exception_leaves_as_the_same_object(strategy: Strategy | None) -> None:
    dispatcher, log, error, context = AsyncEventDispatcher(), list[str](), ValueError("first"), LookupError("context")
    error.__cause__ = context
    dispatcher.add_listener("order.placed", logging(log, "before"))
    dispatcher.add_listener("order.placed", failing(error))
    dispatcher.add_listener("order.placed", failing(ValueError("second")))
    dispatcher.add_listener("order.placed", logging(log, "after"))
    with pytest.raises(ValueError) as caught:
        await dispatcher.adispatch("order.placed", strategy=strategy)
    assert caught.value is error
    assert error.__cause__ is context
    assert error.args == ("first",)
    assert log == ["before"]


async def test_raise_sequential_a_group_leaves_as_the_same_group() -> None:
    dispatcher, group = AsyncEventDispatcher(), ExceptionGroup("mine", [ValueError(1), LookupError(2)])
    dispatcher.add_listener("order.placed", failing(group))
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed")
    assert caught.value is group


@every_grouping_strategy
async def test_raise_together_a_group_leaves_even_for_one_error_and_one_listener(make: Make) -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError("alone")
    dispatcher.add_listener("order.placed", failing(error))
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make())
    assert caught.value.exceptions == (error,)
    assert "order.placed" in str(caught.value)


@pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
async def test_raise_together_the_siblings_are_cancelled_and_later_tiers_not_run(make: Make) -> None:
    dispatcher, log, watch = AsyncEventDispatcher(), list[str](), Watch()
    dispatcher.add_listener("order.placed", logging(log, "earlier"), priority=-1)

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            log.append("cancelled")

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError

    dispatcher.add_listener("order.placed", logging(log, "later"), priority=1)
    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.placed", strategy=make())
    assert log == ["earlier", "cancelled"]
    watch.assert_alone()


# "collect"


@every_strategy
async def test_collect_all_run_and_the_errors_leave_in_dispatch_order(make: Make) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    turns = {name: index for index, name in enumerate("dcba")}

    def late(name: str) -> Listener:
        async def fail(event: Event) -> None:
            # Those that run together end in another order than they stand.
            for _ in range(3 * turns[name[0]]):
                await lowlevel.checkpoint()
            raise ValueError(name)

        return fail

    for priority in (1, 0):
        for name in "abcd":
            dispatcher.add_listener("order.placed", late(f"{name}{priority}"), priority=priority)
        dispatcher.add_listener("order.placed", logging(log, f"sound{priority}"), priority=priority)
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    names = [str(error) for error in caught.value.exceptions]
    assert names == ["a0", "b0", "c0", "d0", "a1", "b1", "c1", "d1"]
    assert log == ["sound0", "sound1"]


@every_strategy
async def test_collect_leaves_a_group_even_for_one_error(make: Make) -> None:
    dispatcher, error = AsyncEventDispatcher(), ValueError("alone")
    dispatcher.add_listener("order.placed", failing(error))
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert type(caught.value) is ExceptionGroup
    assert caught.value.exceptions == (error,)


@every_strategy
async def test_collect_a_group_that_a_listener_raised_stays_whole(make: Make) -> None:
    dispatcher, group = AsyncEventDispatcher(), ExceptionGroup("mine", [ValueError(1)])
    dispatcher.add_listener("order.placed", failing(group))
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert caught.value.exceptions == (group,)


@every_strategy
async def test_collect_without_errors_gives_the_event_back(make: Make) -> None:
    dispatcher, event = AsyncEventDispatcher(), Event()
    dispatcher.add_listener("order.placed", logging([], "sound"))
    assert await dispatcher.adispatch("order.placed", event, strategy=make(errors="collect")) is event


@every_strategy
async def test_collect_one_error_object_raised_by_two_listeners_stands_in_both_places(make: Make) -> None:
    dispatcher, error, other = AsyncEventDispatcher(), ValueError("shared"), ValueError("other")
    for raised in (error, other, error):
        dispatcher.add_listener("order.placed", failing(raised), priority=0)
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert caught.value.exceptions == (error, other, error)


@pytest.mark.parametrize("make", [Sequential, Concurrent], ids=["sequential", "concurrent"])
async def test_collect_a_stop_still_stops_and_the_errors_leave(make: Make) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", failing(ValueError("before")))

    @dispatcher.listen("order.placed", priority=1)
    async def stop(event: Event) -> None:
        event.stop_propagation()

    dispatcher.add_listener("order.placed", logging(log, "after"), priority=2)
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert [str(error) for error in caught.value.exceptions] == ["before"]
    assert log == []


# A callable


@every_strategy
async def test_callable_is_given_exception_event_and_listener_and_the_dispatch_goes_on(make: Make) -> None:
    dispatcher, log, seen = AsyncEventDispatcher(), list[str](), list[tuple[Any, ...]]()
    first, second = failing(error_1 := ValueError(1)), failing(error_2 := ValueError(2))
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", logging(log, "sibling"))
    dispatcher.add_listener("order.placed", second, priority=1)
    dispatcher.add_listener("order.placed", logging(log, "later"), priority=2)
    event = Event()
    returned = await dispatcher.adispatch("order.placed", event, strategy=make(errors=lambda *call: seen.append(call)))
    assert returned is event
    assert seen == [(error_1, event, first), (error_2, event, second)]
    assert log == ["sibling", "later"]


async def test_callable_is_given_the_listener_as_it_was_registered() -> None:
    seen: list[Any] = []

    class Service:
        async def listener(self, event: Event) -> None:
            raise ValueError

    service = Service()
    dispatcher = AsyncEventDispatcher(sync_listeners="inline")

    def plain(event: Event) -> None:
        raise ValueError

    dispatcher.add_listener("order.placed", service.listener, once=True)
    dispatcher.add_listener("order.placed", plain)  # type: ignore[arg-type]  # the dispatcher was told to take such
    await dispatcher.adispatch(
        "order.placed", strategy=Sequential(errors=lambda exc, event, listener: seen.append(listener))
    )
    assert seen == [service.listener, plain]


async def test_callable_runs_where_the_listener_ran() -> None:
    # Its stop of the event counts, for instance.
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", failing(ValueError()))
    dispatcher.add_listener("order.placed", logging(log, "later"), priority=1)
    for make in (Sequential, Concurrent, Race):
        await dispatcher.adispatch(
            "order.placed", strategy=make(errors=lambda exc, event, listener: event.stop_propagation())
        )
    assert log == []


def refusing(error: Exception) -> Callable[[Exception, Any, Any], None]:
    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise error

    return refuse


async def test_what_a_callable_raises_in_a_sequential_dispatch_leaves_as_the_same_object() -> None:
    dispatcher, log, refusal, original = (
        AsyncEventDispatcher(),
        list[str](),
        LookupError("refused"),
        ValueError("first"),
    )
    dispatcher.add_listener("order.placed", failing(original))
    dispatcher.add_listener("order.placed", logging(log, "later"))
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed", strategy=Sequential(errors=refusing(refusal)))
    assert caught.value is refusal
    assert refusal.__context__ is original
    assert log == []


async def test_a_callable_may_raise_the_very_error_it_was_given() -> None:
    dispatcher, original = AsyncEventDispatcher(), ValueError("first")
    dispatcher.add_listener("order.placed", failing(original))

    def reraise(exc: Exception, event: Any, listener: Any) -> None:
        raise exc

    with pytest.raises(ValueError) as caught:
        await dispatcher.adispatch("order.placed", strategy=Sequential(errors=reraise))
    assert caught.value is original
    assert len(original.__notes__) == 1


@pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
async def test_what_a_callable_raises_in_a_concurrent_dispatch_cancels_the_siblings_and_leaves_in_a_group(
    make: Make,
) -> None:
    dispatcher, log, refusal = AsyncEventDispatcher(), list[str](), LookupError("refused")

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            log.append("cancelled")

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError

    dispatcher.add_listener("order.placed", logging(log, "later"), priority=1)
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors=refusing(refusal)))
    assert caught.value.exceptions == (refusal,)
    assert log == ["cancelled"]


@every_strategy
async def test_overlooked_errors_do_not_leave_with_what_a_callable_raises_later(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(ValueError("overlooked")))
    dispatcher.add_listener("order.placed", failing(LookupError("refused")), priority=1)

    def only_value_errors(exc: Exception, event: Any, listener: Any) -> None:
        if not isinstance(exc, ValueError):
            raise exc

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors=only_value_errors))
    errors = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else (caught.value,)
    assert [str(error) for error in errors] == ["refused"]


# The argument


@pytest.mark.parametrize("make", [Sequential, Concurrent, Race, EventDispatcher])
@pytest.mark.parametrize("errors", ["ignore", "RAISE", ""])
def test_an_unknown_policy_is_refused(make: Callable[..., Any], errors: str) -> None:
    with pytest.raises(ValueError, match="errors="):
        make(errors=errors)


@pytest.mark.parametrize("make", [Sequential, Concurrent, Race, EventDispatcher])
@pytest.mark.parametrize("errors", [None, 1, True, ["raise"]])
def test_what_is_no_policy_is_refused(make: Callable[..., Any], errors: Any) -> None:
    with pytest.raises(TypeError, match="errors="):
        make(errors=errors)


@pytest.mark.parametrize("make", [Sequential, Concurrent, Race, EventDispatcher])
def test_an_async_policy_is_refused(make: Callable[..., Any]) -> None:
    async def policy(exc: Exception, event: Any, listener: Any) -> None: ...

    class Policy:
        async def __call__(self, exc: Exception, event: Any, listener: Any) -> None: ...

    for errors in (policy, Policy()):
        with pytest.raises(TypeError, match="async"):
            make(errors=errors)


async def test_the_strategy_of_a_dispatch_brings_its_policy() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="collect"))
    dispatcher.add_listener("order.placed", failing(ValueError()))
    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.placed")
    with pytest.raises(ValueError):
        await dispatcher.adispatch("order.placed", strategy=Sequential())


# Without a loop


def test_the_sync_dispatcher_follows_the_same_policies() -> None:
    def failing_plainly(error: Exception) -> Callable[[Event], None]:
        def fail(event: Event) -> None:
            raise error

        return fail

    first, second = ValueError(1), ValueError(2)
    seen: list[Exception] = []
    raising, collecting = EventDispatcher(), EventDispatcher(errors="collect")
    overlooking = EventDispatcher(errors=lambda exc, event, listener: seen.append(exc))
    for dispatcher in (raising, collecting, overlooking):
        dispatcher.add_listener("order.placed", failing_plainly(second), priority=1)
        dispatcher.add_listener("order.placed", failing_plainly(first))
    with pytest.raises(ValueError) as caught:
        raising.dispatch("order.placed")
    assert caught.value is first
    with pytest.raises(ExceptionGroup) as group:
        collecting.dispatch("order.placed")
    assert group.value.exceptions == (first, second)
    overlooking.dispatch("order.placed")
    assert seen == [first, second]
