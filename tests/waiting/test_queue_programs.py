"""Random programs of queues: posters, listeners that post, fail and clean up, and cancellations at random moments.

They use virtual time, so a program is the same in every run. The program itself counts what it must leave behind.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, QueueNotDrained, Race, Sequential
from antiphon.testing import Backend, BackendName, backends
from tests.waiting.helpers import Order, Watch, is_cancellation, leaves

#: How many programs each test runs.
PROGRAMS = 60

#: No listener cleans up longer than this.
CLEANUP = 2.0


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "antiphon")


class QueueProgram:
    """One queue with its body, its posters and its listeners, and what they recorded."""

    def __init__(self, number: int, chance: random.Random, dispatcher: AsyncEventDispatcher) -> None:
        self.chance = chance
        self.number = number
        self.queues: list[QueueProgram] = []
        self.dispatcher = dispatcher
        self.errors: Any = chance.choice(["raise", "collect", "log", self.record])
        self.drain_timeout = chance.choice([None, 0, 1, 5, 50])
        self.options: dict[str, Any] = {
            "max_buffer_size": chance.choice([1, 1, 2, 5]),
            "workers": chance.choice([1, 2, 3]),
            "overflow": chance.choice(["suspend", "suspend", "raise", "drop_oldest", "drop_newest"]),
            "ordered_by": chance.choice([None, lambda event: event.number[1]]),
            "errors": self.errors,
            "drain_timeout": self.drain_timeout,
            "strategy": chance.choice([None, Concurrent(), Race(), Sequential(errors="collect")]),
        }
        self.queue = dispatcher.queue(**self.options)
        self.accepted = self.finished = self.running = 0
        self.recorded: list[Exception] = []
        self.body_error: Exception | None = None
        self.body_ended: float | None = None
        self.ended: float | None = None
        self.left: BaseException | None = None
        dispatcher.add_listener(f"order.{number}", self.serve)

    def record(self, error: Exception, event: Any, name: Any) -> None:
        self.recorded.append(error)

    async def serve(self, event: Order) -> None:
        chance = random.Random(repr(event.number))
        self.running += 1
        try:
            for _ in range(chance.randint(0, 3)):
                await self.act(chance, event.number[2])
        except BaseException:
            if chance.random() < 0.2:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(chance.uniform(0, CLEANUP))
            if chance.random() < 0.1:
                raise ValueError("clean-up", event.number) from None
            raise
        finally:
            self.running -= 1
        self.finished += 1

    async def act(self, chance: random.Random, depth: int) -> None:
        what = chance.choice(["turn", "sleep", "sleep", "fail", "post", "post", "group", "timeout", "nowait"])
        if what == "turn":
            await lowlevel.checkpoint()
        elif what == "sleep":
            await anyio.sleep(chance.uniform(0, 3))
        elif what == "fail" and chance.random() < 0.5:
            raise ValueError("failed")
        elif what == "timeout":
            with anyio.move_on_after(chance.uniform(0, 1)):
                await anyio.sleep(chance.uniform(0, 2))
        elif what == "group":
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, chance.uniform(0, 2))
                if depth < 2:
                    group.start_soon(self.queues[chance.randrange(len(self.queues))].post, chance, depth + 1, 1)
        elif depth < 2:
            other = self.queues[chance.randrange(len(self.queues))]
            await other.post(chance, depth + 1, 0 if what == "nowait" else chance.choice([1, 2]))

    async def post(self, chance: random.Random, depth: int, seconds: float) -> None:
        """Post one event, and wait so many seconds at most. A refusal is not an error here."""
        event = Order((chance.random(), chance.randrange(3), depth))
        try:
            if seconds:
                with anyio.move_on_after(seconds):
                    await self.queue.post(f"order.{self.number}", event)
                    self.accepted += 1
            else:
                self.queue.post_nowait(f"order.{self.number}", event)
                self.accepted += 1
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            if chance.random() < 0.5 and depth:
                raise
        except RuntimeError as exc:
            # The queue has not been entered, or all its listeners would wait for each other.
            if "has not been entered" not in str(exc) and "wait for each other" not in str(exc):
                raise AssertionError from exc

    async def poster(self, chance: random.Random) -> None:
        for _ in range(chance.randint(0, 6)):
            await anyio.sleep(chance.choice([0, 0, chance.uniform(0, 2)]))
            await self.post(chance, 0, chance.choice([0, 5, 50]))

    async def body(self, queue: Any) -> None:
        chance = self.chance
        for _ in range(chance.randint(0, 5)):
            await self.post(chance, 0, 50)
        if chance.random() < 0.2:
            try:
                await queue.join()
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                pass
        await anyio.sleep(chance.choice([0, chance.uniform(0, 5)]))
        if chance.random() < 0.3:
            self.body_error = KeyError("body")
            raise self.body_error

    async def run(self) -> None:
        try:
            async with self.queue as queue:
                try:
                    await self.body(queue)
                finally:
                    self.body_ended = anyio.current_time()
        except BaseException as exc:
            self.left = exc
            raise
        finally:
            self.ended = anyio.current_time()
            assert self.running == 0, "a listener outlived the block"

    def check(self, *, native: int) -> None:
        found = self.queue.statistics()
        assert (found.running, found.current_buffer_used, found.posts_waiting) == (0, 0, 0), found
        assert found.posted == found.done + found.failed + found.dropped + found.unfinished == self.accepted, found
        assert found.done <= self.finished, found
        assert found.dropped == 0 or "drop" in self.options["overflow"]
        self.check_what_left(found, native)
        assert self.body_ended is not None
        assert self.ended is not None
        if self.drain_timeout is not None or self.body_error is not None:
            # A listener that is cut off may clean up.
            assert self.ended - self.body_ended <= (self.drain_timeout or 0) + CLEANUP + 0.01

    def check_what_left(self, found: Any, native: int) -> None:
        left, all_left = self.left, leaves(self.left)
        failures = [leaf for leaf in all_left if isinstance(leaf, ValueError)]
        bodies = [leaf for leaf in all_left if isinstance(leaf, KeyError)]
        cancellations = [leaf for leaf in all_left if is_cancellation(leaf)]
        unfinished = [leaf for leaf in all_left if isinstance(leaf, QueueNotDrained)]
        rest = set(all_left) - {*failures, *bodies, *cancellations, *unfinished}
        # A post that another queue refused is an error of the listener. One that its own queue refused is not.
        others = [other.queue for other in self.queues if other is not self]
        for leaf in rest:
            assert isinstance(leaf, (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.WouldBlock)), leaf
            owner = getattr(leaf, "_antiphon_refused_by", None)
            assert owner in others or isinstance(leaf, anyio.WouldBlock)
        if self.errors in ("raise", "collect"):
            assert bool(failures or rest) == bool(found.failed)
            assert len(failures) + len(rest) >= found.failed
        else:
            assert not failures
            assert not rest
            assert self.errors == "log" or len(self.recorded) == found.failed
        assert bodies == ([] if self.body_error is None else [self.body_error])
        assert len(cancellations) <= 1
        if found.failed and self.errors in ("raise", "collect"):
            assert isinstance(left, BaseExceptionGroup)
        elif bodies and not cancellations:
            assert left is self.body_error
        elif cancellations and not bodies:
            assert left is cancellations[0]
        if unfinished:
            assert [len(error.unfinished) for error in unfinished] == [found.unfinished]
        elif found.unfinished:
            assert bodies or cancellations or failures or rest
        if native:
            assert cancellations


class Program:
    """Some queues in one task each, which post to each other, and the times of cancellations."""

    def __init__(self, seed: int, backend: BackendName) -> None:
        self.chance = random.Random(seed)
        self.native = backend == "asyncio"
        self.counts: dict[QueueProgram, int] = {}

    async def main(self) -> None:
        chance = self.chance
        watch = Watch()
        dispatcher = AsyncEventDispatcher()
        queues = [QueueProgram(number, chance, dispatcher) for number in range(chance.randint(1, 3))]
        for queue in queues:
            queue.queues = queues
        with anyio.fail_after(3000):
            async with anyio.create_task_group() as group:
                for queue in queues:
                    group.start_soon(self.host, queue)
                    for _ in range(chance.randint(0, 2)):
                        group.start_soon(queue.poster, random.Random(chance.random()))
        watch.assert_alone()
        for queue in queues:
            queue.check(native=self.counts.get(queue, 0))

    async def host(self, queue: QueueProgram) -> None:
        chance = self.chance
        moments = [
            chance.choice([0, chance.uniform(0, 4), chance.uniform(0, 12)])
            for _ in range(chance.choice([0, 0, 1, 1, 2, 3]))
        ]
        native = self.native and chance.random() < 0.5
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            if native:
                task = asyncio.create_task(queue.run())
                group.start_soon(self.cancel_natively, task, moments)
                await asyncio.wait([task])
                self.counts[queue] = task.cancelling()
                if not task.cancelled():
                    task.exception()
            else:
                scopes = [scope, *(anyio.CancelScope() for _ in moments[1:])]
                for moment, cancelled in zip(moments, scopes, strict=False):
                    group.start_soon(self.cancel_scope, cancelled, moment)
                await self.within(scopes, queue)
            group.cancel_scope.cancel()

    async def within(self, scopes: list[anyio.CancelScope], queue: QueueProgram) -> None:
        if scopes:
            with scopes[0]:
                await self.within(scopes[1:], queue)
            return
        try:
            await queue.run()
        except (Exception, BaseExceptionGroup):
            # A cancellation in the group belongs to a scope, which is still cancelled.
            await lowlevel.checkpoint()

    async def cancel_scope(self, scope: anyio.CancelScope, moment: float) -> None:
        await anyio.sleep(moment)
        scope.cancel()

    async def cancel_natively(self, task: Any, moments: list[float]) -> None:
        for moment in sorted(moments):
            await anyio.sleep(max(0, moment - anyio.current_time()))
            # Earlier, it would cancel the program, and not a queue.
            await lowlevel.checkpoint()
            task.cancel()


@pytest.mark.parametrize("backend", backends(), ids=str)
@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_random_programs_lose_nothing_and_leave_no_task(backend: Backend, shuffled: bool) -> None:
    for seed in range(PROGRAMS):
        try:
            Backend(backend.name, seed if shuffled else None).run(Program(seed, backend.name).main)
        except BaseException as exc:
            exc.add_note(f"the seed of the program is {seed}")
            raise
