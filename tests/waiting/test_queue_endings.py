"""How a queue ends: what leaves its block, and that nothing of it outlives the block, however it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import from_thread, lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Concurrent, Event, ListenerCancelled, QueueNotDrained, Sequential
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.queue_errors import what_leaves
from antiphon.testing import Backend, BackendName
from tests.cancellation.tasks import Watch, forever, is_cancellation, leaves, settle
from tests.waiting.helpers import BOTH, Numbered, ending_of, noting_outcome, outcome, turns


class Shop:
    """A dispatcher whose listeners take, store and refuse orders."""

    def __init__(self) -> None:
        self.dispatcher = AsyncEventDispatcher()
        self.stored: list[Any] = []
        self.dispatcher.add_listener("order", self.store)
        self.dispatcher.add_listener("order.slow", self.slow)
        self.dispatcher.add_listener("order.never", forever)
        self.dispatcher.add_listener("order.bad", self.refuse)

    async def store(self, event: Numbered) -> None:
        self.stored.append(event.number)

    async def slow(self, event: Numbered) -> None:
        await anyio.sleep(3)
        self.stored.append(event.number)

    async def refuse(self, event: Event) -> None:
        raise ValueError("no such article")


class Kept(Exception):
    """An error that one can see the end of."""


def adds_up(queue: Any) -> bool:
    found = queue.statistics()
    over = (found.running, found.current_buffer_used, found.posts_waiting) == (0, 0, 0)
    return over and bool(found.posted == found.done + found.failed + found.dropped + found.unfinished)


# What leaves


async def a_cancellation() -> BaseException:
    caught: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await forever()
        except BaseException as exc:
            caught.append(exc)
            raise
    return caught[0]


def test_what_leaves_is_the_one_end_or_a_group_with_all_failures() -> None:
    async def main() -> None:
        first, second = await a_cancellation(), await a_cancellation()
        failure, body, interrupt = ValueError("order"), KeyError("body"), KeyboardInterrupt()
        mixed = BaseExceptionGroup("body", [body, first])
        cases: list[tuple[list[Any], list[Any], Any]] = [
            ([], [], None),
            ([], [body], body),
            ([], [first], first),
            ([], [first, second, second], first),
            ([], [mixed], mixed),
            ([], [interrupt], interrupt),
            ([], [first, interrupt, second], interrupt),
            ([failure], [], [failure]),
            ([failure], [body], [failure, body]),
            ([failure], [first, second], [failure, first]),
            ([failure], [second, interrupt], [failure, interrupt]),
            ([], [body, first, second], [body, first]),
        ]
        for failures, ends, expected in cases:
            left = what_leaves("ended", failures, ends)
            if isinstance(expected, list):
                assert isinstance(left, BaseExceptionGroup)
                assert list(left.exceptions) == expected
                assert isinstance(left, ExceptionGroup) == all(isinstance(end, Exception) for end in expected)
            else:
                assert left is expected

    for backend in ("asyncio", "trio"):
        Backend(backend).run(main)


@pytest.mark.parametrize("errors", ["raise", "collect", "log", "function"])
@pytest.mark.parametrize("ending", ["cancelled", "body raises"])
async def test_listeners_that_wait_for_room_add_no_error_at_the_end(errors: Any, ending: str) -> None:
    """They are cancelled; the queue does not refuse what waits in it."""
    seen: list[Any] = []
    in_listener: list[BaseException] = []
    shop = Shop()
    queue = shop.dispatcher.queue(
        max_buffer_size=1, workers=2, errors=(lambda *found: seen.append(found)) if errors == "function" else errors
    )

    @shop.dispatcher.listen("basket")
    async def split_up(event: Event) -> None:
        try:
            for number in range(3):
                await queue.post("order.never", Numbered(number))
        except BaseException as exc:
            in_listener.append(exc)
            raise

    error = KeyError("body")
    with anyio.CancelScope() as scope:

        async def body(queue: Any) -> None:
            await queue.post("basket")
            await settle()
            assert queue.statistics().posts_waiting == 1
            if ending == "body raises":
                raise error
            scope.cancel()
            await forever()

        left = await ending_of(queue, body)
    assert left is error if ending == "body raises" else is_cancellation(left)
    assert seen == []
    assert list(map(is_cancellation, in_listener)) == [True]
    assert adds_up(queue)
    assert queue.statistics().failed == 0


async def in_a_shield(queue: Any) -> None:
    with anyio.CancelScope(shield=True):
        await queue.post("order.never")
        await queue.post("order.never")


async def in_a_group(queue: Any) -> None:
    async with anyio.create_task_group() as group:
        with anyio.CancelScope(shield=True):
            group.start_soon(queue.post, "order.never")
            await in_a_shield(queue)


async def in_a_cleanup(queue: Any) -> None:
    try:
        await forever()
    finally:
        queue.post_nowait("order.never")


@pytest.mark.parametrize("way", [in_a_shield, in_a_group, in_a_cleanup], ids=lambda way: way.__name__)
@pytest.mark.parametrize("broken", [False, True], ids=["ended", "broken"])
async def test_a_refused_post_in_a_listener_is_no_error_of_its_dispatch(
    way: Callable[[Any], Any], broken: bool
) -> None:
    shop = Shop()
    gate = anyio.Event()

    @shop.dispatcher.listen("order.gate")
    async def wait_and_refuse(event: Event) -> None:
        await gate.wait()
        raise ValueError("no such article")

    @shop.dispatcher.listen("basket")
    async def post_more(event: Event) -> None:
        await way(queue)

    queue = shop.dispatcher.queue(max_buffer_size=1, workers=2)
    with anyio.fail_after(5), anyio.CancelScope() as scope:

        async def body(queue: Any) -> None:
            await queue.post("order.gate")
            await settle()
            await queue.post("basket")
            await settle()
            if broken:
                gate.set()
            else:
                scope.cancel()
            await forever()

        left = await ending_of(queue, body)
    found = leaves(left)
    assert [type(leaf) for leaf in found if not is_cancellation(leaf)] == [ValueError] * broken
    assert adds_up(queue)


async def test_a_body_that_gets_the_refusal_of_a_broken_queue_adds_nothing() -> None:
    shop = Shop()

    async def body(queue: Any) -> None:
        await queue.post("order.bad")
        with anyio.CancelScope(shield=True):
            await settle()
            await queue.post("order")

    left = await ending_of(shop.dispatcher.queue(), body)
    assert type(left) is ExceptionGroup
    assert [str(leaf) for leaf in leaves(left)] == ["no such article"]


async def test_an_error_that_a_body_makes_of_a_refusal_leaves_too() -> None:
    shop = Shop()

    async def body(queue: Any) -> None:
        await queue.post("order.bad")
        with anyio.CancelScope(shield=True):
            await settle()
            try:
                await queue.post("order")
            except anyio.BrokenResourceError as exc:
                raise LookupError("the shop is shut") from exc

    left = await ending_of(shop.dispatcher.queue(), body)
    assert [type(leaf) for leaf in leaves(left)] == [ValueError, LookupError]
    # The traceback shows each of them once.
    assert "".join(traceback.format_exception(left)).count("LookupError: the shop is shut") == 1


async def test_the_refusal_of_a_broken_queue_has_a_text_and_the_failure_as_its_cause() -> None:
    shop = Shop()
    refused: list[Any] = []
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            # One that waits for room when it happens, one that waits for all, and those that come later.
            shop.dispatcher.add_listener("order.wait", wait)
            await queue.post("order.wait")
            await settle()
            await queue.post("order")
            group.start_soon(noting_outcome, lambda: queue.post("order"), refused)
            group.start_soon(noting_outcome, queue.join, refused)
            await settle()
            go.set()
            with anyio.CancelScope(shield=True):
                await settle()
                refused.append(await outcome(queue.post("order")))
                refused.append(await outcome(queue.join()))
            with pytest.raises(anyio.BrokenResourceError) as caught:
                queue.post_nowait("order")
            refused.append(caught.value)

        go = anyio.Event()

        async def wait(event: Event) -> None:
            await go.wait()
            raise ValueError("no such article")

        queue = shop.dispatcher.queue(max_buffer_size=1)
        left = await ending_of(queue, body)
    refused.append(await outcome(queue.post("order")))
    (failure,) = leaves(left)
    assert len(refused) == 6
    for error in refused:
        assert type(error) is anyio.BrokenResourceError
        assert error.__cause__ is failure
        assert "no such article" in str(error)
        assert "errors='log'" in str(error)
    assert "no such article" in "".join(traceback.format_exception(refused[0]))


async def test_the_refusal_of_an_ended_queue_says_what_to_do() -> None:
    async with AsyncEventDispatcher().queue() as queue:
        pass
    with pytest.raises(anyio.ClosedResourceError, match="async with") as caught:
        await queue.post("order")
    assert caught.value.__cause__ is None


async def test_what_a_function_raises_is_the_cause_of_later_refusals() -> None:
    shop = Shop()

    def convert(error: Exception, event: Any, name: Any) -> None:
        raise LookupError(name) from error

    queue = shop.dispatcher.queue(errors=convert)
    left = await ending_of(queue, lambda queue: queue.post("order.bad"))
    with pytest.raises(anyio.BrokenResourceError) as caught:
        await queue.post("order")
    assert leaves(left) == [caught.value.__cause__]


# However it is cancelled


@BOTH
@pytest.mark.parametrize("ending", ["cancelled", "body raises"])
@pytest.mark.parametrize("drain_timeout", [None, 0, 10])
@pytest.mark.parametrize("again", [0, 1, 2, 3])
def test_scope_cancellations_while_it_ends_lose_nothing(
    backend: BackendName, ending: str, drain_timeout: float | None, again: int
) -> None:
    async def main() -> None:
        watch = Watch()
        shop = Shop()
        error = KeyError("body")
        scopes = [anyio.CancelScope() for _ in range(again)]

        async def cancel_all() -> None:
            for scope in scopes:
                await anyio.sleep(0.5)
                scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel_all)
            with anyio.CancelScope() as outer:
                async with anyio.create_task_group() as nested:
                    nested.start_soon(lowlevel.checkpoint)
                    left = await within(scopes, lambda: body_in_queue(shop, ending, outer, error, drain_timeout))
            assert left is error if ending == "body raises" else is_cancellation(left)
        assert shop.stored == ([1, 2] if drain_timeout == 10 else [])
        await anyio.sleep(20)
        assert shop.stored == ([1, 2] if drain_timeout == 10 else [])
        watch.assert_alone()

    async def within(scopes: list[Any], call: Callable[[], Any]) -> Any:
        if not scopes:
            return await call()
        with scopes[0]:
            return await within(scopes[1:], call)
        return None

    async def body_in_queue(
        shop: Shop, ending: str, outer: anyio.CancelScope, error: Exception, drain_timeout: float | None
    ) -> Any:
        async def body(queue: Any) -> None:
            await queue.post("order.slow", Numbered(1))
            await queue.post("order.slow", Numbered(2))
            await anyio.sleep(0.1)
            if ending == "body raises":
                raise error
            outer.cancel()
            await forever()

        queue = shop.dispatcher.queue(drain_timeout=drain_timeout)
        left = await ending_of(queue, body)
        assert adds_up(queue)
        with pytest.raises(anyio.ClosedResourceError):
            queue.post_nowait("order")
        return left

    Backend(backend).run(main)


@pytest.mark.parametrize("ending", ["cancelled", "body raises", "body ends"])
@pytest.mark.parametrize("drain_timeout", [None, 0, 10])
@pytest.mark.parametrize("cleanup", [False, True], ids=["plain", "cleanup"])
@pytest.mark.parametrize("times", [[], [0.2], [0.2, 0.2], [0.2, 0.7, 1.1], [0.2, 5, 5.1, 5.2], [0, 0, 0]])
def test_native_cancellations_while_it_ends_lose_nothing(
    ending: str, drain_timeout: float | None, cleanup: bool, times: list[float]
) -> None:
    """In the drain, in the grace, and while dispatches that were cut off clean up."""

    async def main() -> None:
        shop = Shop()
        watch = Watch()
        error = KeyError("body")
        lefts: list[Any] = []
        queue = shop.dispatcher.queue(drain_timeout=drain_timeout)

        @shop.dispatcher.listen("order.slow", priority=-1)
        async def clean_up(event: Event) -> None:
            try:
                await anyio.sleep(6)
            finally:
                if cleanup:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(2)

        async def body(queue: Any) -> None:
            await queue.post("order.slow", Numbered(1))
            await queue.post("order.slow", Numbered(2))
            await anyio.sleep(0.1)
            if ending == "body raises":
                raise error
            if ending == "cancelled":
                await anyio.sleep(1000)

        async def program() -> None:
            lefts.append(await ending_of(queue, body))
            if lefts[0] is not None:
                raise lefts[0]

        task = asyncio.create_task(program())
        await anyio.sleep(0.05)
        if ending == "cancelled":
            task.cancel()
        for moment in times:
            await anyio.sleep(max(0, moment - anyio.current_time()))
            task.cancel()
        await asyncio.wait([task])
        watch.assert_alone()
        assert adds_up(queue)
        count = task.cancelling()
        assert count <= len(times) + (ending == "cancelled")
        self_made = [leaf for leaf in leaves(lefts[0]) if not is_cancellation(leaf)]
        allowed = {KeyError} if ending == "body raises" else {QueueNotDrained} if ending == "body ends" else set()
        assert {type(leaf) for leaf in self_made} <= allowed
        if ending == "body raises" and not (times and times[0] < 0.1):
            assert error in leaves(lefts[0])
            assert (lefts[0] is error) == (count == 0)
        if count:
            assert sum(map(is_cancellation, leaves(lefts[0]))) == 1
            assert task.cancelled() == (not self_made)
        with pytest.raises(anyio.ClosedResourceError):
            queue.post_nowait("order")

    Backend("asyncio").run(main)


def test_a_native_cancellation_in_the_grace_lets_the_grace_go_on() -> None:
    async def main() -> None:
        shop = Shop()
        queue = shop.dispatcher.queue(drain_timeout=60)

        async def program() -> None:
            async with queue:
                await queue.post("order.slow", Numbered(1))
                await queue.post("order.slow", Numbered(2))
                await anyio.sleep(1)
                raise KeyError("body")

        task = asyncio.create_task(program())
        await anyio.sleep(2)
        task.cancel()
        await asyncio.wait([task])
        assert shop.stored == [1, 2]
        left = task.exception()
        assert isinstance(left, BaseExceptionGroup)
        assert [type(leaf) for leaf in leaves(left)] == [KeyError, asyncio.CancelledError]

    Backend("asyncio").run(main)


@BOTH
def test_a_failure_in_a_broken_queue_ends_it_without_a_grace(backend: BackendName) -> None:
    async def main() -> None:
        shop = Shop()
        queue = shop.dispatcher.queue(drain_timeout=60, workers=2)

        async def body(queue: Any) -> None:
            await queue.post("order.never")
            await queue.post("order.bad")
            try:
                await forever()
            finally:
                raise KeyError("body")

        left = await ending_of(queue, body)
        assert [type(leaf) for leaf in leaves(left)] == [ValueError, KeyError]
        assert anyio.current_time() < 1

    Backend(backend).run(main)


@BOTH
def test_an_error_of_the_body_leaves_unwrapped_though_a_scope_is_cancelled_meanwhile(backend: BackendName) -> None:
    async def main() -> None:
        shop = Shop()
        error = KeyError("body")

        @shop.dispatcher.listen("order.tidy")
        async def tidy(event: Event) -> None:
            try:
                await forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(5)

        for drain_timeout in (None, 3):
            with anyio.move_on_after(2):

                async def body(queue: Any) -> None:
                    await queue.post("order.tidy")
                    await anyio.sleep(1)
                    raise error

                queue = shop.dispatcher.queue(drain_timeout=drain_timeout)
                assert await ending_of(queue, body) is error
                assert adds_up(queue)

    Backend(backend).run(main)


@pytest.mark.parametrize("drain_timeout", [None, 10])
@pytest.mark.parametrize("name", ["order.never", "order"])
def test_all_tasks_of_the_loop_are_cancelled_at_once(drain_timeout: float | None, name: str) -> None:
    """As ``asyncio.run`` does at its end: a cancellation leaves, and no error is made of it."""

    async def main() -> None:
        shop = Shop()
        for _ in range(10):
            queue = shop.dispatcher.queue(drain_timeout=drain_timeout, workers=3)

            async def program() -> None:
                async with queue:
                    await queue.post(name, Numbered(1))
                    await queue.post(name, Numbered(2))
                    await anyio.sleep(1000)

            task = asyncio.create_task(program())
            await settle()
            before = asyncio.current_task()
            everything = asyncio.all_tasks() - {before}
            for other in everything:
                other.cancel()
            await asyncio.wait([task])
            assert asyncio.all_tasks() == {before}
            if drain_timeout is None or name == "order":
                assert task.cancelled()
            else:
                # Their dispatches were cancelled, though the grace was theirs: the policy sees that.
                assert task.cancelled() or {type(leaf) for leaf in leaves(task.exception())} == {
                    ListenerCancelled,
                    asyncio.CancelledError,
                }

    Backend("asyncio").run(main)


# Interrupts


@BOTH
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("errors", ["raise", "collect", "log"])
def test_an_interrupt_of_a_listener_leaves_bare(backend: BackendName, interrupt: Any, errors: Any) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order")
        async def stop(event: Event) -> None:
            raise interrupt

        async with dispatcher.queue(errors=errors, drain_timeout=100) as queue:
            await queue.post("order")
            await forever()

    with pytest.raises(interrupt):
        Backend(backend).run(main)


@BOTH
def test_an_interrupt_of_the_body_ends_the_queue_at_once(backend: BackendName) -> None:
    async def main() -> None:
        shop = Shop()
        error = KeyboardInterrupt()

        async def body(queue: Any) -> None:
            await queue.post("order.never")
            await settle()
            raise error

        assert await ending_of(shop.dispatcher.queue(drain_timeout=100), body) is error
        assert anyio.current_time() < 1

    Backend(backend).run(main)


# Leaks: a cancellation that the queue did not ask for


def listener_that_leaks(how: str) -> Callable[[Any], Any]:
    async def raise_it(event: Event) -> None:
        raise asyncio.CancelledError("lost")

    async def await_what_was_cancelled(event: Event) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async def cancel_its_own_task(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await lowlevel.checkpoint()

    return {"raised": raise_it, "awaited": await_what_was_cancelled, "own task": cancel_its_own_task}[how]


@pytest.mark.parametrize("strategy", [None, Concurrent(), Sequential(errors="collect")], ids=repr)
@pytest.mark.parametrize("how", ["raised", "awaited", "own task"])
async def test_a_leaked_cancellation_is_seen_by_the_policy_and_the_queue_goes_on(
    how: str, strategy: Any, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio gives cancellations to nobody who did not ask")
    shop = Shop()
    shop.dispatcher.add_listener("order.leak", listener_that_leaks(how))
    seen: list[Any] = []

    def note(error: Exception, event: Any, name: Any) -> None:
        seen.append((error, name))

    async with shop.dispatcher.queue(errors=note, strategy=strategy) as queue:
        for number in range(3):
            await queue.post("order.leak")
            await queue.post("order", Numbered(number))
        await queue.join()
        assert shop.stored == [0, 1, 2]
    assert len(seen) == 3
    for error, name in seen:
        assert name == "order.leak"
        assert all(isinstance(leaf, ListenerCancelled) for leaf in leaves(error))
        assert all(isinstance(leaf.__cause__, asyncio.CancelledError) for leaf in leaves(error))
    assert adds_up(queue)
    assert queue.statistics().failed == 3


async def test_a_dispatch_that_leaks_under_raise_breaks_the_queue_with_the_note_of_the_listener(
    anyio_backend_name: str,
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio gives cancellations to nobody who did not ask")

    class Leaking(AsyncEventDispatcher):
        async def adispatch(self, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
            error = asyncio.CancelledError()
            error.add_note("raised in listener shop.store")
            raise error

    left = await ending_of(Leaking().queue(), lambda queue: queue.post("order"))
    (leak,) = leaves(left)
    assert isinstance(leak, ListenerCancelled)
    assert isinstance(leak.__cause__, asyncio.CancelledError)
    assert leak.__notes__ == ["raised in listener shop.store"]


async def test_what_a_listener_leaves_on_its_task_does_not_reach_later_dispatches(anyio_backend_name: str) -> None:
    """A request that nobody takes back, as an old-style timeout leaves it, and one that is not delivered yet."""
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    shop = Shop()
    counts: list[int] = []

    @shop.dispatcher.listen("order.timeout")
    async def survive(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await lowlevel.checkpoint()
        except asyncio.CancelledError:
            pass

    @shop.dispatcher.listen("order.late")
    async def cancel_and_return(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    @shop.dispatcher.listen("order.count")
    async def count(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        await turns(2)
        counts.append(task.cancelling())

    async with shop.dispatcher.queue() as queue:
        for name in ("order.timeout", "order.count", "order.late", "order.count"):
            await queue.post(name)
        await queue.join()
        await queue.post("order.count")
    assert counts == [0, 0, 0]
    assert queue.statistics()[:5] == (5, 5, 0, 0, 0)


async def test_an_idle_worker_that_is_cancelled_is_replaced(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    shop = Shop()
    before = asyncio.all_tasks()
    async with shop.dispatcher.queue() as queue:
        for number in range(3):
            await settle()
            for worker in asyncio.all_tasks() - before:
                worker.cancel()
            await settle()
            await queue.post("order", Numbered(number))
    assert shop.stored == [0, 1, 2]


# The moment of the cut


async def test_nothing_starts_once_the_queue_is_broken() -> None:
    """The second worker is started while the first has the event that fails at once."""
    shop = Shop()
    queue = shop.dispatcher.queue(workers=2)

    async def body(queue: Any) -> None:
        queue.post_nowait("order.bad")
        queue.post_nowait("order", Numbered(1))
        await forever()

    left = await ending_of(queue, body)
    assert [type(leaf) for leaf in leaves(left)] == [ValueError]
    assert shop.stored == []
    assert queue.statistics()[:5] == (2, 0, 1, 0, 1)


async def test_what_a_thread_posts_in_the_moment_of_the_end_is_dispatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is open, so that the queue is about to be closed, and just then a thread posts."""
    shop = Shop()
    close = Buffer.close
    posted: list[int] = []

    def late(self: Any, **options: Any) -> bool:
        if not posted:
            posted.append(1)
            queue.post_nowait("order", Numbered(1))
        return close(self, **options)

    monkeypatch.setattr(Buffer, "close", late)
    async with shop.dispatcher.queue() as queue:
        pass
    assert shop.stored == [1]
    assert queue.statistics()[:5] == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("how", ["join", "drain"])
