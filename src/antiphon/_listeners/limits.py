"""The limit on concurrent calls of a listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import anyio

from antiphon._listeners.subscription import SubscriptionWithOptions, removed_async_listener
from antiphon._util.naming import safe_repr

__all__ = ("Limit", "LimitStateByLoop", "clear_enclosing_calls")


class _LimitState:
    """The places for calls of one limited listener in one event loop."""

    __slots__ = ("limit", "running", "semaphore")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.semaphore = anyio.Semaphore(limit, fast_acquire=True)
        self.running: set[_RunningCall] = set()

    def is_deadlocked(self) -> bool:
        """Whether every place is taken by a call that waits for one."""
        return len(self.running) >= self.limit and all(slot.waiting for slot in self.running)


class _RunningCall:
    """One running call of a limited listener."""

    __slots__ = ("places", "waiting")

    def __init__(self, places: _LimitState) -> None:
        #: Where it runs; None when it has ended, so that contexts which outlive the call keep nothing alive.
        self.places: _LimitState | None = places
        #: How many dispatches in it wait for a place of the same listener.
        self.waiting = 0


#: The places of one listener in each event loop.
LimitStateByLoop: TypeAlias = WeakKeyDictionary[Any, _LimitState]


#: The limited calls that the running one is part of, from the outermost in.
_enclosing_calls: Final[ContextVar[tuple[_RunningCall, ...]]] = ContextVar("slots", default=())


def clear_enclosing_calls(context: Context) -> None:
    """Make a copy of a context one in which no limited call runs: nothing that runs there is waited for by one."""
    context.run(_enclosing_calls.set, ())


class Limit:
    """Lets so many calls of a listener run at a time in each event loop."""

    def __init__(
        self,
        limit: int,
        subscription: SubscriptionWithOptions,
        call: Callable[[Any], Awaitable[object]],
        places: LimitStateByLoop,
    ) -> None:
        # Import it here: an anyio that loads its modules lazily takes longer for this one than antiphon for all of its
        # own, and a program without limits does not need it.
        from anyio.lowlevel import current_token

        self._current_token = current_token
        self._limit = limit
        self._subscription = subscription
        self._call = call
        self._places = places

    async def call(self, event: Any, /) -> object:
        """Call the listener when fewer calls of it are running."""
        places = self._get_state()
        outer = tuple(slot for slot in _enclosing_calls.get() if slot.places is not None)
        await self._acquire(places, [slot for slot in outer if slot.places is places])
        slot = _RunningCall(places)
        try:
            if self._subscription.call is removed_async_listener:
                return "removed"
            places.running.add(slot)
            token = _enclosing_calls.set((*outer, slot))
            try:
                return await self._call(event)
            finally:
                places.running.discard(slot)
                slot.places = None
                _enclosing_calls.reset(token)
        finally:
            places.semaphore.release()

    async def _acquire(self, places: _LimitState, outer: list[_RunningCall]) -> None:
        for slot in outer:
            slot.waiting += 1
        try:
            if outer and places.is_deadlocked():
                raise RuntimeError(
                    f"{safe_repr(self._subscription.listener)} may run {self._limit} at a time, and all these calls "
                    f"wait for the dispatch that would start it once more: it would wait for itself. Raise limit=, or "
                    f"dispatch from outside of the listener"
                )
            await places.semaphore.acquire()
        finally:
            for slot in outer:
                slot.waiting -= 1

    def _get_state(self) -> _LimitState:
        loop = self._current_token().native_token
        places = self._places.get(loop)
        if places is None:
            places = self._places[loop] = _LimitState(self._limit)
        return places
