"""Running coroutines step by step in the current task, and in a context that can be another than the task's.

A step is the code of a coroutine between two suspensions: it ends when the coroutine yields to the event loop or
finishes. (The steps of a plan, such as a `StrategyStep`, are something else.) The driver passes on what the coroutine
yields to the event loop, and what the event loop sends or throws to the coroutine. It can replace a yielded future by a
watched one, see `CancellationWatch`.

`run_first_step` calls a listener without starting a task. A listener that returns without suspending needs none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, Token
from operator import call
from types import CoroutineType, coroutine
from typing import Any, Final, TypeAlias, TypeVar

from antiphon._strategies.cancellation import CancellationWatch, current_watch, watch_future
from antiphon._util.callables import to_coroutine

__all__ = ("drive", "reset_context_variable", "run_first_step", "run_first_step_in", "set_current_watch")

T = TypeVar("T")

#: A function that calls another one, such as ``Context.run``.
_Run: TypeAlias = Callable[..., Any]

_FINISHED: Final = object()

#: Each access to the method would create another bound method.
set_current_watch: Final = current_watch.set


def run_first_step(listener: Callable[[Any], Any], event: Any, watch: CancellationWatch) -> Awaitable[None] | None:
    """Call a listener in the current context, and run it until it waits.

    Args:
        listener: The async callable.
        event: Its argument.
        watch: The watch of the running task.

    Returns:
        An awaitable that runs the remainder in the same task, or None if the listener has finished.

    Raises:
        BaseException: If the listener raises it.
    """
    coro, yielded = _start(listener, event)
    return None if yielded is _FINISHED else _run_remainder(coro, yielded, call, watch)


def run_first_step_in(
    context: Context, listener: Callable[[Any], Any], event: Any, watch: CancellationWatch | None
) -> Awaitable[None] | None:
    """Do the same as `run_first_step`, but run all steps of the listener in the given context.

    The watch is the `current_watch` of the context. Without one, the requests to cancel the running task are not
    observed.
    """
    coro, yielded = context.run(_start, listener, event)
    return None if yielded is _FINISHED else _run_remainder(coro, yielded, context.run, watch)


def _start(listener: Callable[[Any], Any], event: Any) -> tuple[Any, Any]:
    """Call a listener and run its first step. Return its coroutine, and what that yielded or `_FINISHED`."""
    coro: Any = listener(event)
    if coro.__class__ is not CoroutineType:
        # A listener may return any awaitable, but only a coroutine can be driven.
        coro = to_coroutine(coro)
    # Call `next` with a default: `send` would create a StopIteration when the coroutine returns.
    return coro, next(coro.__await__(), _FINISHED)


@coroutine
def drive(
    coro: Coroutine[Any, Any, Any], watch: CancellationWatch | None, run: _Run = call
) -> Generator[Any, Any, Any]:
    """Run a coroutine step by step, in the task that awaits this.

    Cancel scopes that the coroutine opens belong to that task. Tasks that it starts copy the context of its steps.

    Args:
        coro: The coroutine, which has not been started.
        watch: The watch of the running task, or None if its requests are not observed.
        run: The function that runs each step. To run the steps in another context, pass the ``run`` of that context.

    Returns:
        The result of the coroutine.

    Raises:
        BaseException: If the coroutine raises it.
    """
    try:
        yielded = run(coro.send, None)
    except StopIteration as end:
        return end.value
    return (yield from _drive_remainder(coro, yielded, run, watch))


def _drive_remainder(
    coro: Coroutine[Any, Any, Any], yielded: Any, run: _Run, watch: CancellationWatch | None
) -> Generator[Any, Any, Any]:
    if watch is not None and watch.task is None:
        watch = None
    while True:
        try:
            value, step = (yield (yielded if watch is None else watch_future(yielded, watch))), coro.send
        except GeneratorExit:
            run(coro.close)
            raise
        except BaseException as exc:  # noqa: ASYNC103  thrown into the coroutine
            value, step = exc, coro.throw
        if watch is not None and (watch.undelivered_requests or watch.has_undelivered_own_request):
            watch.on_resumed(value)
        try:
            yielded = run(step, value)
        except StopIteration as end:
            return end.value
        finally:
            # A frame that references an exception creates a reference cycle.
            del value


#: The same as an awaitable.
_run_remainder: Final = coroutine(_drive_remainder)


def reset_context_variable(variable: ContextVar[T], token: Token[T]) -> None:
    """Reset a context variable, if the current context is the one in which the token was made.

    If a coroutine is closed elsewhere (by the garbage collector, for example), it runs in another context.
    """
    try:
        variable.reset(token)
    except ValueError:
        pass
