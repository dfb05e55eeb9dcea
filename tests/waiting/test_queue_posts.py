"""What a queue accepts, and how its workers dispatch it: checked at once, in the poster's context, by a strategy."""

from __future__ import annotations

import asyncio
import gc
import math
import tracemalloc
import warnings
from contextvars import ContextVar, copy_context
from enum import Enum
from typing import Any

import anyio
import pytest
from anyio import lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential
from antiphon._strategies.cancellation import current_watch
from antiphon._strategies.driver import drive
from tests.cancellation.tasks import running_tasks
from tests.naming import without_address
from tests.waiting.helpers import Bare, Order, ending_of, forever, in_virtual_time, leaves, outcome, post, settle

customer: ContextVar[str] = ContextVar("customer", default="none")


class Name(Enum):
    ORDER = 1


class Unhashable:
    __hash__ = None  # type: ignore[assignment]


class Placed(Event):
    name = "order.placed"


# What can be posted

REFUSED: dict[str, tuple[Any, ...]] = {
    "a class after the name": ("order", int),
    "a class of events after the name": ("order", Event),
    "two events": (Event(), Event()),
    "a class alone": (Event,),
    "None": (None,),
    "an unhashable name": ([], Event()),
    "an unhashable object as name": (Unhashable(), Event()),
}

#: The arguments, and the type and the name of the event.
ACCEPTED: dict[str, tuple[tuple[Any, ...], type, Any]] = {
    "a name": (("order",), Event, "order"),
    "a member": ((Name.ORDER,), Event, Name.ORDER),
    "an event": ((Order(1),), Order, None),
    "an event with a name": ((Placed(),), Placed, "order.placed"),
    "a name and a number": (("order", 7), int, None),
    "a name and a string": (("order", "a string"), str, None),
    "a name and a bare event": (("order", Bare()), Bare, None),
    "no name and an event": ((None, Order(1)), Order, None),
    # As for adispatch, this is not the same as the event alone.
    "no name and an event with a name": ((None, Placed()), Placed, None),
    "a tuple and an event": ((("order", 1), Order(1)), Order, ("order", 1)),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED.keys())
async def test_a_post_is_refused_with_the_error_of_a_dispatch(
    arguments: tuple[Any, ...], dispatcher: AsyncEventDispatcher
) -> None:
    expected = await outcome(dispatcher.adispatch(*arguments))
    assert isinstance(expected, TypeError)
    async with dispatcher.queue() as queue:
        error = await outcome(queue.post(*arguments))
        assert (type(error), str(error)) == (TypeError, str(expected))
        with pytest.raises(TypeError) as caught:
            queue.post_nowait(*arguments)
        assert str(caught.value) == str(expected)
        await post(queue, 1)
    assert queue.statistics()[:5] == (1, 1, 0, 0, 0)


@pytest.mark.parametrize(("arguments", "kind", "name"), ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_a_post_is_dispatched_as_by_adispatch(
    arguments: tuple[Any, ...], kind: type, name: Any, dispatcher: AsyncEventDispatcher
) -> None:
    found: list[Any] = []

    @dispatcher.listen("*")
    async def record(event: Any) -> None:
        found.append((type(event), getattr(event, "name", None)))

    await dispatcher.adispatch(*arguments)
    async with dispatcher.queue() as queue:
        await queue.post(*arguments)
    assert found == [(kind, name)] * 2


# Options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_buffer_size": 0}, ValueError),
        ({"max_buffer_size": None}, TypeError),
        ({"workers": 0}, ValueError),
        ({"workers": "many"}, TypeError),
        ({"overflow": "panic"}, ValueError),
        ({"errors": "ignore"}, ValueError),
        ({"errors": forever}, TypeError),
        ({"ordered_by": "id"}, TypeError),
        ({"ordered_by": forever}, TypeError),
        ({"ordered_by": lambda: "key"}, TypeError),
    ],
    ids=without_address,
)
def test_invalid_options_are_refused(options: dict[str, Any], error: Any, dispatcher: AsyncEventDispatcher) -> None:
    with pytest.raises(error):
        dispatcher.queue(**options)


