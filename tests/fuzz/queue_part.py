"""The part of a program that posts to a queue."""

from __future__ import annotations

import math
import random
from collections import Counter
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio

from antiphon import QueueNotDrained
from tests.cancellation.tasks import is_cancellation, leaves
from tests.fuzz.accounting import Declined, FaultError, InventedError, LostError, Placed, choose_pause, require
from tests.fuzz.checkpoints import drive_in_part

if TYPE_CHECKING:
    from tests.fuzz.waiting import Waiting

__all__ = ("use_queue",)

#: The number of the event that is posted.
_posted: ContextVar[int] = ContextVar("posted")


async def use_queue(program: Waiting, chance: random.Random) -> None:
    """Post to a queue from one or two tasks."""
    use = _Use(program, chance)
    with program.dispatcher.add_listener(use.name, use.listen):
        try:
            await use.run()
        finally:
            use.check_counts()


class _Use:
    """The use of one queue; each event that it accepted is dispatched, or counted as dropped or unfinished."""

    def __init__(self, program: Waiting, chance: random.Random) -> None:
        self.program = program
        self.chance = chance
        self.name = f"posted.{chance.random()}"
        self.accepted = 0
        self.started: list[int] = []
        #: Who has posted an event, by its number.
        self.posters: dict[int, str] = {}
        self.running_keys: set[int] = set()
        self.finished: Counter[str] = Counter()
        self.broken_at: float | None = None
        self.size = chance.choice((1, 1, 2, 8))
        self.workers = chance.choice((1, 2, 2))
        self.has_keys = chance.random() < 0.5
        self.errors: Any = chance.choice(("raise", "collect", "log", self.receive))
        self.drain_timeout = chance.choice((None, 0, 3))
        self.rate = chance.choice((0, 0.2, 0.5))
        self.longest = chance.choice((0, 2, 5))
        self.queue = program.dispatcher.queue(
            max_buffer_size=self.size,
            workers=self.workers,
            overflow=chance.choice(("suspend", "raise", "drop_oldest", "drop_newest")),
            errors=self.errors,
            ordered_by=self.get_key if self.has_keys else None,
            drain_timeout=self.drain_timeout,
        )

    @staticmethod
    def get_key(event: Placed) -> int:
        return event.number % 2

    def receive(self, error: Exception, event: Any, name: Any) -> None:
        """Receive the error of a dispatch, and fail sometimes."""
        self.finished["received"] += 1
        if self.chance.random() < 0.2:
            self.finished["raised"] += 1
            self.break_queue()
            raise Declined

    def break_queue(self) -> None:
        """Note that the queue must start no dispatch later."""
        if self.broken_at is None:
            self.broken_at = anyio.current_time()

    async def listen(self, event: Placed) -> None:
        self.program.counts["listeners"] += 1
        self.program.heard[event.number] += 1
        self.started.append(event.number)
        self.watch(_posted.get(None) == event.number, InventedError, f"{event.number} runs in {_posted.get(None)}")
        is_late = self.broken_at is not None and self.broken_at < anyio.current_time()
        self.watch(not is_late, InventedError, "a queue that has failed has started a dispatch")
        busy = self.queue.statistics()
        self.watch(busy.current_buffer_used <= self.size, InventedError, f"{busy} has too many events")
        self.watch(busy.running <= self.workers, InventedError, f"{busy} runs too many events")
        key = self.get_key(event)
        if self.has_keys:
            self.watch(key not in self.running_keys, InventedError, f"two events of the key {key} run at a time")
        self.running_keys.add(key)
        try:
            await drive_in_part(self.work())
        finally:
            self.running_keys.discard(key)

    def watch(self, condition: bool, kind: type[FaultError], message: str) -> None:
        """Note a fault, because a listener that raises it would be one that fails."""
        if not condition:
            self.program.faults.append(kind(message))

    async def work(self) -> None:
        await anyio.sleep(choose_pause(self.chance, self.longest))
        if self.chance.random() >= self.rate:
            self.finished["done"] += 1
        elif self.program.logs_errors:
            # A dispatch that logs the error does not fail.
            self.finished["done"] += 1
            raise Declined
        else:
            self.finished["failed"] += 1
            if self.errors == "raise":
                self.break_queue()
            raise Declined

    async def post(self, poster: str, number: int) -> None:
        """Post some events."""
        for _ in range(number):
            event = self.program.make_event()
            self.posters[event.number] = poster
            _posted.set(event.number)
            # A post that was cancelled has added nothing.
            with suppress(anyio.WouldBlock), anyio.move_on_after(self.chance.choice((1, 4, math.inf))):
                await self.queue.post(self.name, event)
                self.accepted += 1
            if self.chance.random() < 0.4:
                await anyio.sleep(choose_pause(self.chance))

    async def post_too(self, number: int) -> None:
        await drive_in_part(self.post("task", number))

    async def use(self) -> None:
        """The body of the block of the queue."""
        async with anyio.create_task_group() as group:
            if self.chance.random() < 0.5:
                group.start_soon(self.post_too, self.chance.randint(1, 3))
            await self.post("body", self.chance.randint(1, 5))
        if self.chance.random() < 0.3:
            await self.queue.join()
            busy = self.queue.statistics()
            self.watch(not busy.running and not busy.current_buffer_used, FaultError, f"join() left {busy}")
        if self.chance.random() < 0.2:
            raise Declined("body")

    async def run(self) -> None:
        body: BaseException | None = None
        raised: BaseException | None = None
        ended_at = 0.0
        try:
            async with self.queue:
                self.program.watched.append(self.find_stall)
                try:
                    await self.use()
                except BaseException as error:
                    body = error
                    raise
                finally:
                    ended_at = anyio.current_time()
        except BaseException as error:
            raised = error
        seconds = anyio.current_time() - ended_at
        self.program.watched.remove(self.find_stall)
        try:
            self.check_end(body, raised, seconds)
            # A queue that has failed also breaks the posts of its block.
            expected = (Declined, anyio.BrokenResourceError, QueueNotDrained)
            if raised is not None:
                raise Declined if all(isinstance(leaf, expected) for leaf in leaves(raised)) else raised
        finally:
            del body, raised

    def find_stall(self) -> str | None:
        busy = self.queue.statistics()
        can_post = busy.posts_waiting and busy.current_buffer_used < self.size
        can_dispatch = busy.current_buffer_used and busy.running < (1 if self.has_keys else self.workers)
        return f"the queue stands still: {busy}" if can_post or can_dispatch else None

    def check_end(self, body: BaseException | None, raised: BaseException | None, seconds: float) -> None:
        """Check what left the block, and how long its end took."""
        counted = self.queue.statistics()
        left = leaves(raised)
        failures = sum(isinstance(leaf, Declined) and leaf.args != ("body",) for leaf in left)
        due = counted.failed if self.errors in ("raise", "collect") else self.finished["raised"]
        require(failures == due, LostError, f"{failures} errors of {due} left the queue: {counted}")
        is_cut = any(map(is_cancellation, left))
        if body is None and not is_cut and not failures:
            undone = [event for leaf in left if isinstance(leaf, QueueNotDrained) for event in leaf.unfinished]
            require(len(undone) == counted.unfinished, LostError, f"{len(undone)} events were reported: {counted}")
        if self.broken_at is not None:
            return
        limit = self.drain_timeout
        if limit is None:
            is_interrupted = is_cut or body is not None
            require(is_interrupted or not counted.unfinished, LostError, f"the drain of the queue left {counted}")
            require(
                body is None or seconds < 0.01, FaultError, f"a queue without a time limit has ended in {seconds} s"
            )
        else:
            require(seconds < limit + 0.01, FaultError, f"the end of a queue took {seconds} s of {limit} s")
            is_over = not counted.unfinished or seconds > limit - 0.01
            require(is_over, LostError, f"the drain of the queue ended after {seconds} s of {limit} s: {counted}")

    def check_counts(self) -> None:
        """Check the counters of the queue and the order of its events."""
        counted = self.queue.statistics()
        accounted = counted.done + counted.failed + counted.dropped + counted.unfinished
        require(accounted == counted.posted, LostError, f"{counted} lost {counted.posted - accounted} events")
        require(counted.posted == self.accepted, InventedError, f"{counted} accepted {self.accepted} posts")
        for word, number in (("done", counted.done), ("failed", counted.failed)):
            at_most = number + counted.unfinished
            require(number <= self.finished[word] <= at_most, LostError, f"{counted} instead of {self.finished}")
        if callable(self.errors):
            require(self.finished["received"] == counted.failed, LostError, f"{counted} reported {self.finished}")
        order: dict[Any, list[int]] = {}
        if self.workers == 1 or self.has_keys:
            for number in self.started:
                order.setdefault((self.posters[number], self.workers > 1 and number % 2), []).append(number)
        for numbers in order.values():
            require(numbers == sorted(numbers), InventedError, f"the queue ran {numbers} in this order")
        self.program.counts["posts"] += counted.posted
        self.program.counts["dispatches"] += len(self.started)
        self.program.ended.append((self.started, len(self.started)))