async def test_join_and_the_drain_wait_for_a_post_that_has_been_woken(how: str) -> None:
    """The only event is done before the poster that waits for room has had its turn."""
    shop = Shop()
    go = anyio.Event()

    @shop.dispatcher.listen("order.wait")
    async def wait(event: Event) -> None:
        await go.wait()

    async with anyio.create_task_group() as group:
        async with shop.dispatcher.queue(max_buffer_size=1) as queue:
            await queue.post("order.wait")
            await settle()
            for number in range(5):
                group.start_soon(queue.post, "order", Numbered(number))
            await settle()
            assert queue.statistics().posts_waiting == 4
            go.set()
            if how == "join":
                await queue.join()
                assert len(shop.stored) == 5
    assert len(shop.stored) == 5


async def test_join_is_refused_when_what_it_waits_for_has_not_started_and_is_undone() -> None:
    shop = Shop()
    joined: list[Any] = []
    go, last = anyio.Event(), anyio.Event()

    @shop.dispatcher.listen("order.last")
    async def post_another(event: Event) -> None:
        await go.wait()
        queue.post_nowait("order.never")
        last.set()

    queue = shop.dispatcher.queue()
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await queue.post("order.last")
            group.start_soon(noting_outcome, queue.join, joined)
            await settle()
            go.set()
            await last.wait()
            # The worker may not have taken the new event.
            raise KeyError("body")

        assert isinstance(await ending_of(queue, body), KeyError)
    assert [type(error) for error in joined] == [anyio.ClosedResourceError]
    assert queue.statistics().unfinished == 1