async def test_a_queue_that_has_ended_asks_for_no_key(dispatcher: AsyncEventDispatcher) -> None:
    asked: list[Any] = []
    async with dispatcher.queue(ordered_by=asked.append) as queue:
        pass

    with pytest.raises(anyio.ClosedResourceError):
        await queue.post("order.placed")
    with pytest.raises(anyio.ClosedResourceError):
        queue.post_nowait("order.placed")

    assert asked == []


def test_a_wrong_error_policy_shows_what_a_function_gets(dispatcher: AsyncEventDispatcher) -> None:
    with pytest.raises(ValueError, match="a plain function of exception, event and name;"):
        dispatcher.queue(errors="ignore")  # type: ignore[arg-type]  # its subject


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        *((seconds, ValueError) for seconds in (10**400, 10**5000, -(10**5000), math.nan, -1, -0.1, -math.inf)),
        *((seconds, TypeError) for seconds in (True, False, "1", 1j, [1])),
    ],
    ids=lambda _: "_",
)
def test_an_invalid_drain_timeout_is_refused(seconds: Any, error: Any, dispatcher: AsyncEventDispatcher) -> None:
    with pytest.raises(error, match="drain_timeout= is how long"):
        dispatcher.queue(drain_timeout=seconds)


async def make_no_key(event: Event) -> int:
    return 1


def generate_key(event: Event) -> Any:
    yield 1


async def generate_key_async(event: Event) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda event: make_no_key(event), "coroutine"),
        (lambda event: asyncio.Future(), "Future"),
        (generate_key, "generator"),
        (generate_key_async, "async_generator"),
        (lambda event: [1], "hashable"),
        (lambda event: Unhashable(), "hashable"),
    ],
    ids=["coroutine", "future", "generator", "async generator", "list", "unhashable"],
)
async def test_an_invalid_key_is_refused(
    function: Any, word: str, anyio_backend_name: str, dispatcher: AsyncEventDispatcher
) -> None:
    if word == "Future" and anyio_backend_name == "trio":
        pytest.skip("a future belongs to asyncio")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with dispatcher.queue(ordered_by=function, workers=2) as queue:
            with pytest.raises(TypeError, match="ordered_by= returns the key") as caught:
                await queue.post("order")
            assert word in str(caught.value)
            with pytest.raises(TypeError, match="ordered_by= returns the key"):
                queue.post_nowait("order")
        gc.collect()
    assert queue.statistics().posted == 0


async def test_an_error_of_ordered_by_reaches_the_poster(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.queue(ordered_by=lambda event: event.missing) as queue:
        with pytest.raises(AttributeError):
            await post(queue, 1)
    assert queue.statistics().posted == 0


# Strategies


@pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(2), Race()], ids=repr)
@pytest.mark.parametrize("of_queue", [True, False], ids=["queue", "dispatcher"])
async def test_a_strategy_runs_the_dispatches(strategy: Any, of_queue: bool) -> None:
    dispatcher = AsyncEventDispatcher() if of_queue else AsyncEventDispatcher(strategy=strategy)
    both = anyio.Event()
    started: list[int] = []

    async def meet(event: Event) -> None:
        started.append(1)
        if len(started) == 2:
            both.set()
        await both.wait()

    dispatcher.add_listener("order", meet)
    dispatcher.add_listener("order", meet)
    with anyio.fail_after(5):
        async with dispatcher.queue(strategy=strategy if of_queue else None) as queue:
            await queue.post("order")
    assert started == [1, 1]


async def test_a_strategy_runs_events_without_a_name(dispatcher: AsyncEventDispatcher) -> None:
    stored: list[int] = []

    @dispatcher.listen(Order)
    async def refuse(event: Order) -> None:
        raise ValueError("no such article")

    @dispatcher.listen(Order)
    async def store(event: Order) -> None:
        stored.append(event.number)

    queue = dispatcher.queue(strategy=Sequential(errors="collect"))
    left = await ending_of(queue, lambda queue: queue.post(Order(1)))
    assert stored == [1]
    assert [str(leaf) for leaf in leaves(left)] == ["no such article"]


