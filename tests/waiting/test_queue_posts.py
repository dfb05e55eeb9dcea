"""What a queue takes, and how its workers dispatch it: checked at once, in the poster's context, by a strategy."""

from __future__ import annotations

import asyncio
import gc
import math
import warnings
from contextvars import ContextVar, copy_context
from enum import Enum
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, QueueNotDrained, Race, Sequential
from antiphon._strategies.driver import drive
from antiphon.testing import Backend, BackendName
from tests.cancellation.tasks import forever, leaves, running_tasks, settle
from tests.waiting.helpers import BOTH, Numbered, ending_of, outcome


class Name(Enum):
    ORDER = 1


class Hidden:
    __hash__ = None  # type: ignore[assignment]


#: What a dispatch refuses.
REFUSED: dict[str, tuple[Any, ...]] = {
    "a class after the name": ("order", int),
    "a class of events after the name": ("order", Event),
    "two events": (Event(), Event()),
    "a class alone": (Event,),
    "None": (None,),
    "an unhashable name": ([], Event()),
    "an unhashable name of its own": (Hidden(), Event()),
}

#: What a dispatch takes.
TAKEN: dict[str, tuple[Any, ...]] = {
    "a name": ("order",),
    "a member": (Name.ORDER,),
    "an event": (Numbered(1),),
    "a name and a number": ("order", 7),
    "no name and an event": (None, Numbered(1)),
    "a tuple and an event": (("order", 1), Numbered(1)),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED.keys())
async def test_a_post_is_refused_at_once_with_the_error_of_a_dispatch(arguments: tuple[Any, ...]) -> None:
    dispatcher = AsyncEventDispatcher()
    expected = await outcome(dispatcher.adispatch(*arguments))
    assert isinstance(expected, TypeError)
    async with dispatcher.queue() as queue:
        left = await outcome(queue.post(*arguments))
        assert (type(left), str(left)) == (TypeError, str(expected))
        with pytest.raises(TypeError) as caught:
            queue.post_nowait(*arguments)
        assert str(caught.value) == str(expected)
    assert queue.statistics()[:5] == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("arguments", TAKEN.values(), ids=TAKEN.keys())
async def test_a_post_dispatches_what_a_dispatch_with_its_arguments_does(arguments: tuple[Any, ...]) -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[Any] = []

    @dispatcher.listen("*")
    async def hear(event: Any) -> None:
        heard.append((type(event), getattr(event, "name", None)))

    await dispatcher.adispatch(*arguments)
    async with dispatcher.queue() as queue:
        await queue.post(*arguments)
    assert heard[0] == heard[1]


async def test_an_event_with_a_name_of_its_class_that_is_posted_without_one_has_none() -> None:
    """``post(None, event)`` is ``adispatch(None, event)``, not ``adispatch(event)``."""

    class Placed(Event):
        name = "order.placed"

    dispatcher = AsyncEventDispatcher()
    names: list[Any] = []

    @dispatcher.listen(Placed)
    async def hear(event: Placed) -> None:
        names.append(event.name)

    async with dispatcher.queue() as queue:
        for arguments in ((Placed(),), (None, Placed())):
            await dispatcher.adispatch(*arguments)
            await queue.post(*arguments)
            await queue.join()
    assert names == ["order.placed", "order.placed", None, None]


# Numbers of seconds


@pytest.mark.parametrize(
    "seconds", [10**400, 10**5000, -(10**5000), math.nan, -1, -0.1, -math.inf], ids=lambda _: "seconds"
)
def test_a_time_out_of_range_is_refused_when_the_queue_is_made(seconds: Any) -> None:
    with pytest.raises(ValueError, match="drain_timeout= is how long"):
        AsyncEventDispatcher().queue(drain_timeout=seconds)


@pytest.mark.parametrize("seconds", [True, False, "1", 1j, [1]], ids=repr)
def test_a_time_that_is_no_number_is_refused_when_the_queue_is_made(seconds: Any) -> None:
    with pytest.raises(TypeError, match="drain_timeout= is how long"):
        AsyncEventDispatcher().queue(drain_timeout=seconds)


@pytest.mark.parametrize("seconds", [0, -0.0, 1e-300, 10**300, 1e308, math.inf], ids=repr)
async def test_a_time_in_range_bounds_the_end(seconds: float) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.never", forever)
    with anyio.fail_after(5):
        async with dispatcher.queue(drain_timeout=seconds) as queue:
            await queue.post("order")
            await queue.join()
        if seconds < 1:
            left = await ending_of(dispatcher.queue(drain_timeout=seconds), lambda queue: queue.post("order.never"))
            assert isinstance(left, QueueNotDrained)