async def test_an_ended_queue_keeps_no_error_that_has_left() -> None:
    shop = Shop()
    gone: weakref.WeakSet[Kept] = weakref.WeakSet()

    @shop.dispatcher.listen("order.kept")
    async def fail(event: Event) -> None:
        kept = Kept()
        gone.add(kept)
        raise kept

    queue = shop.dispatcher.queue(errors="collect")
    error = await ending_of(queue, lambda queue: queue.post("order.kept"))
    assert [type(leaf) for leaf in leaves(error)] == [Kept]
    del error
    await settle()
    gc.collect()
    assert not list(gone)
    assert queue.statistics().failed == 1


async def test_a_post_cancelled_in_the_moment_of_its_turn_has_posted_nothing(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("a scope spares a task that has been woken, and trio has no other cancellation")
    shop = Shop()
    go = anyio.Event()

    @shop.dispatcher.listen("order.wait")
    async def wait(event: Event) -> None:
        await go.wait()

    tasks: list[Any] = []
    async with shop.dispatcher.queue(max_buffer_size=1) as queue:
        await queue.post("order.wait")
        await settle()
        await queue.post("order", Numbered(0))
        for number in (1, 2):
            tasks.append(asyncio.create_task(queue.post("order", Numbered(number))))
            await settle()
        go.set()
        while not shop.stored:
            # Until the poster has been woken, whichever turn that takes.
            await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
        assert not tasks[1].cancelled()
    assert shop.stored == [0, 2] if tasks[0].cancelled() else [0, 1, 2]
    assert adds_up(queue)


# Waiting for itself


@pytest.mark.parametrize("how", ["itself", "a task", "a thread", "a nested dispatch"])
async def test_join_in_a_listener_of_the_queue_is_refused(how: str) -> None:
    shop = Shop()
    refused: list[Any] = []

    @shop.dispatcher.listen("order.join")
    async def join(event: Event) -> None:
        if how == "itself":
            refused.append(await outcome(queue.join()))
        elif how == "a task":
            async with anyio.create_task_group() as group:
                group.start_soon(noting_outcome, queue.join, refused)
        elif how == "a thread":
            refused.append(await to_thread.run_sync(lambda: from_thread.run(outcome, queue.join())))
        else:
            await shop.dispatcher.adispatch("order.join.nested")

    @shop.dispatcher.listen("order.join.nested")
    async def nested(event: Event) -> None:
        refused.append(await outcome(queue.join()))

    with anyio.fail_after(5):
        async with shop.dispatcher.queue(workers=2) as queue:
            await queue.post("order.join")
    assert [type(error) for error in refused] == [RuntimeError]
    assert "wait for itself" in str(refused[0])


async def test_a_task_that_outlives_its_dispatch_may_join_and_so_may_listeners_of_other_queues() -> None:
    shop = Shop()
    log: list[Any] = []
    ended = anyio.Event()

    async def join_later() -> None:
        await ended.wait()
        log.append(await outcome(queue.join()))

    async with anyio.create_task_group() as group:

        @shop.dispatcher.listen("order.later")
        async def start(event: Event) -> None:
            group.start_soon(join_later)

        @shop.dispatcher.listen("order.other")
        async def join_other(event: Event) -> None:
            log.append(await outcome(queue.join()))

        with anyio.fail_after(5):
            async with shop.dispatcher.queue() as queue, shop.dispatcher.queue() as other:
                await queue.post("order.later")
                await queue.join()
                ended.set()
                await other.post("order.other")
    assert log == [None, None]


@pytest.mark.parametrize("ordered", [False, True], ids=["plain", "lanes"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_listeners_that_all_wait_for_room_in_their_own_queue_are_refused(workers: int, ordered: bool) -> None:
    shop = Shop()
    refused: list[Any] = []

    @shop.dispatcher.listen("basket")
    async def split_up(event: Numbered) -> None:
        for number in range(3):
            result = await outcome(queue.post("order", Numbered(number)))
            if result is not None:
                refused.append(result)

    by_nothing: Any = (lambda event: 1) if ordered else None
    with anyio.fail_after(5):
        async with shop.dispatcher.queue(max_buffer_size=1, workers=workers, ordered_by=by_nothing) as queue:
            for number in range(workers):
                await queue.post("basket", Numbered(number))
    assert refused
    assert {type(error) for error in refused} == {RuntimeError}
    assert "post_nowait" in str(refused[0])
    assert adds_up(queue)
    assert queue.statistics().done == queue.statistics().posted
    assert len(shop.stored) + len(refused) == 3 * workers


async def test_back_pressure_in_a_listener_is_kept_while_another_worker_makes_room() -> None:
    shop = Shop()

    @shop.dispatcher.listen("basket")
    async def split_up(event: Event) -> None:
        for number in range(10):
            await queue.post("order", Numbered(number))

    with anyio.fail_after(5):
        async with shop.dispatcher.queue(max_buffer_size=1, workers=2) as queue:
            await queue.post("basket")
    assert shop.stored == list(range(10))


async def test_a_task_that_a_listener_starts_and_leaves_may_wait_for_room() -> None:
    """The listener does not wait for it, and so makes room when it ends."""
    shop = Shop()
    async with anyio.create_task_group() as group:

        async def post_two() -> None:
            await queue.post("order", Numbered(1))
            await queue.post("order", Numbered(2))

        @shop.dispatcher.listen("basket")
        async def start(event: Event) -> None:
            group.start_soon(post_two)
            await settle()

        with anyio.fail_after(5):
            async with shop.dispatcher.queue(max_buffer_size=1) as queue:
                await queue.post("basket")
    assert shop.stored == [1, 2]


@BOTH
def test_a_bound_on_the_time_keeps_a_post_in_a_listener_waiting(backend: BackendName) -> None:
    async def main() -> None:
        shop = Shop()
        log: list[Any] = []

        @shop.dispatcher.listen("basket")
        async def split_up(event: Event) -> None:
            with anyio.move_on_after(2) as scope:
                await queue.post("order", Numbered(1))
                await queue.post("order", Numbered(2))
            log.append((scope.cancelled_caught, anyio.current_time()))

        async with shop.dispatcher.queue(max_buffer_size=1) as queue:
            await queue.post("basket")
        assert log == [(True, pytest.approx(2))]
        assert shop.stored == [1]

    Backend(backend).run(main)
