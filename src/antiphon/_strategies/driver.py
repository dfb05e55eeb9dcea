"""Running a coroutine step by step, in the task that awaits it and in a context that may be its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, Token
from operator import call
from types import CoroutineType, coroutine
from typing import Any, Final, TypeAlias, TypeVar

from antiphon._strategies.cancellation import CancellationWatch, current_watch, watch_future

__all__ = ("drive", "reset_context_variable", "run_first_step", "run_first_step_in")

T = TypeVar("T")

#: Calls a function in the context of a listener.
_Run: TypeAlias = Callable[..., Any]

_FINISHED: Final = object()


def run_first_step(listener: Callable[[Any], Any], event: Any, watch: CancellationWatch) -> Awaitable[None] | None:
    """Call a listener in the current context, and run it until it waits for something.

    Args:
        listener: The async callable.
        event: Its argument.
        watch: The watch of the running task.

    Returns:
        An awaitable that runs the remainder in the same task, or None if the listener has finished.

    Raises:
        BaseException: If the listener raises it.
    """
    steps, yielded = _start(listener, event)
    return None if yielded is _FINISHED else _run_remainder(steps, yielded, call, watch)


def run_first_step_in(
    context: Context, listener: Callable[[Any], Any], event: Any, watch: CancellationWatch
) -> Awaitable[None] | None:
    """Do what `run_first_step` does in a context, and the remainder too."""
    steps, yielded = context.run(_start, listener, event, watch)
    return None if yielded is _FINISHED else _run_remainder(steps, yielded, context.run, watch)


def _start(listener: Callable[[Any], Any], event: Any, watch: CancellationWatch | None = None) -> tuple[Any, Any]:
    if watch is not None and current_watch.get() is not watch:
        current_watch.set(watch)
    steps: Any = listener(event)
    if steps.__class__ is not CoroutineType:
        # A listener may return any awaitable, but only a coroutine can be run step by step.
        steps = _await(steps)
    # Unlike `send`, `next` with a default makes no StopIteration at the end.
    return steps, next(steps.__await__(), _FINISHED)


@coroutine
def drive(
    steps: Coroutine[Any, Any, Any], watch: CancellationWatch | None, run: _Run = call
) -> Generator[Any, Any, Any]:
    """Run a coroutine step by step, in the task that awaits this.

    Cancel scopes that the coroutine opens belong to that task, and what it starts copies the context of its steps.

    Args:
        steps: The coroutine, which has not been started.
        watch: The watch of the running task; None for no watch on the requests to cancel it.
        run: Calls a function in the context of the coroutine: the ``run`` of a context that is not the current one.

    Returns:
        The result.

    Raises:
        BaseException: If the coroutine raises it.
    """
    try:
        yielded = run(steps.send, None)
    except StopIteration as end:
        return end.value
    return (yield from _drive_remainder(steps, yielded, run, watch))


def _drive_remainder(
    steps: Coroutine[Any, Any, Any], yielded: Any, run: _Run, watch: CancellationWatch | None
) -> Generator[Any, Any, Any]:
    if watch is not None and watch.task is None:
        watch = None
    while True:
        sent = thrown = None
        try:
            sent = yield (yielded if watch is None else watch_future(yielded, watch))
        except GeneratorExit:
            run(steps.close)
            raise
        except BaseException as exc:  # noqa: ASYNC103  thrown into the coroutine
            thrown = exc
        if watch is not None and (watch.is_coming or watch.is_own_coming):
            watch.on_resumed(thrown)
        try:
            yielded = run(steps.send, sent) if thrown is None else run(steps.throw, thrown)
        except StopIteration as end:
            return end.value
        finally:
            # A frame that refers to an exception makes a cycle.
            sent = thrown = None


def reset_context_variable(variable: ContextVar[T], token: Token[T]) -> None:
    """Reset a context variable, unless that is left to the context.

    A coroutine that is closed elsewhere (by the garbage collector, for example) has left the context of the token.
    """
    try:
        variable.reset(token)
    except ValueError:
        pass


#: The same as an awaitable.
_run_remainder: Final = coroutine(_drive_remainder)


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