def test_an_invalid_strategy_is_refused() -> None:
    class Own(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None: ...

    class Logging(AsyncEventDispatcher):
        async def adispatch(self, event_id: Any, event: Any = None, /) -> Any: ...  # type: ignore[override]

    cases: list[tuple[AsyncEventDispatcher, Any, str]] = [
        (AsyncEventDispatcher(), Concurrent, "strategy= is"),
        (AsyncEventDispatcher(), "concurrent", "strategy= is"),
        (Own(), Concurrent(), "overrides _adispatch"),
        (Logging(), Concurrent(), "does not take a strategy"),
    ]
    for dispatcher, strategy, message in cases:
        with pytest.raises(TypeError, match=message):
            dispatcher.queue(strategy=strategy)


# The context of the poster


async def test_a_dispatch_runs_in_a_copy_of_its_posters_context() -> None:
    """In all its steps and tasks."""
    dispatcher = AsyncEventDispatcher(strategy=Concurrent())
    found: list[str] = []

    async def look() -> None:
        found.append(customer.get())

    for _ in range(2):

        @dispatcher.listen("order")
        async def serve(event: Event) -> None:
            await look()
            await lowlevel.checkpoint()
            await look()
            with anyio.move_on_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(look)
                await to_thread.run_sync(lambda: found.append(customer.get()))
            customer.set("set by a listener")
            await lowlevel.checkpoint()

    async def place(name: str) -> None:
        customer.set(name)
        await queue.post("order")
        customer.set("set after the post")

    async with dispatcher.queue(workers=2) as queue:
        async with anyio.create_task_group() as group:
            for name in ("alice", "bob", "carol"):
                group.start_soon(place, name)
        await queue.post("order")
        await queue.join()
        assert customer.get() == "none"
    assert sorted(found) == ["alice"] * 8 + ["bob"] * 8 + ["carol"] * 8 + ["none"] * 8


async def test_a_listener_posts_with_its_own_context(dispatcher: AsyncEventDispatcher) -> None:
    found: list[str] = []

    @dispatcher.listen("order")
    async def serve(event: Event) -> None:
        customer.set("alice")
        await queue.post("bill")

    @dispatcher.listen("bill")
    async def bill(event: Event) -> None:
        found.append(customer.get())

    async with dispatcher.queue() as queue:
        await queue.post("order")
    assert found == ["alice"]


async def test_no_task_is_started_for_an_event(dispatcher: AsyncEventDispatcher) -> None:
    """And none for a worker that is not needed."""
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
        # One more waits for the next event.
        assert len(running_tasks()) == before + 3
        assert len(tasks) == 2
        go.set()
        for _ in range(10):
            await queue.post("order")
            await queue.join()
        assert len(running_tasks()) == before + 3
    assert len(tasks) <= 3
    assert len(running_tasks()) == before


async def test_another_worker_is_started_only_when_a_dispatch_waits(dispatcher: AsyncEventDispatcher) -> None:
    tasks: set[int] = set()

    @dispatcher.listen("order")
    async def serve(event: Event) -> None:
        tasks.add(anyio.get_current_task().id)

    before = len(running_tasks())
    async with dispatcher.queue(workers=3) as queue:
        for _ in range(10):
            queue.post_nowait("order")
        await queue.join()
        assert len(running_tasks()) == before + 1
    assert len(tasks) == 1


async def test_an_event_does_not_wait_for_one_that_waits(dispatcher: AsyncEventDispatcher) -> None:
    """The second time, both workers exist."""
    arrived = anyio.Event()

    @dispatcher.listen("wait")
    async def wait(event: Event) -> None:
        await arrived.wait()

    @dispatcher.listen("arrive")
    async def arrive(event: Event) -> None:
        arrived.set()

    async with dispatcher.queue(workers=2) as queue:
        for _ in range(2):
            queue.post_nowait("wait")
            queue.post_nowait("arrive")
            with anyio.fail_after(5):
                await queue.join()
            arrived = anyio.Event()


async def test_an_override_may_return_any_awaitable() -> None:
    stored: list[Any] = []

    class Dispatch:
        def __init__(self, dispatch: Any) -> None:
            self.dispatch = dispatch

        def __await__(self) -> Any:
            return self.dispatch.__await__()

    class Own(AsyncEventDispatcher):
        def adispatch(self, name: Any, event: Any = None, /) -> Any:  # type: ignore[override]
            if name == "refused":
                raise ValueError("refused")
            return Dispatch(super().adispatch(name, event))

    dispatcher = Own()

    @dispatcher.listen("order")
    async def store(event: Event) -> None:
        await lowlevel.checkpoint()
        stored.append(customer.get())

    errors: list[Any] = []
    async with dispatcher.queue(errors=lambda error, *_: errors.append(error)) as queue:
        customer.set("alice")
        await queue.post("order")
        await queue.post("refused")
    assert stored == ["alice"]
    assert [str(error) for error in errors] == ["refused"]


async def test_a_waiting_event_takes_less_than_400_bytes(dispatcher: AsyncEventDispatcher) -> None:
    """Besides the event itself. Each has a context of its own."""
    count = 500
    events = [Order(number) for number in range(2 * count)]
    async with dispatcher.queue(max_buffer_size=count) as queue:
        # Fill the caches, and let the buffer have its full size.
        for event in events[:count]:
            queue.post_nowait("order", event)
        await queue.join()
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for event in events[count:]:
                queue.post_nowait("order", event)
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert (after - before) / count < 400


async def test_scopes_of_a_listener_belong_to_its_worker(dispatcher: AsyncEventDispatcher) -> None:
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


@in_virtual_time()
async def test_the_timeout_of_a_listener_works_in_a_queue() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order", forever, timeout=3)
    errors: list[Any] = []
    async with dispatcher.queue(errors=lambda error, *_: errors.append(error)) as queue:
        await queue.post("order")
        await queue.post("order")
    assert [type(error) for error in errors] == [TimeoutError] * 2
    assert anyio.current_time() == pytest.approx(6, abs=0.1)


async def test_a_stop_in_a_queued_dispatch_is_not_the_posters(dispatcher: AsyncEventDispatcher) -> None:
    """A listener in a race posts, and what the queue runs stops the event of the race: another listener wins."""
    gate = anyio.Event()
    log: list[str] = []

    @dispatcher.listen("offer")
    async def ask_others(event: Event) -> None:
        await queue.post("ask", Order(event))
        try:
            await forever()
        finally:
            log.append("the poster ended")

    @dispatcher.listen("offer")
    async def accept(event: Event) -> None:
        await gate.wait()
        log.append("accepted")

    @dispatcher.listen("ask")
    async def stop(event: Order) -> None:
        event.number.stop_propagation()
        await settle()
        gate.set()

    with anyio.fail_after(5):
        async with dispatcher.queue() as queue:
            await dispatcher.adispatch("offer", strategy=Race())
    assert log == ["accepted", "the poster ended"]


async def test_a_queued_dispatch_has_no_watch_of_the_poster(dispatcher: AsyncEventDispatcher) -> None:
    """Otherwise a chain of posts would keep all its dispatches alive."""
    found: list[bool] = []

    @dispatcher.listen("offer")
    @dispatcher.listen("ask")
    async def look(event: Event) -> None:
        found.append(current_watch.get() is not None)
        if event.name == "offer":
            await queue.post("ask")

    async with dispatcher.queue(strategy=Sequential()) as queue:
        await dispatcher.adispatch("offer", strategy=Concurrent())
    assert found == [True, False]


# Running a coroutine in another context


def test_a_driven_coroutine_is_closed_in_its_context() -> None:
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
