"""Raising a cancellation that was requested, between listeners and at the end of a dispatch."""

from __future__ import annotations

from contextlib import suppress

import anyio

from antiphon._backend import (
    checkpoint,
    checkpoint_if_cancelled,
    is_cancellation,
    is_cancelled_by_scope,
    is_scope_message,
)
from antiphon._strategies.cancellation import CancellationWatch

__all__ = ("get_requested_cancellation", "raise_if_cancelled")


async def raise_if_cancelled(watch: CancellationWatch) -> None:
    raised, _ = checkpoint_if_cancelled()
    await raised
    if watch.is_pending():
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  raised if it was requested
            # A failed `asyncio.TaskGroup` takes a request back that is not its own, and makes it once more. A listener
            # that had a task of its own would take that one along.
            if watch.has_own_request():
                raise
    if watch.is_cancelled:
        raise watch.make_cancellation()


async def get_requested_cancellation(exc: BaseException, watch: CancellationWatch) -> BaseException:
    """Return what leaves for a cancellation, so that it reaches whoever requested it."""
    if not is_cancellation(exc):
        return exc
    is_of_scope = is_scope_message(next(iter(exc.args), None))
    if watch.is_cancelled:
        if watch.is_pending() and not watch.has_own_request():
            # The same request once more, see `CancellationWatch.look_at_pending`.
            with suppress(anyio.get_cancelled_exc_class()):
                await checkpoint()
        # It must not pass for one of a scope, which would keep it.
        return watch.make_cancellation() if is_of_scope else exc
    if not is_of_scope and is_cancelled_by_scope():
        # A scope keeps its own cancellations only. One that is pending in the task comes first.
        for _ in range(2):
            raised, _ = checkpoint_if_cancelled()
            try:
                await raised
            except BaseException as requested:  # noqa: ASYNC103  the caller raises it
                exc = requested
            if is_scope_message(next(iter(exc.args), None)):
                break
    return exc
