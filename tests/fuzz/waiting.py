"""Random programs of queues, streams, expectations and scopes, one task of which is cancelled at a chosen checkpoint.

A program is run once without the cancellation, which counts the checkpoints of each task, and then again with it. At
the end, every event must be accounted for, and no task may be left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from types import coroutine
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, QueueNotDrained, Race, Sequential, StreamLagged
from tests.cancellation.tasks import Watch, is_cancellation, leaves
from tests.fuzz.loops import LoopName, run
from tests.helpers import silent_log

__all__ = ("check",)

_OVERFLOWS = ("suspend", "raise", "drop_oldest", "drop_newest")
#: How many checkpoints of a program are used for a cancellation. The others are left to other programs.
_CANCELLATIONS = 4


class Placed(Event):
    """An event with a number that no other event of its program has."""

    def __init__(self, number: int) -> None:
        self.number = number


class Declined(Exception):
    """The error of a listener."""


def check(seed: int, loop: LoopName) -> Counter[str]:
    """Run the program of a seed, without a cancellation and with some.

    Returns:
        The counts of all runs.

    Raises:
        AssertionError: If an event was lost or invented, or a task is left.
    """
    counts: Counter[str] = Counter()
    with silent_log():
        first = _Program(seed, None)
        _run(first, loop)
        counts += first.counts
        moments = [(task, place) for task, number in sorted(first.checkpoints.items()) for place in range(number)]
        for moment in random.Random(seed).sample(moments, min(_CANCELLATIONS, len(moments))):
            program = _Program(seed, moment)
            _run(program, loop)
            counts += program.counts
    return counts


def _run(program: _Program, loop: LoopName) -> None:
    try:
        run(loop, program.main, seed=program.seed)
    except BaseException as fault:
        fault.add_note(f"check({program.seed}, {loop!r}), cancelled at {program.moment}")
        raise


@coroutine
def _cancel_at(work: Any, place: int | None, scope: anyio.CancelScope, seen: list[int]) -> Generator[Any, Any, None]:
    """Drive a coroutine, count its checkpoints, and cancel a scope at one of them."""
    to_send: Any = None
    error: BaseException | None = None
    while True:
        try:
            yielded = work.throw(error) if error is not None else work.send(to_send)
        except StopIteration:
            return
        if seen[0] == place:
            scope.cancel()
        seen[0] += 1
        error = None
        try:
            to_send = yield yielded
        except BaseException as exc:
            error = exc


class _Program:
    def __init__(self, seed: int, moment: tuple[int, int] | None) -> None:
        self.seed = seed
        self.moment = moment
        self.chance = random.Random(seed)
        self.dispatcher = AsyncEventDispatcher(
            strategy=self.chance.choice((None, Concurrent(), Race(), Sequential(errors="log")))
        )
        self.counts = Counter[str](programs=1, cancellations=moment is not None)
        self.checkpoints: dict[int, int] = {}
        self.numbers = 0
        self.dispatched: set[int] = set()
        self.heard: Counter[int] = Counter()
        #: Dispatches that run or were cancelled, so that they may have reached one listener and not the next.
        self.uncertain = 0

    async def main(self) -> None:
        chance = self.chance
        watch = Watch()
        for _ in range(chance.randint(0, 3)):
            self.dispatcher.add_listener("order.*", self.make_listener(), priority=chance.randint(1, 3))
        works = [self.read, self.expect, self.post, self.use_scope, self.publish]
        chosen = [self.publish, *(chance.choice(works) for _ in range(chance.randint(2, 4)))]
        async with anyio.create_task_group() as group:
            for number, work in enumerate(chosen):
                group.start_soon(self.guard, number, work, random.Random(chance.random()))
        watch.assert_alone()
        assert not any(times > 1 for times in self.heard.values()), "a listener ran twice"
        assert not self.dispatcher.has_listeners("elsewhere"), "a part has left a listener"

    async def guard(self, number: int, work: Callable[[Any], Awaitable[None]], chance: random.Random) -> None:
        seen = [0]
        place = self.moment[1] if self.moment is not None and self.moment[0] == number else None
        with anyio.CancelScope() as scope:
            try:
                await _cancel_at(work(chance), place, scope, seen)
            except (Exception, BaseExceptionGroup) as error:
                unexpected = [
                    leaf for leaf in leaves(error) if not isinstance(leaf, Declined) and not is_cancellation(leaf)
                ]
                if unexpected:
                    raise
        self.checkpoints[number] = seen[0]

    def make_listener(self) -> Any:
        chance = random.Random(self.chance.random())
        kind = chance.choice(("returns", "waits", "fails", "stops", "cleans up"))

        async def listener(event: Placed) -> None:
            self.counts["listeners"] += 1
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
        """Read a stream; a listener before it counts what the stream must receive."""
        overflow: Any = chance.choice(_OVERFLOWS)
        expected: list[int] = []
        received: list[int] = []

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
                        except StreamLagged:
                            pass
                        await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
        finally:
            left = stream.statistics()
            before = left.delivered + left.dropped + left.current_buffer_used
            assert set(received) <= self.dispatched, "the stream invented an event"
            assert received == sorted(set(received), key=received.index), "the stream repeated an event"
            lost = len(set(expected)) - before - self.uncertain
            assert lost <= 0, f"the stream lost {lost} events"
            self.counts["events read"] += len(received)

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
        assert expected.event.number in self.dispatched, "the expectation invented an event"
        self.counts["expectations"] += 1

    async def post(self, chance: random.Random) -> None:
        """Post to a queue; each event that it accepted is dispatched, or counted as dropped or unfinished."""
        name = f"posted.{chance.random()}"

        async def listener(event: Placed) -> None:
            self.counts["listeners"] += 1
            self.heard[event.number] += 1
            await anyio.sleep(chance.choice((0, chance.uniform(0, 2))))
            if chance.random() < 0.2:
                raise Declined

        overflow: Any = chance.choice(_OVERFLOWS)
        errors: Any = chance.choice(("raise", "log", lambda *_: None))
        queue = self.dispatcher.queue(
            max_buffer_size=chance.choice((1, 2, 8)), workers=chance.choice((1, 2)), overflow=overflow, errors=errors,
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
            except Exception as error:
                # A failed queue also breaks the posts of its block, and some events may be undone.
                _, others = _as_group(error).split((Declined, anyio.BrokenResourceError, QueueNotDrained))
                if others is not None:
                    raise
            finally:
                counted = queue.statistics()
                accounted = counted.done + counted.failed + counted.dropped + counted.unfinished
                assert accounted == counted.posted, f"the queue lost {counted.posted - accounted} events"
                self.counts["posts"] += counted.posted

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
        assert heard == own, f"the listener of a scope ran for {heard} instead of {own}"
        try:
            await scope.adispatch("order.placed", self.make_event())
        except RuntimeError:
            self.counts["scopes"] += 1
        else:
            raise AssertionError("a dispatch on a scope that has ended was not refused")


def _as_group(error: Exception) -> ExceptionGroup[Exception]:
    return error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
