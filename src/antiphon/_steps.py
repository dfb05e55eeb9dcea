"""Running a coroutine step by step in a context of its own, within the task that awaits it."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, TypeVar

__all__ = ("run_in_context",)

T = TypeVar("T")


@coroutine
def run_in_context(steps: Coroutine[Any, Any, T], context: Context) -> Generator[Any, Any, T]:
    """Run a coroutine to its end, each step of it in a context. Its task is the one that awaits this.

    Cancel scopes that the coroutine opens belong to that task, and what it starts copies the context.

    Args:
        steps: The coroutine, which has not been started.
        context: Where its steps run; nothing else may be running in it.

    Returns:
        What the coroutine returns.

    Raises:
        BaseException: What leaves the coroutine.
    """
    sent = thrown = None
    while True:
        try:
            yielded = context.run(steps.send, sent) if thrown is None else context.run(steps.throw, thrown)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            # A frame that keeps an exception makes a cycle.
            sent = thrown = None
        try:
            sent = yield yielded
        except GeneratorExit:
            context.run(steps.close)
            raise
        except BaseException as exc:  # noqa: ASYNC103  thrown into the coroutine
            thrown = exc
