"""Rule 4: ``limit``, the number of calls of a listener that run at a time, and listeners that re-enter themselves."""

from __future__ import annotations

import gc
import weakref
from contextvars import copy_context
from functools import partial
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event
from antiphon.testing import settle
from tests.listening.test_options import PLACED, SOON, anyio_backend, every_strategy, get_errors, in_virtual_time

__all__ = ("anyio_backend",)


class Charging:
    """A limited listener that counts how many of its calls run, until it may go on."""

    def __init__(self) -> None:
        self.running = self.most = self.finished = 0
        self.go_on = anyio.Event()

    async def charge(self, event: Event) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go_on.wait()
            self.finished += 1
        finally:
            self.running -= 1


async def dispatch_together(shop: Charging, *dispatches: Any, meanwhile: Any = lambda: None) -> None:
    """Start dispatches one after another, do something when all wait, and let the listener go on."""
    async with anyio.create_task_group() as group:
        for dispatch in dispatches:
            group.start_soon(dispatch)
            await settle()
        meanwhile()
        shop.go_on.set()


@every_strategy
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_no_more_calls_than_the_limit_run_and_none_is_lost(strategy: Any, limit: int) -> None:
    dispatcher, shop = AsyncEventDispatcher(strategy=strategy), Charging()
    dispatcher.add_listener(PLACED, shop.charge, limit=limit)

    await dispatch_together(shop, *[partial(dispatcher.adispatch, PLACED)] * 7)

    assert (shop.most, shop.finished, shop.running) == (limit, 7, 0)


async def test_the_limit_belongs_to_the_registration() -> None:
    dispatcher, shop = AsyncEventDispatcher(strategy=Concurrent()), Charging()
    dispatcher.add_listener(PLACED, shop.charge, limit=1)
    dispatcher.add_listener(PLACED, shop.charge, limit=1)

    await dispatch_together(shop, *[partial(dispatcher.adispatch, PLACED)] * 3)

    assert (shop.most, shop.finished) == (2, 6)


async def test_the_limit_holds_for_all_names_and_in_scopes() -> None:
    dispatcher, shop = AsyncEventDispatcher(), Charging()
    dispatcher.add_listener("**", shop.charge, limit=1)

    with dispatcher.scope() as scoped:
        await dispatch_together(shop, partial(dispatcher.adispatch, PLACED), partial(scoped.adispatch, "order.paid"))

    assert (shop.most, shop.finished) == (1, 2)


async def test_a_call_within_the_limit_adds_no_checkpoint() -> None:
    dispatcher, rounds = AsyncEventDispatcher(), list[int]()

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None: ...

    async def count_rounds() -> None:
        while True:
            rounds.append(len(rounds))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count_rounds)
        await anyio.lowlevel.checkpoint()
        before = len(rounds)
        await dispatcher.adispatch(PLACED)
        after = len(rounds)
        group.cancel_scope.cancel()

    assert before == after


async def test_calls_wait_for_the_limit_in_order() -> None:
    dispatcher, shop, log = AsyncEventDispatcher(), Charging(), list[Any]()
    events = [Event() for _ in range(4)]

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Any) -> None:
        await shop.go_on.wait()
        log.append(event)

    await dispatch_together(shop, *(partial(dispatcher.adispatch, PLACED, event) for event in events))

    assert log == events


async def test_a_listener_removed_while_it_waits_does_not_start() -> None:
    dispatcher, shop = AsyncEventDispatcher(), Charging()
    subscription = dispatcher.add_listener(PLACED, shop.charge, limit=1)

    await dispatch_together(shop, *[partial(dispatcher.adispatch, PLACED)] * 4, meanwhile=subscription.unsubscribe)

    assert shop.finished == 1


async def test_a_call_cancelled_while_it_waits_takes_no_place() -> None:
    dispatcher, shop = AsyncEventDispatcher(), Charging()
    dispatcher.add_listener(PLACED, shop.charge, limit=1)
    scope = anyio.CancelScope()

    async def dispatch_until_cancelled() -> None:
        with scope:
            await dispatcher.adispatch(PLACED)

    dispatch = partial(dispatcher.adispatch, PLACED)
    await dispatch_together(shop, dispatch, dispatch_until_cancelled, dispatch, meanwhile=scope.cancel)

    assert (shop.most, shop.finished) == (1, 2)


