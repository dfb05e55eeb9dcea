"""Random programs of queues, streams, expectations and scopes, of which one part is cancelled at each checkpoint.

A program is run once without a cancellation, which counts the checkpoints of each part, and then once for each of them,
with the cancellation there. The checkpoints of a part are those of its task, of its listeners in other tasks, and of the
workers of its queue. At the end, every event must be accounted for, and no task may be left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from types import coroutine
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, QueueNotDrained, Race, Sequential, StreamLagged
from tests.cancellation.tasks import is_cancellation, leaves, running_tasks
from tests.fuzz.loops import LoopName, run
from tests.helpers import silent_log

__all__ = ("FaultError", "InventedError", "LostError", "TaskLeftError", "check")

_OVERFLOWS = ("suspend", "raise", "drop_oldest", "drop_newest")


class FaultError(AssertionError):
    """A program did not do what it must."""


class LostError(FaultError):
    """An event or a listener is missing."""


class InventedError(FaultError):
    """An event or a listener came that must not, or came twice."""


class TaskLeftError(FaultError):
    """A task still runs after the end of the program."""


class Placed(Event):
    """An event with a number that no other event of its program has."""

    def __init__(self, number: int) -> None:
        self.number = number


class Declined(Exception):
    """The error of a listener."""


def check(seed: int, loop: LoopName) -> Counter[str]:
    """Run the program of a seed without a cancellation, and with one at each checkpoint.

    Returns:
        The counts of all runs.

    Raises:
        FaultError: If an event was lost or invented, or a task is left.
    """
    with silent_log():
        first = _Program(seed, None)
        _run(first, loop)
        counts = Counter(first.counts, programs=1)
        for part, number in sorted(first.checkpoints.items()):
            for place in range(number):
                program = _Program(seed, (part, place))
                _run(program, loop)
                counts += program.counts
    return counts


def _run(program: _Program, loop: LoopName) -> None:
    try:
        run(loop, program.main, seed=program.seed)
    except BaseException as fault:
        fault.add_note(f"check({program.seed}, {loop!r}), cancelled at {program.moment}")
        raise


class _Part:
    """A part of a program: it runs in a scope of its own, and counts its checkpoints.

    Args:
        place: The checkpoint at which the scope is cancelled, or None.
    """

    def __init__(self, place: int | None) -> None:
        self.place = place
        self.scope = anyio.CancelScope()
        self.task_id = anyio.get_current_task().id
        self.checkpoints = 0

    def count(self) -> None:
        """Count a checkpoint, and cancel the scope if it is the right one."""
        if self.checkpoints == self.place:
            self.scope.cancel()
        self.checkpoints += 1


#: The part to which the running code belongs. The tasks of concurrent listeners and the items of a queue inherit it.
_current_part: ContextVar[_Part] = ContextVar("current_part")


@coroutine
def _drive(work: Any, part: _Part) -> Generator[Any, Any, None]:
    """Drive a coroutine, and count its checkpoints."""
    to_send: Any = None
    error: BaseException | None = None
    while True:
        try:
            yielded = work.throw(error) if error is not None else work.send(to_send)
        except StopIteration:
            return
        part.count()
        error = None
        try:
            to_send = yield yielded
        except BaseException as exc:
            error = exc


async def _drive_listener(work: Any) -> None:
    """Count the checkpoints of a listener, unless it runs in the task of its part, which is driven already."""
    part = _current_part.get()
    await (work if anyio.get_current_task().id == part.task_id else _drive(work, part))


class _Program:
    def __init__(self, seed: int, moment: tuple[int, int] | None) -> None:
        self.seed = seed
        self.moment = moment
        self.chance = random.Random(seed)
        strategy = self.chance.choice((None, Concurrent(), Race(), Sequential(errors="log")))
        self.logs_errors = isinstance(strategy, Sequential)
        self.dispatcher = AsyncEventDispatcher(strategy=strategy)
        self.counts = Counter[str](runs=1)
        self.checkpoints: dict[int, int] = {}
        self.numbers = 0
        self.dispatched: set[int] = set()
        self.heard: Counter[int] = Counter()
        #: Dispatches that run or were cancelled, so that they may have reached one listener and not the next.
        self.uncertain = 0
        #: Queues and streams that have ended, each with what it has delivered.
        self.ended: list[tuple[list[int], int]] = []

    async def main(self) -> None:
        chance = self.chance
        before = running_tasks()
        for _ in range(chance.randint(0, 3)):
            self.dispatcher.add_listener("order.*", self.make_listener(), priority=chance.randint(1, 3))
        listeners = self.dispatcher.get_listeners()
        works = [self.read, self.expect, self.post, self.use_scope, self.publish]
        chosen = [self.publish, *(chance.choice(works) for _ in range(chance.randint(2, 4)))]
        async with anyio.create_task_group() as group:
            for number, work in enumerate(chosen):
                group.start_soon(self.guard, number, work, random.Random(chance.random()))
        if left := running_tasks() - before:
            raise TaskLeftError(f"still running: {left}")
        _check(not any(times > 1 for times in self.heard.values()), InventedError, "a listener of a queue ran twice")
        _check(self.dispatcher.get_listeners() == listeners, FaultError, "a part has left a listener")
        for numbers, length in self.ended:
            _check(len(numbers) == length, InventedError, "a queue or a stream delivered an event after its end")

    async def guard(self, number: int, work: Callable[[Any], Awaitable[None]], chance: random.Random) -> None:
        part = _Part(self.moment[1] if self.moment is not None and self.moment[0] == number else None)
        _current_part.set(part)
        with part.scope:
            try:
                await _drive(work(chance), part)
            except (Exception, BaseExceptionGroup) as error:
                unexpected = [
                    leaf for leaf in leaves(error) if not isinstance(leaf, Declined) and not is_cancellation(leaf)
                ]
                if unexpected:
                    raise
        self.checkpoints[number] = part.checkpoints
        self.counts["cancellations"] += part.scope.cancel_called

    def make_listener(self) -> Any:
        chance = random.Random(self.chance.random())
        kind = chance.choice(("returns", "waits", "fails", "stops", "cleans up"))

        async def work(event: Placed) -> None:
            if kind == "stops" and chance.random() < 0.3:
                event.stop_propagation()
            try:
                if kind != "returns":
                    await anyio.sleep(chance.uniform(0, 2))
            finally:
                if kind == "cleans up":
                    with anyio.CancelScope(shield=True):
                        await checkpoint()
            if kind == "fails" and chance.random() < 0.5:
                raise Declined

        async def listener(event: Placed) -> None:
            self.counts["listeners"] += 1
            await _drive_listener(work(event))

        return listener

    def make_event(self) -> Placed:
        self.numbers += 1
        self.dispatched.add(self.numbers)
        return Placed(self.numbers)

    async def dispatch(self, on: Any, name: str, chance: random.Random) -> Placed:
        """Dispatch an event, and drop the errors of its listeners."""
        self.counts["dispatches"] += 1
        event = self.make_event()
        self.uncertain += 1
        try:
            await on.adispatch(name, event)
        except ExceptionGroup as error:
            if error.split(Declined)[1] is not None:
                raise
        except Declined:
            pass
        # Not if it is cancelled.
        self.uncertain -= 1
        return event

    async def publish(self, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 6)):
            await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
            await self.dispatch(self.dispatcher, chance.choice(("order.placed", "order.paid")), chance)

    async def read(self, chance: random.Random) -> None:
        """Read a stream; a listener before it notes what the stream must receive."""
        overflow: Any = chance.choice(_OVERFLOWS)
        expected: list[int] = []
        received: list[int] = []
        missed = 0

        async def record(event: Placed) -> None:
            expected.append(event.number)

        stream = self.dispatcher.stream(
            "order.placed", max_buffer_size=chance.choice((1, 2, 8)), overflow=overflow, priority=-4
        )
        try:
            async with stream:
                with self.dispatcher.add_listener("order.placed", record, priority=-5):
                    for _ in range(chance.randint(0, 5)):
                        try:
                            with anyio.move_on_after(chance.uniform(0, 4)):
                                received.append((await anext(stream)).number)
                        except StreamLagged as lagged:
                            missed += lagged.missed
                        await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
        finally:
            left = stream.statistics()
            counted = left.delivered + left.dropped + left.current_buffer_used
            _check(_is_subsequence(received, expected), InventedError, f"the stream read {received} of {expected}")
            _check(counted <= len(expected), InventedError, f"{left} has more events than {len(expected)}")
            lost = len(expected) - counted - self.uncertain
            _check(lost <= 0, LostError, f"the stream lost {lost} events")
            _check(left.delivered == len(received), LostError, f"{left} delivered {len(received)} events")
            _check(missed <= left.dropped, InventedError, f"{left} reported {missed} events as missed")
            self.counts["events read"] += len(received)
            self.ended.append((expected, len(expected)))

    async def expect(self, chance: random.Random) -> None:
        """Expect an event that the block dispatches."""
        event: Placed | None = None

        async def trigger() -> None:
            nonlocal event
            event = await self.dispatch(self.dispatcher, "order.expected", chance)

        async with self.dispatcher.expect(
            "order.expected", where=lambda got: event is None or got is event
        ) as expected:
            await trigger()
        _check(expected.event.number in self.dispatched, InventedError, "the expectation invented an event")
        self.counts["expectations"] += 1

    async def post(self, chance: random.Random) -> None:
        """Post to a queue; each event that it accepted is dispatched, or counted as dropped or unfinished."""
        name = f"posted.{chance.random()}"
        started: list[int] = []
        finished: Counter[str] = Counter()

        async def work() -> None:
            await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
            if chance.random() < 0.2:
                # A dispatch that logs the error does not fail.
                finished["done" if self.logs_errors else "failed"] += 1
                raise Declined
            finished["done"] += 1

        async def listener(event: Placed) -> None:
            self.counts["listeners"] += 1
            self.heard[event.number] += 1
            started.append(event.number)
            await _drive_listener(work())

        overflow: Any = chance.choice(_OVERFLOWS)
        errors: Any = chance.choice(("raise", "collect", "log", lambda *_: None))
        workers = chance.choice((1, 2))
        key: Any = chance.choice((None, lambda event: event.number % 2))
        queue = self.dispatcher.queue(
            max_buffer_size=chance.choice((1, 2, 8)), workers=workers, overflow=overflow, errors=errors, ordered_by=key,
            drain_timeout=chance.choice((None, 0, 3)),
        )  # fmt: skip
        with self.dispatcher.add_listener(name, listener):
            try:
                async with queue:
                    for _ in range(chance.randint(1, 5)):
                        try:
                            await queue.post(name, self.make_event())
                        except anyio.WouldBlock:
                            pass
                        await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
                    if chance.random() < 0.3:
                        await queue.join()
                        busy = queue.statistics()
                        _check(not busy.running and not busy.current_buffer_used, FaultError, f"join() left {busy}")
            except Exception as error:
                # A failed queue also breaks the posts of its block, and some events may be undone.
                _, others = _as_group(error).split((Declined, anyio.BrokenResourceError, QueueNotDrained))
                if others is not None:
                    raise
            finally:
                counted = queue.statistics()
                accounted = counted.done + counted.failed + counted.dropped + counted.unfinished
                _check(accounted == counted.posted, LostError, f"{counted} lost {counted.posted - accounted} events")
                for word, number in (("done", counted.done), ("failed", counted.failed)):
                    at_most = number + counted.unfinished
                    _check(number <= finished[word] <= at_most, LostError, f"{counted} instead of {finished}")
                if workers == 1 or key is not None:
                    for each in (0, 1) if workers == 2 else (None,):
                        numbers = [number for number in started if each is None or number % 2 == each]
                        _check(numbers == sorted(numbers), InventedError, f"the queue ran {numbers} in this order")
                self.counts["posts"] += counted.posted
                self.ended.append((started, len(started)))

    async def use_scope(self, chance: random.Random) -> None:
        """Dispatch on a scope: its listener runs for these events alone, and not after its end."""
        heard: list[int] = []
        own: list[int] = []
        with self.dispatcher.scope() as scope:

            async def listener(event: Placed) -> None:
                heard.append(event.number)

            scope.add_listener("order.placed", listener, priority=-9)
            for _ in range(chance.randint(1, 3)):
                own.append((await self.dispatch(scope, "order.placed", chance)).number)
                await anyio.sleep(chance.uniform(0, 1))
        _check(heard == own, LostError, f"the listener of a scope ran for {heard} instead of {own}")
        try:
            await scope.adispatch("order.placed", self.make_event())
        except RuntimeError:
            self.counts["scopes"] += 1
        else:
            raise FaultError("a dispatch on a scope that has ended was not refused")


def _check(condition: bool, kind: type[FaultError], message: str) -> None:
    if not condition:
        raise kind(message)


def _is_subsequence(some: list[int], of: list[int]) -> bool:
    rest = iter(of)
    return all(number in rest for number in some)


def _as_group(error: Exception) -> ExceptionGroup[Exception]:
    return error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
