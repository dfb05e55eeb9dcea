"""Raising requested cancellations between listeners and at the end of a dispatch.

A listener can catch a cancellation of the dispatch, or raise an error in its place. `raise_if_cancelled` raises the
cancellation again. `get_requested_cancellation` chooses the exception that leaves, so that the cancel scope or the task
that was cancelled recognizes it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio

from antiphon._backend import (
    checkpoint,
    checkpoint_if_cancelled,
    detect_backend,
    is_cancellation,
    is_cancelled_by_scope,
    is_scope_message,
)
from antiphon._strategies.cancellation import CancellationWatch

__all__ = ("get_requested_cancellation", "raise_if_cancelled")


async def raise_if_cancelled(watch: CancellationWatch, trio: Any = None, is_in_scope: bool = True) -> None:
    """Raise the cancellation of a cancel scope, of the task or of the dispatch, if one was requested.

    Args:
        watch: The watch of the running task.
        trio: The module `trio`, if it is known that the task is one of Trio.
        is_in_scope: Whether a cancel scope may be around the task.
    """
    if is_in_scope:
        task = watch.task
        if task is None and trio is None:
            trio, task = detect_backend()
        scope_checkpoint = checkpoint_if_cancelled(trio, task)
        # A cancelled task references its exception, and with it this frame: a reference cycle.
        del task
        if scope_checkpoint is not None:
            await scope_checkpoint
    if watch.has_undelivered_cancellation():
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  raised if it was requested
            # Otherwise a failed `asyncio.TaskGroup` has repeated a request that it did not make, see
            # `CancellationWatch.classify_undelivered_request`.
            if watch.has_own_request():
                raise
    if watch.is_cancelled:
        raise watch.make_cancellation()


async def get_requested_cancellation(exc: BaseException, watch: CancellationWatch) -> BaseException:
    """Return the exception that must leave the dispatch in place of a cancellation.

    Args:
        exc: The exception that ends the dispatch. Other exceptions than cancellations are returned unchanged.
        watch: The watch of the running task.
    """
    if not is_cancellation(exc):
        return exc
    is_of_scope = is_scope_message(next(iter(exc.args), None))
    if watch.is_cancelled:
        if watch.has_undelivered_cancellation() and not watch.has_own_request():
            # A repeated request, see `CancellationWatch.classify_undelivered_request`. Receive it here and ignore it.
            with suppress(anyio.get_cancelled_exc_class()):
                await checkpoint()
        # A cancel scope would catch an exception with its own message, so raise one without it.
        return watch.make_cancellation() if is_of_scope else exc
    if not is_of_scope and is_cancelled_by_scope():
        # A cancel scope catches only exceptions with its own message. The first checkpoint may deliver another request
        # that is undelivered, so try twice.
        for _ in range(2):
            scope_checkpoint = checkpoint_if_cancelled(*detect_backend())
            try:
                if scope_checkpoint is not None:
                    await scope_checkpoint
            except BaseException as requested:  # noqa: ASYNC103  the caller raises it
                exc = requested
            if is_scope_message(next(iter(exc.args), None)):
                break
    try:
        return exc
    finally:
        # The traceback of the exception contains this frame, so that a reference would create a cycle.
        del exc