@in_virtual_time
@pytest.mark.parametrize("ending", ["error", "cancellation", "timeout"])
async def test_a_failed_call_gives_its_place_back(ending: str) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen(PLACED, limit=1, timeout=SOON / 2 if ending == "timeout" else None)
    async def charge(event: Event) -> None:
        log.append("called")
        if len(log) == 1:
            if ending == "error":
                raise LookupError
            await anyio.sleep_forever()

    with anyio.move_on_after(SOON):
        await get_errors(dispatcher)
    await dispatcher.adispatch(PLACED)

    assert log == ["called"] * 2


# Event loops


async def test_the_limit_is_counted_for_each_event_loop() -> None:
    dispatcher, calls = AsyncEventDispatcher(), []

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None:
        calls.append(event)
        if len(calls) == 1:
            # The other loop runs in another thread, which this call waits for.
            await anyio.to_thread.run_sync(lambda: anyio.run(partial(dispatcher.adispatch, PLACED)))

    await dispatcher.adispatch(PLACED)

    assert len(calls) == 2


def test_a_limited_listener_works_in_many_loops_and_keeps_none() -> None:
    dispatcher, loops = AsyncEventDispatcher(), list[weakref.ref[Any]]()

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None:
        loops.append(weakref.ref(anyio.lowlevel.current_token().native_token))
        await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(dispatcher.adispatch, PLACED)

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(main, backend=backend)
    gc.collect()

    assert [loop() for loop in loops] == [None] * 6


# A limited listener that dispatches to itself


@every_strategy
@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("beyond", [False, True], ids=["up to the limit", "beyond it"])
async def test_re_entering_beyond_the_limit_is_an_error(strategy: Any, limit: int, beyond: bool) -> None:
    dispatcher, depth = AsyncEventDispatcher(), 0

    @dispatcher.listen(PLACED, limit=limit)
    async def charge(event: Event) -> None:
        nonlocal depth
        depth += 1
        if depth < limit or beyond:
            await dispatcher.adispatch(PLACED, strategy=strategy)

    errors = await get_errors(dispatcher, strategy)
    while errors and isinstance(errors[0], BaseExceptionGroup):
        errors = list(errors[0].exceptions)

    assert (depth, [type(error) for error in errors]) == (limit, [RuntimeError] * beyond)
    assert all(f"may run {limit} at a time" in str(error) for error in errors)


@in_virtual_time
async def test_re_entering_is_an_error_also_after_other_calls() -> None:
    dispatcher, re_enters = AsyncEventDispatcher(), False

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None:
        if re_enters:
            await dispatcher.adispatch(PLACED)

    await dispatcher.adispatch(PLACED)
    re_enters = True
    with anyio.fail_after(SOON):
        errors = await get_errors(dispatcher)

    assert [type(error) for error in errors] == [RuntimeError]


async def test_a_limited_listener_leaves_the_context_of_its_caller_as_it_was() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None: ...

    await dispatcher.adispatch("order.paid")
    before = dict(copy_context().items())
    await dispatcher.adispatch(PLACED)

    assert dict(copy_context().items()) == before


@pytest.mark.parametrize("way", ["dispatcher", "thread", "task"])
async def test_re_entering_by_any_way_is_an_error(way: str) -> None:
    dispatcher, other = AsyncEventDispatcher(), AsyncEventDispatcher()

    @other.listen("order.paid", limit=1)
    async def dispatch_again(event: Event) -> None:
        await dispatcher.adispatch(PLACED)

    @dispatcher.listen(PLACED, limit=1)
    async def charge(event: Event) -> None:
        if way == "dispatcher":
            await other.adispatch("order.paid")
        elif way == "thread":
            await anyio.to_thread.run_sync(partial(anyio.from_thread.run, dispatcher.adispatch, PLACED))
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(dispatcher.adispatch, PLACED)

    (error,) = await get_errors(dispatcher)

    assert isinstance(error, RuntimeError)
    assert "charge" in str(error) and "may run 1 at a time" in str(error)


