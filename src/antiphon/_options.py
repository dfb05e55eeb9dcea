"""The options of a registration, composed into one callable when it is registered.

A call goes through them in this order; each step comes only where the option was given:

1. Has the registration been removed? Then nothing happens.
2. ``where``: what it says no to is not called, and uses up nothing. What it raises is an error of the listener.
3. ``once``: the registration is claimed, and taken back. From here on the one call is used up, whatever comes.
4. ``limit``: waits until fewer calls are running. If it was removed meanwhile, nothing happens.
5. ``timeout``: starts to count.
6. The listener is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

import anyio

from antiphon._listeners import Subscription, do_nothing_async, safe_repr

__all__ = ("compose", "compose_async", "outside_of_calls")


def compose(subscription: Subscription, call: Callable[[Any], object]) -> Callable[[Any], object]:
    """Compose the options of a plain function around it: ``where`` and ``once``."""
    options = subscription.options
    once, where = options.once, options.where
    if not once and where is None:
        return call

    def guarded(event: Any, /) -> None:
        if where is not None and not where(event):
            return
        if once and not subscription.unsubscribe():
            return
        call(event)

    return guarded


def compose_async(
    subscription: Subscription, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    """Compose the options of an async listener around it."""
    once, where, timeout, limit = subscription.options
    if timeout is not None:
        call = _within(timeout, call)
    if limit is not None:
        call = _Limit(limit, subscription, call, once=once).call
    if not once and where is None:
        return call

    async def guarded(event: Any, /) -> None:
        if where is not None and not where(event):
            return
        if once and not subscription.unsubscribe():
            return
        await call(event)

    return guarded


def _within(seconds: float, call: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
    async def timed(event: Any, /) -> None:
        with anyio.fail_after(seconds):
            await call(event)

    return timed


class _Slot:
    """One running call of a limited listener."""

    __slots__ = ("limit", "running")

    def __init__(self, limit: _Limit) -> None:
        self.limit = limit
        self.running = True


#: The limited calls that the running one is part of, from the outermost in.
_slots: Final[ContextVar[tuple[_Slot, ...]]] = ContextVar("slots", default=())


def outside_of_calls(context: Context) -> None:
    """Make a copy of a context one in which no limited call runs: nothing that runs there is waited for by one."""
    context.run(_slots.set, ())


class _Limit:
    """Lets so many calls of a listener run at a time in each event loop."""

    def __init__(
        self, limit: int, subscription: Subscription, call: Callable[[Any], Awaitable[object]], *, once: bool
    ) -> None:
        self._limit = limit
        self._subscription = subscription
        self._call = call
        self._once = once
        self._semaphores: WeakKeyDictionary[Any, anyio.Semaphore] = WeakKeyDictionary()

    async def call(self, event: Any, /) -> None:
        """Call the listener when fewer calls of it are running."""
        outer = _slots.get()
        if sum(slot.limit is self and slot.running for slot in outer) >= self._limit:
            raise RuntimeError(
                f"{safe_repr(self._subscription.listener)} may run {self._limit} at a time, and all these calls wait "
                f"for the dispatch that would start it once more: it would wait for itself. Raise limit=, or "
                f"dispatch from outside of the listener"
            )
        async with self._semaphore():
            if not self._once and self._subscription.call is do_nothing_async:
                return
            slot = _Slot(self)
            token = _slots.set((*outer, slot))
            try:
                await self._call(event)
            finally:
                slot.running = False
                _slots.reset(token)

    def _semaphore(self) -> anyio.Semaphore:
        loop = anyio.lowlevel.current_token().native_token
        semaphore = self._semaphores.get(loop)
        if semaphore is None:
            semaphore = self._semaphores[loop] = anyio.Semaphore(self._limit, fast_acquire=True)
        return semaphore
