"""Rules 9 and 15: tier by tier, the listeners of one tier together."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import CancelScope, lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Strategy, Subscription, in_thread
from tests.cancellation.tasks import Watch, forever, left_by, no_task_left_behind, settle, tasks_before_and_after
from tests.loops import anyio_backend

__all__ = ("anyio_backend", "no_task_left_behind", "tasks_before_and_after")

variable: ContextVar[str] = ContextVar("variable", default="unset")

unlimited = pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=["concurrent", "race"])
grouping = pytest.mark.parametrize(
    "strategy",
    [Concurrent(), Concurrent(1), Concurrent(2), Race()],
    ids=["concurrent", "limit-1", "limit-2", "race"],
)


def _logs(log: list[str], name: str) -> Any:
    async def listener(event: Event) -> None:
        log.append(name)

    return listener


@unlimited
async def test_the_listeners_of_a_tier_run_together(strategy: Strategy) -> None:
    dispatcher, met = AsyncEventDispatcher(), set[str]()
    here, there = anyio.Event(), anyio.Event()

    @dispatcher.listen("order.placed")
    async def first(event: Event) -> None:
        here.set()
        await there.wait()
        met.add("first")

    @dispatcher.listen("order.placed")
    async def second(event: Event) -> None:
        there.set()
        await here.wait()
        met.add("second")

    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert met == {"first", "second"}


@grouping
async def test_a_tier_starts_when_the_one_before_it_has_ended(strategy: Strategy) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    def listener(tier: int) -> Any:
        async def listen(event: Event) -> None:
            log.append(f"{tier} starts")
            await settle()
            log.append(f"{tier} ends")

        return listen

    for tier in (2, 0, 1, 0, 2, 1):
        dispatcher.add_listener("order.placed", listener(tier), priority=tier)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert [line[0] for line in log] == list("000011112222")
    assert sorted(log) == sorted(f"{tier} {what}" for tier in (0, 0, 1, 1, 2, 2) for what in ("starts", "ends"))


@unlimited
async def test_the_name_and_the_dispatcher_are_seen_by_all(strategy: Strategy) -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    async def listener(event: Event) -> None:
        await lowlevel.checkpoint()
        seen.append((event.name, event.dispatcher))

    for priority in (0, 0, 1):
        dispatcher.add_listener("order.placed", listener, priority=priority)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert seen == [("order.placed", dispatcher)] * 3


async def test_a_stop_is_checked_before_each_tier_and_what_has_started_finishes() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def stop(event: Event) -> None:
        event.stop_propagation()

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        await settle()
        log.append("sibling finished")

    dispatcher.add_listener("order.placed", _logs(log, "later"), priority=1)
    await dispatcher.adispatch("order.placed", strategy=Concurrent())
    assert log == ["sibling finished"]


# Contexts


@grouping
@pytest.mark.parametrize("siblings", [1, 3], ids=["alone", "with siblings"])
async def test_each_listener_has_its_own_copy_of_the_callers_context(strategy: Strategy, siblings: int) -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[str]()

    async def listener(event: Event) -> None:
        seen.append(variable.get())
        variable.set("set by a listener")
        await settle()
        seen.append(variable.get())

    for _ in range(siblings):
        dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.placed", listener, priority=1)
    token = variable.set("the caller's")
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert variable.get() == "the caller's"
    variable.reset(token)
    assert sorted(seen) == ["set by a listener"] * (siblings + 1) + ["the caller's"] * (siblings + 1)


@grouping
async def test_each_listener_runs_in_one_task_from_start_to_end(strategy: Strategy) -> None:
    dispatcher, tasks = AsyncEventDispatcher(), list[bool]()

    async def listener(event: Event) -> None:
        task = anyio.get_current_task().id
        async with anyio.create_task_group() as group:
            group.start_soon(lowlevel.checkpoint)
        with CancelScope(shield=True):
            await lowlevel.checkpoint()
        tasks.append(anyio.get_current_task().id == task)

    for priority in (0, 0, 1):
        dispatcher.add_listener("order.placed", listener, priority=priority)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert tasks == [True] * 3


# Checkpoints


@grouping
async def test_a_dispatch_that_runs_a_listener_notices_that_it_is_cancelled(strategy: Strategy) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", _logs(log, "ran"))
    with CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("nobody listens", strategy=strategy)
        log.append("nobody listens: no checkpoint")
        await dispatcher.adispatch("order.placed", strategy=strategy)
        pytest.fail("the cancellation was not noticed")
    assert log == ["nobody listens: no checkpoint"]


@grouping
async def test_a_once_of_a_dispatch_that_was_cancelled_before_it_is_still_to_come(strategy: Strategy) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", _logs(log, "ran"), once=True)
    with CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == []
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["ran"]


# Limit


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_at_most_limit_listeners_of_a_dispatch_run_at_a_time(limit: int) -> None:
    dispatcher, running, most = AsyncEventDispatcher(), 0, 0

    async def listener(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await settle()
        running -= 1

    for number in range(6):
        dispatcher.add_listener("order.placed", listener, priority=number // 5)
    await dispatcher.adispatch("order.placed", strategy=Concurrent(limit))
    assert most == min(limit, 5)


async def test_each_dispatch_has_the_limit_for_itself_also_when_one_strategy_serves_them_all() -> None:
    strategy = Concurrent(1)
    dispatcher, met = AsyncEventDispatcher(strategy=strategy), set[str]()
    here, there = anyio.Event(), anyio.Event()

    @dispatcher.listen("here")
    async def first(event: Event) -> None:
        here.set()
        await there.wait()
        met.add("first")

    @dispatcher.listen("there")
    async def second(event: Event) -> None:
        there.set()
        await here.wait()
        met.add("second")

    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, "here")
        group.start_soon(dispatcher.adispatch, "there")
    assert met == {"first", "second"}


async def test_a_dispatch_within_a_limited_dispatch_does_not_wait_for_it() -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=Concurrent(1)), list[str]()

    @dispatcher.listen("outer")
    async def dispatch(event: Event) -> None:
        await dispatcher.adispatch("inner")

    dispatcher.add_listener("inner", _logs(log, "inner"))
    await dispatcher.adispatch("outer")
    assert log == ["inner"]


async def test_a_listener_removed_while_it_waits_for_the_limit_is_not_started() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    handles: dict[str, Subscription] = {}

    def listener(name: str) -> Any:
        async def listen(event: Event) -> None:
            log.append(name)
            await settle()
            # Whoever is first (which is not promised) leaves only "a" and "b" beside itself.
            for other in set("abcde") - {"a", "b", name}:
                handles[other].unsubscribe()

        return listen

    for name in "abcde":
        handles[name] = dispatcher.add_listener("order.placed", listener(name))
    await dispatcher.adispatch("order.placed", strategy=Concurrent(1))
    assert set(log) == {"a", "b", log[0]}
    assert len(log) == len(set(log))


@pytest.mark.parametrize("waiting", [1, 2, 5])
async def test_a_listener_that_waits_for_the_limit_when_a_sibling_fails_is_not_started(waiting: int) -> None:
    dispatcher, started = AsyncEventDispatcher(), list[str]()

    def listener() -> Any:
        async def fail(event: Event) -> None:
            started.append("started")
            await settle()
            raise ValueError

        return fail

    for _ in range(1 + waiting):
        dispatcher.add_listener("order.placed", listener(), once=True)
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=Concurrent(1))
    assert len(caught.value.exceptions) == 1
    assert started == ["started"]
    assert len(dispatcher.get_listeners("order.placed")) == waiting, "what never started has claimed no once"


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_listener_that_waits_for_the_limit_when_the_dispatch_is_cancelled_has_claimed_no_once(
    limit: int,
) -> None:
    dispatcher, started = AsyncEventDispatcher(), list[str]()

    async def listener(event: Event) -> None:
        started.append("started")
        await forever()

    for _ in range(5):
        dispatcher.add_listener("order.placed", listener, once=True)
    watch = Watch()
    async with anyio.create_task_group() as group:
        with CancelScope() as scope:

            async def cancel() -> None:
                await settle()
                scope.cancel()

            group.start_soon(cancel)
            await dispatcher.adispatch("order.placed", strategy=Concurrent(limit))
    watch.assert_alone()
    assert len(started) == limit
    assert len(dispatcher.get_listeners("order.placed")) == 5 - limit


@pytest.mark.parametrize("policy", ["collect", lambda *call: None], ids=["collect", "callable"])
async def test_an_error_gives_its_place_within_the_limit_back(policy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    async def fail(event: Event) -> None:
        raise ValueError

    for _ in range(3):
        dispatcher.add_listener("order.placed", fail)
    dispatcher.add_listener("order.placed", _logs(log, "after them"))
    await left_by(lambda: dispatcher.adispatch("order.placed", strategy=Concurrent(1, errors=policy)))
    assert log == ["after them"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Concurrent(limit)


@pytest.mark.parametrize("limit", [True, 1.5, "2"])
def test_a_limit_that_is_no_int_is_refused(limit: Any) -> None:
    with pytest.raises(TypeError, match="limit="):
        Concurrent(limit)


# Plain functions


async def test_functions_in_threads_run_together_and_see_their_own_context() -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[str]()

    def listener(event: Event) -> None:
        seen.append(variable.get())
        variable.set("set in the thread")

    dispatcher.add_listener("order.placed", in_thread(listener))
    dispatcher.add_listener("order.placed", in_thread(listener))
    token = variable.set("the caller's")
    await dispatcher.adispatch("order.placed", strategy=Concurrent())
    assert (seen, variable.get()) == (["the caller's", "the caller's"], "the caller's")
    variable.reset(token)


@grouping
async def test_objects_that_cannot_be_stopped_are_dispatched_too(strategy: Strategy) -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[object]()

    async def listener(event: object) -> None:
        await lowlevel.checkpoint()
        seen.append(event)

    for priority in (0, 0, 1):
        dispatcher.add_listener("order.placed", listener, priority=priority)
    event = object()
    assert await dispatcher.adispatch("order.placed", event, strategy=strategy) is event
    assert seen == [event] * 3