@in_virtual_time
@pytest.mark.parametrize("limit", [2, 3])
async def test_calls_that_all_re_enter_do_not_deadlock(limit: int) -> None:
    dispatcher, running, together = AsyncEventDispatcher(), 0, anyio.Event()
    errors: list[BaseException] = []

    @dispatcher.listen(PLACED, limit=limit)
    async def charge(event: Event) -> None:
        nonlocal running
        running += 1
        if running == limit:
            together.set()
        await together.wait()
        if running <= limit:
            await dispatcher.adispatch(PLACED)

    async def dispatch() -> None:
        errors.extend(await get_errors(dispatcher))

    with anyio.move_on_after(SOON) as deadlock:
        async with anyio.create_task_group() as group:
            for _ in range(limit):
                group.start_soon(dispatch)

    assert not deadlock.cancelled_caught
    assert {type(error) for error in errors} <= {RuntimeError}


@pytest.mark.parametrize("re_entered", [False, True], ids=["", "and has re-entered before"])
async def test_a_re_entering_call_waits_for_another_that_works(re_entered: bool) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(), [], anyio.Event()

    class OrderPlaced(Event):
        def __init__(self, what: str) -> None:
            self.what = what

    @dispatcher.listen(PLACED, limit=2)
    async def book(event: OrderPlaced) -> None:
        if event.what == "works":
            if re_entered:
                await dispatcher.adispatch(PLACED, OrderPlaced("inner"))
                log.clear()
            await go_on.wait()
        elif event.what == "re-enters":
            await dispatcher.adispatch(PLACED, OrderPlaced("inner"))
        log.append(event.what)

    async with anyio.create_task_group() as group:
        for what in ("works", "re-enters"):
            group.start_soon(dispatcher.adispatch, PLACED, OrderPlaced(what))
            await settle()
        assert log == []
        go_on.set()

    assert log == ["works", "inner", "re-enters"]


async def test_a_false_where_prevents_re_entering() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    @dispatcher.listen(PLACED, limit=1, where=lambda event: not log)
    async def charge(event: Event) -> None:
        log.append("called")
        await dispatcher.adispatch(PLACED)

    await dispatcher.adispatch(PLACED)

    assert log == ["called"]


# Tasks that outlive the call that started them


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another call"])
async def test_a_task_that_outlives_its_call_is_not_the_call(other: bool) -> None:
    dispatcher, log, over, go_on = AsyncEventDispatcher(), [], anyio.Event(), anyio.Event()

    async def follow() -> None:
        await over.wait()
        await dispatcher.adispatch(PLACED)

    async with anyio.create_task_group() as group:

        @dispatcher.listen(PLACED, limit=1)
        async def charge(event: Event) -> None:
            log.append("begun")
            if len(log) == 1:
                group.start_soon(follow)
            elif other and len(log) == 2:
                await go_on.wait()

        await dispatcher.adispatch(PLACED)
        if other:
            group.start_soon(dispatcher.adispatch, PLACED)
            await settle()
        over.set()
        await settle()
        assert log == ["begun"] * 2
        go_on.set()

    assert log == ["begun"] * (2 + other)


async def test_a_limited_listener_may_post_to_itself() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    async with dispatcher.queue(max_buffer_size=4) as queue:

        @dispatcher.listen(PLACED, limit=1)
        async def charge(event: Event) -> None:
            log.append("begun")
            if len(log) == 1:
                await queue.post(PLACED, Event())
                # Until the queue has accepted it, and waits for this call to end.
                await settle()
            log.append("ended")

        await dispatcher.adispatch(PLACED)

    assert log == ["begun", "ended"] * 2


async def test_a_task_that_outlives_its_call_keeps_no_listener() -> None:
    dispatcher, over = AsyncEventDispatcher(), anyio.Event()

    async with anyio.create_task_group() as group:

        async def charge(event: Event) -> None:
            group.start_soon(over.wait)

        reference = weakref.ref(charge)
        with dispatcher.add_listener(PLACED, charge, limit=1):
            await dispatcher.adispatch(PLACED)
        del charge
        await settle()
        gc.collect()
        kept = reference()
        over.set()

    assert kept is None


async def test_a_chain_of_calls_does_not_grow_its_context() -> None:
    dispatcher, carried = AsyncEventDispatcher(), []

    async def follow() -> None:
        await settle()
        await dispatcher.adispatch(PLACED)

    async with anyio.create_task_group() as group:

        @dispatcher.listen(PLACED, limit=1)
        async def charge(event: Event) -> None:
            carried.append(sum(len(value) for value in copy_context().values() if isinstance(value, tuple)))
            if len(carried) < 5:
                group.start_soon(follow)

        await dispatcher.adispatch(PLACED)

    assert len(carried) == 5
    assert carried[-1] == carried[1]
