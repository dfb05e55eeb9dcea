"""Rule 15: tier by tier, the listeners of one tier together."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Strategy, Subscription, in_thread
from tests.cancellation.listeners import failing, logging
from tests.cancellation.tasks import Watch, forever, left_by, settle
from tests.loops import anyio_backend

__all__ = ("anyio_backend",)

variable: ContextVar[str] = ContextVar("variable", default="unset")

grouping = pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(1), Concurrent(2), Race()], ids=repr)


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


@grouping
@pytest.mark.parametrize("siblings", [1, 3], ids=["alone", "with siblings"])
@pytest.mark.parametrize("event", [Event(), object()], ids=["event", "bare object"])
async def test_each_listener_has_one_task_and_its_own_context(strategy: Strategy, siblings: int, event: Any) -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    async def listener(event: Any) -> None:
        task = anyio.get_current_task().id
        before = variable.get()
        variable.set("set by a listener")
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoint)
        with CancelScope(shield=True):
            await settle()
        seen.append((event, before, variable.get(), anyio.get_current_task().id == task))

    for _ in range(siblings):
        dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.placed", listener, priority=1)
    token = variable.set("the caller's")
    assert await dispatcher.adispatch("order.placed", event, strategy=strategy) is event
    assert variable.get() == "the caller's"
    variable.reset(token)
    assert seen == [(event, "the caller's", "set by a listener", True)] * (siblings + 1)


@grouping
async def test_a_cancelled_dispatch_claims_no_once(strategy: Strategy) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", logging(log, "ran"), once=True)
    with CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("order.placed", strategy=strategy)
        pytest.fail("the cancellation was not noticed")
    assert log == []
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["ran"]


async def test_functions_in_threads_run_together_in_their_own_context() -> None:
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


# Limit


async def test_each_dispatch_has_the_limit_for_itself() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(1))
    here, there = anyio.Event(), anyio.Event()

    @dispatcher.listen("here")
    async def first(event: Event) -> None:
        here.set()
        await there.wait()

    @dispatcher.listen("there")
    async def second(event: Event) -> None:
        there.set()
        await here.wait()

    @dispatcher.listen("outer")
    async def dispatch(event: Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, "here")
            group.start_soon(dispatcher.adispatch, "there")

    with anyio.fail_after(5):
        await dispatcher.adispatch("outer")


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_the_next_listener_takes_the_place_of_a_finished_one(limit: int) -> None:
    dispatcher, running, counts = AsyncEventDispatcher(), set[object](), list[int]()

    async def listener(event: Event) -> None:
        place = object()
        running.add(place)
        for _ in range(10):
            await checkpoint()
        counts.append(len(running))
        for _ in range(10):
            await checkpoint()
        running.remove(place)

    for _ in range(4 * limit):
        dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed", strategy=Concurrent(limit))
    assert counts == [limit] * len(counts)
    assert len(counts) == 4 * limit


async def test_a_listener_removed_while_it_waits_does_not_start() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    handles: dict[str, Subscription] = {}

    def listener(name: str) -> Any:
        async def listen(event: Event) -> None:
            log.append(name)
            await settle()
            # The first to run, whichever it is, leaves "a" and "b" beside itself.
            for other in set("abcde") - {"a", "b", name}:
                handles[other].unsubscribe()

        return listen

    for name in "abcde":
        handles[name] = dispatcher.add_listener("order.placed", listener(name))
    await dispatcher.adispatch("order.placed", strategy=Concurrent(1))
    assert set(log) == {"a", "b", log[0]}
    assert len(log) == len(set(log))


@pytest.mark.parametrize("waiting", [1, 2, 5])
async def test_when_a_sibling_fails_what_waits_does_not_start(waiting: int) -> None:
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
    assert len(dispatcher.get_listeners("order.placed")) == waiting, "a listener that did not start claimed its once"


@pytest.mark.parametrize("limit", [1, 2])
async def test_when_cancelled_what_waits_claims_no_once(limit: int) -> None:
    dispatcher, started, watch = AsyncEventDispatcher(), list[str](), Watch()

    async def listener(event: Event) -> None:
        started.append("started")
        await forever()

    for _ in range(5):
        dispatcher.add_listener("order.placed", listener, once=True)
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
async def test_an_error_releases_its_place_within_the_limit(policy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    for _ in range(3):
        dispatcher.add_listener("order.placed", failing(ValueError()))
    dispatcher.add_listener("order.placed", logging(log, "after them"))
    await left_by(lambda: dispatcher.adispatch("order.placed", strategy=Concurrent(1, errors=policy)))
    assert log == ["after them"]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2"])
def test_a_wrong_limit_is_refused(limit: Any) -> None:
    error, text = (ValueError, "at least 1") if type(limit) is int else (TypeError, "limit=")
    with pytest.raises(error, match=text):
        Concurrent(limit)
