"""Running a program: its listeners, what is around the dispatch, and the trace of both."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

import anyio
import trio

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential
from tests.fuzz import loops
from tests.fuzz.programs import (
    Again,
    Dispatch,
    Fail,
    Group,
    Guarded,
    Leak,
    Program,
    Sleep,
    Step,
    Steps,
    Stop,
    Within,
    walk,
)

__all__ = ("CANCELLED", "Antiphon", "Performance", "Subject", "Trace", "describe", "perform")

CANCELLED = "cancelled"
#: How long the task sleeps after the dispatch, to meet what is left of a cancellation.
_LATER = 7

Listener = Callable[[Any], Awaitable[None]]


@dataclass
class Trace:
    """What a run of a program showed; traces are compared field by field."""

    #: What left the dispatch, when, and what was left at that instant.
    left: str = "unfinished"
    at: int = -1
    cancelling: int = 0
    tasks: bool = False
    #: What left the construct around the dispatch, and the scope that the program cancels.
    around: str = "unfinished"
    cancelling_after: int = 0
    scope_caught: bool | None = None
    #: What a later sleep in the same task met, and when.
    later: str = "unfinished"
    later_at: int = -1
    task_cancelled: bool = False
    #: How each listener ended, and when. A listener that was not started is absent.
    listeners: dict[str, tuple[str, int]] = field(default_factory=dict)
    #: The listeners of each sequential dispatch, in the order of their starts.
    order: dict[str, list[str]] = field(default_factory=dict)
    #: The errors that policy functions received.
    received: Counter[str] = field(default_factory=Counter)
    #: An exception of the machinery, or a run without an end.
    broken: str = ""
    #: How many dispatches there were, for the statistics.
    dispatches: int = 0


def describe(exc: BaseException | None) -> str:
    """Return a text for an exception that does not depend on the order of a group, nor on its nesting."""
    if exc is None:
        return "nothing"
    if not isinstance(exc, BaseExceptionGroup):
        return _leaf(exc)
    if trio.Cancelled in (kinds := {type(leaf) for leaf in _leaves(exc)}) and len(kinds) == 1:
        # trio's scopes take it in either form.
        return CANCELLED
    counted = Counter(map(_leaf, _leaves(exc)))
    # Several cancellations at once are one.
    if CANCELLED in counted:
        counted[CANCELLED] = 1
    return f"group of {', '.join(sorted(counted.elements()))}"


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for member in exc.exceptions for leaf in _leaves(member)]
    return [exc]


def _leaf(exc: BaseException) -> str:
    if isinstance(exc, (asyncio.CancelledError, trio.Cancelled)):
        return CANCELLED
    if type(exc).__name__ in ("ListenerCancelled", "TimeoutError", "RecursionError"):
        return type(exc).__name__
    return f"{type(exc).__name__}({', '.join(map(repr, exc.args))})"


class Subject(Protocol):
    """A way to dispatch."""

    #: Whether tasks remember who has cancelled them.
    counting: bool
    #: The order of tasks that are ready at one instant, on asyncio (None for the usual one) and on trio.
    seed: int | None
    trio_seed: int

    async def dispatch(self, performance: Performance, spec: Dispatch, path: str) -> None:
        """Dispatch a fresh event to the listeners of a program."""
        ...


class Antiphon:
    """Dispatches with antiphon."""

    counting = False
    seed: int | None = None
    trio_seed = 0

    async def dispatch(self, performance: Performance, spec: Dispatch, path: str) -> None:
        dispatcher = AsyncEventDispatcher(strategy=self.strategy(performance, spec))
        for priority, tier in enumerate(spec.tiers):
            for number, body in enumerate(tier):
                dispatcher.add_listener(
                    "order.placed", performance.listener(body, path, f"{priority}.{number}", spec), priority=priority
                )
        await dispatcher.adispatch("order.placed", Event())

    def strategy(self, performance: Performance, spec: Dispatch) -> Any:
        """Return the strategy of a dispatch."""
        errors = performance.policy(spec)
        if spec.strategy == "concurrent":
            return Concurrent(spec.limit, errors=errors)
        return Race(errors=errors) if spec.strategy == "race" else Sequential(errors=errors)


class Performance:
    """One run of a program."""

    def __init__(self, program: Program, loop: loops.LoopName, subject: Subject) -> None:
        self.program = program
        self.native = loop != "trio"
        self.subject = subject
        self.trace = Trace()
        self._task: asyncio.Task[Any] | None = None
        self._scope: anyio.CancelScope | None = None
        self._coroutines: list[Coroutine[Any, Any, None]] = []
        #: The dispatches that have begun, by their paths.
        self._specs: dict[str, Dispatch] = {}

    # The listeners.

    def listener(self, body: Steps, path: str, place: str, spec: Dispatch) -> Listener:
        """Return a listener that performs steps and notes how it ended."""
        name = f"{path}/{place}"
        self._specs[path] = spec
        listeners = self.trace.listeners

        async def listen(event: Any) -> None:
            if name in listeners:
                listeners[name] = ("started twice", _now())
                return
            listeners[name] = ("started", _now())
            if spec.strategy == "sequential":
                self.trace.order.setdefault(path, []).append(name)
            try:
                await self.perform(body, event, name)
            except BaseException as exc:
                listeners[name] = (describe(exc), _now())
                raise
            else:
                listeners[name] = ("finished", _now())

        return listen

    def policy(self, spec: Dispatch) -> Any:
        """Return the error policy of a dispatch."""
        if spec.errors in ("raise", "collect"):
            return spec.errors

        def record(exc: Exception, event: Any, listener: Any) -> None:
            self.trace.received[describe(exc)] += 1
            if spec.errors == "record_and_raise":
                raise OSError("policy")

        return record

    async def perform(self, steps: Steps, event: Any, path: str) -> None:
        for number, step in enumerate(steps):
            await self.step(step, event, f"{path}.{number}")

    def make_coroutine(self, steps: Steps, event: Any, path: str) -> Coroutine[Any, Any, None]:
        """Return a coroutine that asyncio may drop before its first step, without a warning."""
        coroutine = self.perform(steps, event, path)
        self._coroutines.append(coroutine)
        return coroutine

    def close(self) -> None:
        """Close what has never been awaited."""
        for coroutine in self._coroutines:
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                coroutine.close()

    async def step(self, step: Step, event: Any, path: str) -> None:
        match step:
            case Sleep(seconds=seconds):
                await anyio.sleep(seconds)
            case Fail(text=text):
                raise ValueError(text)
            case Stop():
                event.stop_propagation()
            case Leak():
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            case Within():
                await self.within(step, event, path)
            case Group():
                await self.group(step, event, path)
            case Guarded():
                await self.guarded(step, event, path)
            case Dispatch(handled=handled):
                self.trace.dispatches += 1
                try:
                    await self.subject.dispatch(self, step, path)
                except Exception:
                    if not handled:
                        raise
            case Again():
                outer = path.rpartition("/")[0]
                self.trace.dispatches += 1
                await self.subject.dispatch(self, self._specs[outer], path)
            case _:
                assert_never(step)

    async def within(self, step: Within, event: Any, path: str) -> None:
        try:
            match step.kind:
                case "move_on_after":
                    with anyio.move_on_after(step.seconds):
                        await self.perform(step.body, event, path)
                case "fail_after":
                    with anyio.fail_after(step.seconds):
                        await self.perform(step.body, event, path)
                case "shield":
                    with anyio.CancelScope(shield=True):
                        await self.perform(step.body, event, path)
                case "timeout":
                    async with asyncio.timeout(step.seconds):
                        await self.perform(step.body, event, path)
                case "wait_for":
                    await asyncio.wait_for(self.make_coroutine(step.body, event, path), step.seconds)
                case "old_timeout":
                    await self.old_timeout(step, event, path)
        except TimeoutError:
            if not step.handled:
                raise

    async def old_timeout(self, step: Within, event: Any, path: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        fired = False

        def fire() -> None:
            nonlocal fired
            fired = True
            task.cancel()

        handle = asyncio.get_running_loop().call_later(step.seconds, fire)
        try:
            await self.perform(step.body, event, path)
        except asyncio.CancelledError:
            if not fired:
                raise
        finally:
            handle.cancel()

    async def group(self, step: Group, event: Any, path: str) -> None:
        try:
            if step.native:
                async with asyncio.TaskGroup() as native:
                    for number, child in enumerate(step.children):
                        native.create_task(self.make_coroutine(child, event, f"{path}.child{number}"))
                    await self.perform(step.body, event, path)
            else:
                async with anyio.create_task_group() as group:
                    for number, child in enumerate(step.children):
                        group.start_soon(self.perform, child, event, f"{path}.child{number}")
                    await self.perform(step.body, event, path)
        except* Exception:
            if not step.handled:
                raise

    async def guarded(self, step: Guarded, event: Any, path: str) -> None:
        cleanup = f"{path}.cleanup"
        match step.kind:
            case "finally":
                try:
                    await self.perform(step.body, event, path)
                finally:
                    await self.perform(step.cleanup, event, cleanup)
            case "swallow":
                try:
                    await self.perform(step.body, event, path)
                except anyio.get_cancelled_exc_class():
                    await self.perform(step.cleanup, event, cleanup)
            case "handle":
                try:
                    await self.perform(step.body, event, path)
                except Exception:
                    await self.perform(step.cleanup, event, cleanup)

    # What is around the dispatch.

    async def run_in_task(self) -> None:
        """Dispatch as the program says, then sleep once more in the same task."""
        trace = self.trace
        program = self.program
        left: BaseException | None = None
        self._task = task = asyncio.current_task() if self.native else None
        if program.survived:
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass
        scoped = any(cancel.what == "scope" for cancel in program.cancels)
        try:
            with anyio.CancelScope() if scoped else nullcontext() as self._scope:
                await self.around()
        except BaseException as exc:
            left = exc
        if self._scope is not None:
            trace.scope_caught = self._scope.cancelled_caught
        trace.around = describe(left)
        trace.cancelling_after = self.cancelling()
        try:
            await anyio.sleep(_LATER)
        except BaseException as exc:
            trace.later = describe(exc)
        else:
            trace.later = "slept"
        trace.later_at = _now()
        if left is not None and self.native:
            try:
                raise left
            finally:
                del left

    async def around(self) -> None:
        seconds = self.program.seconds
        match self.program.around:
            case "nothing":
                await self.dispatch()
            case "move_on_after":
                with anyio.move_on_after(seconds):
                    await self.dispatch()
            case "fail_after":
                with anyio.fail_after(seconds):
                    await self.dispatch()
            case "timeout":
                async with asyncio.timeout(seconds):
                    await self.dispatch()
            case "wait_for":
                coroutine = self.dispatch()
                self._coroutines.append(coroutine)
                await asyncio.wait_for(coroutine, seconds)

    async def dispatch(self) -> None:
        trace = self.trace
        before = self.count_tasks()
        trace.dispatches += 1
        try:
            await self.subject.dispatch(self, self.program.dispatch, "")
        except BaseException as exc:
            trace.left = describe(exc)
            raise
        else:
            trace.left = describe(None)
        finally:
            trace.at = _now()
            # A cancelled scope counts its own requests there too, as many as there were turns.
            in_cancelled_scope = anyio.current_effective_deadline() == float("-inf")
            # wait_for of Python 3.11 runs the dispatch in another task, and makes many requests of one.
            in_other_task = self.native and asyncio.current_task() is not self._task
            trace.cancelling = -1 if in_cancelled_scope or in_other_task else self.cancelling()
            # On Python 3.11 wait_for leaves its task if it is cancelled twice; how many tasks that one has is its affair.
            trace.tasks = self.count_tasks() > before

    def cancelling(self) -> int:
        if not self.native:
            return 0
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    def count_tasks(self) -> int:
        """Return the number of tasks that have not ended."""
        return len(asyncio.all_tasks()) if self.native else trio.lowlevel.current_statistics().tasks_living

    def cancel_scope(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def on_asyncio(self) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.run_in_task())
        for cancel in self.program.cancels:
            loop.call_later(cancel.at, task.cancel if cancel.what == "task" else self.cancel_scope)
        _, unfinished = await asyncio.wait([task], timeout=loops.NEVER)
        if unfinished:
            self.trace.broken = "never ends"
            return
        self.trace.task_cancelled = task.cancelled()
        if not task.cancelled():
            task.exception()

    async def on_trio(self) -> None:
        async def cancel(at: int) -> None:
            await anyio.sleep(at)
            self.cancel_scope()

        ended = False

        async def run() -> None:
            nonlocal ended
            await self.run_in_task()
            ended = True

        with anyio.move_on_after(loops.NEVER) as patience:
            async with anyio.create_task_group() as cancellers:
                for planned in self.program.cancels:
                    cancellers.start_soon(cancel, planned.at)
                async with anyio.create_task_group() as group:
                    group.start_soon(run)
                cancellers.cancel_scope.cancel()
        if patience.cancel_called or not ended:
            self.trace.broken = "never ends"


def perform(program: Program, loop: loops.LoopName, subject: Subject) -> Trace:
    """Run a program.

    Returns:
        The trace.
    """
    performance = Performance(program, loop, subject)
    main = performance.on_asyncio if performance.native else performance.on_trio
    try:
        # A dispatch that repeats itself shall get deep before its deadline.
        turns = 2000 if any(isinstance(part, Again) for part in walk(program)) else loops.TURNS_AT_ONCE
        seed = subject.seed if performance.native else subject.trio_seed
        loops.run(loop, main, counting=subject.counting, seed=seed, turns_at_once=turns)
    except loops.TooManyTurnsError:
        performance.trace.broken = "never ends"
    except Exception as exc:
        performance.trace.broken = describe(exc)
    finally:
        performance.close()
    return performance.trace


def _now() -> int:
    return round(anyio.current_time())