async def test_an_infinite_time_is_no_bound_and_so_no_grace() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.never", forever)
    error = KeyError("body")

    async def body(queue: Any) -> None:
        await queue.post("order.never")
        await settle()
        raise error

    with anyio.fail_after(5):
        assert await ending_of(dispatcher.queue(drain_timeout=math.inf), body) is error


# ordered_by=


async def no_key(event: Event) -> int:
    return 1


def generated(event: Event) -> Any:
    yield 1


async def generated_async(event: Event) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda event: no_key(event), "coroutine"),
        (lambda event: asyncio.Future(), "Future"),
        (generated, "generator"),
        (generated_async, "async_generator"),
        (lambda event: [1], "hashable"),
        (lambda event: Hidden(), "hashable"),
    ],
    ids=["coroutine", "future", "generator", "async generator", "list", "unhashable"],
)
async def test_a_key_that_does_not_order_is_refused(function: Any, word: str, anyio_backend_name: str) -> None:
    if word == "Future" and anyio_backend_name == "trio":
        pytest.skip("a future belongs to asyncio")
    dispatcher = AsyncEventDispatcher()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with dispatcher.queue(ordered_by=function, workers=2) as queue:
            with pytest.raises(TypeError, match="ordered_by= gives the key") as caught:
                await queue.post("order")
            assert word in str(caught.value)
            with pytest.raises(TypeError, match="ordered_by= gives the key"):
                queue.post_nowait("order")
        gc.collect()
    assert queue.statistics().posted == 0


# strategy=


@pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(2), Race()], ids=repr)
async def test_the_strategy_of_a_queue_runs_its_dispatches(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    both = anyio.Event()
    here: list[int] = []

    async def meet(event: Event) -> None:
        here.append(1)
        if len(here) == 2:
            both.set()
        await both.wait()

    dispatcher.add_listener("order", meet)
    dispatcher.add_listener("order", meet)
    with anyio.fail_after(5):
        async with dispatcher.queue(strategy=strategy) as queue:
            await queue.post("order")
    assert here == [1, 1]


async def test_the_strategy_of_a_queue_runs_events_without_a_name() -> None:
    dispatcher = AsyncEventDispatcher()
    seen: list[int] = []

    @dispatcher.listen(Numbered)
    async def refuse(event: Numbered) -> None:
        raise ValueError("no such article")

    @dispatcher.listen(Numbered)
    async def store(event: Numbered) -> None:
        seen.append(event.number)

    queue = dispatcher.queue(strategy=Sequential(errors="collect"))
    left = await ending_of(queue, lambda queue: queue.post(Numbered(1)))
    assert seen == [1]
    assert [str(leaf) for leaf in leaves(left)] == ["no such article"]


def test_a_wrong_strategy_is_refused_when_the_queue_is_made() -> None:
    class Own(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None: ...

    class Logging(AsyncEventDispatcher):
        async def adispatch(self, event_id: Any, event: Any = None, /) -> Any: ...  # type: ignore[override]

    for dispatcher, strategy in (
        (AsyncEventDispatcher(), Concurrent),
        (AsyncEventDispatcher(), "concurrent"),
        (Own(), Concurrent()),
    ):
        expected = "strategy= is" if type(dispatcher) is AsyncEventDispatcher else "overrides _adispatch"
        with pytest.raises(TypeError, match=expected):
            dispatcher.queue(strategy=strategy)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes none"):
        Logging().queue(strategy=Concurrent())


# The context of the poster


async def test_a_dispatch_keeps_its_context_over_all_its_steps_and_tasks() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Concurrent())
    customer: ContextVar[str] = ContextVar("customer", default="nobody")
    seen: list[str] = []

    async def look() -> None:
        seen.append(customer.get())

    for _ in range(2):

        @dispatcher.listen("order")
        async def serve(event: Event) -> None:
            await look()
            await lowlevel.checkpoint()
            await look()
            with anyio.move_on_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(look)
                await anyio.to_thread.run_sync(lambda: seen.append(customer.get()))
            customer.set("set by a listener")
            await lowlevel.checkpoint()

    async def place(name: str) -> None:
        customer.set(name)
        await queue.post("order")

    async with dispatcher.queue(workers=2) as queue, anyio.create_task_group() as group:
        for name in ("alice", "bob", "carol"):
            group.start_soon(place, name)
    assert sorted(seen) == ["alice"] * 8 + ["bob"] * 8 + ["carol"] * 8


async def test_what_is_posted_in_a_dispatch_has_the_context_of_the_listener() -> None:
    dispatcher = AsyncEventDispatcher()
    customer: ContextVar[str] = ContextVar("customer", default="nobody")
    seen: list[str] = []

    @dispatcher.listen("order")
    async def serve(event: Event) -> None:
        customer.set("alice")
        await queue.post("bill")

    @dispatcher.listen("bill")
    async def bill(event: Event) -> None:
        seen.append(customer.get())

    async with dispatcher.queue() as queue:
        await queue.post("order")
    assert seen == ["alice"]


async def test_the_workers_are_all_the_tasks_there_are() -> None:
    """No task is started for an event, and none for a worker that is not needed."""
    dispatcher = AsyncEventDispatcher()
    go = anyio.Event()
    tasks: set[int] = set()

    @dispatcher.listen("order")
    async def serve(event: Event) -> None:
        tasks.add(anyio.get_current_task().id)
        await go.wait()

    before = len(running_tasks())
    async with dispatcher.queue(workers=1000) as queue:
        await settle()
        assert len(running_tasks()) == before + 1
        await queue.post("order")
        await queue.post("order")
        await settle()
        # One more, which waits for the next event.
        assert len(running_tasks()) == before + 3
        assert len(tasks) == 2
        go.set()
        for _ in range(10):
            await queue.post("order")
            await queue.join()
        assert len(running_tasks()) == before + 3
    assert len(tasks) <= 3
    assert len(running_tasks()) == before


async def test_the_scopes_that_a_listener_opens_belong_to_its_worker() -> None:
    dispatcher = AsyncEventDispatcher()
    caught: list[bool] = []

    @dispatcher.listen("order")
    async def serve(event: Event) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await forever()
        caught.append(scope.cancelled_caught)
        with anyio.move_on_after(-1) as late:
            await forever()
        caught.append(late.cancelled_caught)

    async with dispatcher.queue() as queue:
        await queue.post("order")
        await queue.post("order")
    assert caught == [True] * 4
    assert queue.statistics()[:5] == (2, 2, 0, 0, 0)


@BOTH
def test_timeouts_of_listeners_end_them_in_a_queue(backend: BackendName) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()
        dispatcher.add_listener("order", forever, timeout=3)
        errors: list[Any] = []
        async with dispatcher.queue(errors=lambda error, *_: errors.append(error)) as queue:
            await queue.post("order")
            await queue.post("order")
        assert [type(error) for error in errors] == [TimeoutError] * 2
        assert anyio.current_time() == pytest.approx(6, abs=0.1)

    Backend(backend).run(main)


async def test_a_stop_in_a_queued_dispatch_is_not_the_posters() -> None:
    """A listener in a race posts, and what the queue runs stops the event of the race: another listener wins."""
    dispatcher = AsyncEventDispatcher()
    gate = anyio.Event()
    log: list[str] = []

    @dispatcher.listen("offer")
    async def ask_others(event: Event) -> None:
        await queue.post("ask", Numbered(event))
        try:
            await forever()
        finally:
            log.append("the poster ended")

    @dispatcher.listen("offer")
    async def accept(event: Event) -> None:
        await gate.wait()
        log.append("accepted")

    @dispatcher.listen("ask")
    async def stop(event: Numbered) -> None:
        event.number.stop_propagation()
        await settle()
        gate.set()

    with anyio.fail_after(5):
        async with dispatcher.queue() as queue:
            await dispatcher.adispatch("offer", strategy=Race())
    assert log == ["accepted", "the poster ended"]


# The driver


async def test_a_coroutine_runs_in_a_context_of_its_own_in_this_task() -> None:
    customer: ContextVar[str] = ContextVar("customer", default="nobody")
    context = copy_context()
    context.run(customer.set, "alice")
    task = anyio.get_current_task().id

    async def serve() -> str:
        await lowlevel.checkpoint()
        assert anyio.get_current_task().id == task
        seen = customer.get()
        customer.set("bob")
        await lowlevel.checkpoint()
        return seen

    assert await drive(serve(), None, context.run) == "alice"
    assert customer.get() == "nobody"
    assert context[customer] == "bob"


async def test_what_leaves_the_coroutine_leaves_and_a_cancellation_reaches_it() -> None:
    error = KeyError("order")
    log: list[str] = []

    async def fail() -> None:
        await lowlevel.checkpoint()
        raise error

    with pytest.raises(KeyError) as caught:
        await drive(fail(), None, copy_context().run)
    assert caught.value is error

    async def wait() -> None:
        try:
            await forever()
        finally:
            log.append("ended")

    with anyio.CancelScope() as scope:
        scope.cancel()
        await drive(wait(), None, copy_context().run)
    assert scope.cancelled_caught
    assert log == ["ended"]


def test_closing_the_driver_closes_the_coroutine_in_its_context() -> None:
    customer: ContextVar[str] = ContextVar("customer", default="nobody")
    context = copy_context()
    context.run(customer.set, "alice")
    seen: list[str] = []

    class Pause:
        def __await__(self) -> Any:
            yield None

    async def serve() -> None:
        try:
            await Pause()
        finally:
            seen.append(customer.get())

    async def run() -> None:
        await drive(serve(), None, context.run)

    driver = run()
    driver.send(None)
    driver.close()
    assert seen == ["alice"]
