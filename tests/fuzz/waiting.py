"""Random programs of queues, streams, expectations and scopes, of which one part is cancelled at each checkpoint.

A program is run once without a cancellation, which counts the checkpoints of each part, and then once for each of them,
with the cancellation there. The checkpoints of a part are those of its task, of its listeners in other tasks, and of the
workers of its queue. At the end, every event must be accounted for, and no task may be left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Race, Sequential
from tests.cancellation.tasks import is_cancellation, leaves, running_tasks
from tests.fuzz.accounting import (
    Declined,
    FaultError,
    InventedError,
    LostError,
    Placed,
    TaskLeftError,
    choose_pause,
    require,
)
from tests.fuzz.checkpoints import Part, counted_workers, drive, drive_in_part
from tests.fuzz.loops import LoopName, run
from tests.fuzz.queue_part import use_queue
from tests.fuzz.stream_part import read_stream
from tests.helpers import silent_log

__all__ = ("FaultError", "InventedError", "LostError", "TaskLeftError", "Waiting", "check")


def check(seed: int, loop: LoopName) -> Counter[str]:
    """Run the program of a seed without a cancellation, and with one at each checkpoint.

    Returns:
        The counts of all runs.

    Raises:
        FaultError: If an event was lost or invented, or a task is left.
    """
    with silent_log(), counted_workers():
        first = Waiting(seed, None)
        _run(first, loop)
        counts = Counter(first.counts, programs=1)
        for part, number in sorted(first.checkpoints.items()):
            for place in range(number):
                program = Waiting(seed, (part, place))
                _run(program, loop)
                counts += program.counts
    return counts


def _run(program: Waiting, loop: LoopName) -> None:
    try:
        run(loop, program.main, seed=program.seed)
    except BaseException as fault:
        fault.add_note(f"check({program.seed}, {loop!r}), cancelled at {program.moment}")
        raise


class Waiting:
    """A program of a seed.

    Args:
        seed: The seed.
        moment: The number of the part that is cancelled, and its checkpoint. None if nothing is cancelled.
    """

    def __init__(self, seed: int, moment: tuple[int, int] | None) -> None:
        self.seed = seed
        self.moment = moment
        self.chance = random.Random(seed)
        strategy = self.chance.choice((None, Concurrent(), Race(), Sequential(errors="log")))
        self.logs_errors = isinstance(strategy, Sequential)
        self.is_sequential = strategy is None or self.logs_errors
        self.dispatcher = AsyncEventDispatcher(strategy=strategy)
        self.counts = Counter[str](runs=1)
        self.checkpoints: dict[int, int] = {}
        self.numbers = 0
        self.dispatched: set[int] = set()
        self.heard: Counter[int] = Counter()
        #: For each queue and stream, what finds something that waits although it could go on.
        self.watched: list[Callable[[], str | None]] = []
        #: What listeners have found, because an error of a listener may be dropped.
        self.faults: list[FaultError] = []
        #: What has ended, each with the number of its events.
        self.ended: list[tuple[list[int], int]] = []

    async def main(self) -> None:
        """Run all parts, and check what is left."""
        chance = self.chance
        before = running_tasks()
        for _ in range(chance.randint(0, 3)):
            self.dispatcher.add_listener("order.*", self.make_listener(), priority=chance.randint(1, 3))
        listeners = self.dispatcher.get_listeners()
        read, post = partial(read_stream, self), partial(use_queue, self)
        works = [read, read, post, post, self.expect, self.use_scope, self.publish]
        chosen = [self.publish, *(chance.choice(works) for _ in range(chance.randint(2, 4)))]
        async with anyio.create_task_group() as watching:
            watching.start_soon(self.watch)
            async with anyio.create_task_group() as group:
                for number, work in enumerate(chosen):
                    group.start_soon(self.guard, number, work, random.Random(chance.random()))
            watching.cancel_scope.cancel()
        if left := running_tasks() - before:
            raise TaskLeftError(f"still running: {left}")
        if self.faults:
            raise self.faults[0]
        require(not any(times > 1 for times in self.heard.values()), InventedError, "a listener of a queue ran twice")
        require(self.dispatcher.get_listeners() == listeners, FaultError, "a part has left a listener")
        for numbers, length in self.ended:
            require(len(numbers) == length, InventedError, "a listener received an event after its end")

    async def watch(self) -> None:
        """Look for queues and streams that stand still."""
        while True:
            await anyio.sleep(0.7310585786)
            stalled = [find_stall for find_stall in self.watched if find_stall()]
            if stalled:
                # Something may happen at this instant, so look again.
                await anyio.sleep(0.0137)
                self.faults += [LostError(stall) for each in stalled if each in self.watched and (stall := each())]

    async def guard(self, number: int, work: Callable[[Any], Awaitable[None]], chance: random.Random) -> None:
        """Run a part in its scope. Drop the errors of listeners."""
        part = Part(self.moment[1] if self.moment is not None and self.moment[0] == number else None)
        with part.scope:
            try:
                await drive(work(chance), part)
            except (Exception, BaseExceptionGroup) as error:
                unexpected = [
                    leaf for leaf in leaves(error) if not isinstance(leaf, Declined) and not is_cancellation(leaf)
                ]
                if unexpected:
                    raise
        self.checkpoints[number] = part.checkpoints
        self.counts["cancellations"] += part.scope.cancel_called

    def make_listener(self) -> Any:
        """Make a listener that waits, stops the event or cleans up, and may fail in each case."""
        chance = random.Random(self.chance.random())
        kind = chance.choice(("returns", "waits", "stops", "cleans up"))
        rate = chance.choice((0, 0.2, 0.5))

        async def work(event: Placed) -> None:
            if kind == "stops" and chance.random() < 0.3:
                event.stop_propagation()
            try:
                if kind != "returns":
                    await anyio.sleep(choose_pause(chance))
            finally:
                if kind == "cleans up":
                    with anyio.CancelScope(shield=True):
                        await checkpoint()
            if chance.random() < rate:
                raise Declined

        async def listener(event: Placed) -> None:
            self.counts["listeners"] += 1
            await drive_in_part(work(event))

        return listener

    def make_event(self) -> Placed:
        """Make an event with a new number."""
        self.numbers += 1
        self.dispatched.add(self.numbers)
        return Placed(self.numbers)

    async def dispatch(self, on: Any, name: str) -> Placed:
        """Dispatch an event, and drop the errors of its listeners."""
        self.counts["dispatches"] += 1
        event = self.make_event()
        try:
            await on.adispatch(name, event)
        except ExceptionGroup as error:
            if error.split(Declined)[1] is not None:
                raise
        except Declined:
            pass
        return event

    async def publish(self, chance: random.Random) -> None:
        """Dispatch events, and give up after some time."""
        for _ in range(chance.randint(2, 6)):
            await anyio.sleep(choose_pause(chance))
            with anyio.move_on_after(chance.choice((1, 9))):
                await self.dispatch(self.dispatcher, chance.choice(("order.placed", "order.placed", "order.paid")))

    async def expect(self, chance: random.Random) -> None:
        """Expect an event that the block dispatches, or any event until a time limit. The predicate may fail."""
        name = chance.choice(("order.placed", "order.expected"))
        fails = chance.random() < 0.3
        matched: list[Placed] = []

        def matches(event: Placed) -> bool:
            nonlocal fails
            if fails:
                fails = False
                raise Declined
            matched.append(event)
            return True

        if chance.random() < 0.5:
            with anyio.move_on_after(chance.choice((1, chance.uniform(0, 3)))):
                found: Any = await self.dispatcher.wait_for(name, where=matches)
                require(found is matched[0], InventedError, f"{found} was expected before {matched[0]}")
        else:
            async with self.dispatcher.expect(name, where=matches) as expected:
                for _ in range(chance.randint(1, 2)):
                    await self.dispatch(self.dispatcher, name)
                while not matched:
                    await self.dispatch(self.dispatcher, name)
                    await anyio.sleep(1)
            found = expected.event
            require(found is matched[0], InventedError, f"{found} was expected before {matched[0]}")
            require(found.number in self.dispatched, InventedError, "the expectation invented an event")
        numbers = [event.number for event in matched]
        self.ended.append((numbers, len(numbers)))
        self.counts["expectations"] += 1

    async def use_scope(self, chance: random.Random) -> None:
        """Dispatch on a scope: its listeners run for these events alone, and no longer start after its end."""
        heard: list[int] = []
        own: list[int] = []
        late: list[int] = []
        rate = chance.choice((0, 0.3))
        is_open = True

        async def listen(event: Placed) -> None:
            heard.append(event.number)
            if chance.random() < rate:
                raise Declined

        async def listen_late(event: Placed) -> None:
            late.append(event.number)
            if not is_open:
                self.faults.append(InventedError("a listener of a scope ran after its end"))

        async def dispatch_too() -> None:
            if is_open:
                await drive_in_part(self.dispatch(scope, "order.sent"))

        async with anyio.create_task_group() as group:
            with self.dispatcher.scope() as scope:
                try:
                    scope.add_listener("order.placed", listen, priority=-9)
                    scope.add_listener("order.sent", listen, priority=-9)
                    scope.add_listener("order.*", listen_late, priority=4)
                    for _ in range(chance.randint(1, 3)):
                        own.append((await self.dispatch(scope, "order.placed")).number)
                        await anyio.sleep(choose_pause(chance, 1))
                    require(heard == own, LostError, f"the listener of a scope ran for {heard} instead of {own}")
                    if chance.random() < 0.5:
                        group.start_soon(dispatch_too)
                        await anyio.sleep(choose_pause(chance, 1))
                finally:
                    # Nothing runs between this and the end of the scope.
                    is_open = False
        try:
            await scope.adispatch("order.placed", self.make_event())
        except RuntimeError:
            self.counts["scopes"] += 1
        else:
            raise FaultError("a dispatch on a scope that has ended was not refused")
