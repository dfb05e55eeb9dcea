"""The options of a registration, composed into one callable when it is registered.

A call goes through them in this order; each step comes only where the option was given:

1. Has the registration been removed? Then nothing happens.
2. ``where``: what it says no to is not called, and uses up nothing. What it raises is an error of the listener.
3. ``once``: the registration is claimed, and taken back. From here on the one call is used up, whatever comes.
4. ``limit``: waits until fewer calls are running. If it was removed meanwhile, nothing happens.
5. ``timeout``: starts to count.
6. The listener is called.

A composed callable that does not call the listener returns why. (Nobody looks at it but instruments.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import anyio

from antiphon._listeners.subscription import OptionedSubscription, check_answer, do_nothing, do_nothing_async, safe_repr

__all__ = ("compose", "compose_async", "outside_of_calls", "recompose", "recompose_async")


def compose(subscription: OptionedSubscription, call: Callable[[Any], object]) -> Callable[[Any], object]:
    """Compose the options of a plain function around it: ``where`` and ``once``."""
    subscription.composed_of = (call, None)
    return _around(subscription, call)


def compose_async(
    subscription: OptionedSubscription, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    """Compose the options of an async listener around it."""
    # Where there are places to share: also between the calls of a dispatch that is observed and those of others.
    places: AllPlaces = WeakKeyDictionary()
    subscription.composed_of = (call, places)
    return _around_async(subscription, call, places)


def recompose(
    subscription: OptionedSubscription, wrap: Callable[[Callable[[Any], object]], Callable[[Any], object]]
) -> Callable[[Any], object]:
    """Compose the options of a plain function once more, around something that is put around it."""
    call, _ = subscription.composed_of
    return _around(subscription, wrap(call))


def recompose_async(
    subscription: OptionedSubscription,
    wrap: Callable[[Callable[[Any], Awaitable[object]]], Callable[[Any], Awaitable[object]]],
) -> Callable[[Any], Awaitable[object]]:
    """Compose the options of an async listener once more, around something that is put around it."""
    call, places = subscription.composed_of
    return _around_async(subscription, wrap(call), places)


def _around(subscription: OptionedSubscription, call: Callable[[Any], object]) -> Callable[[Any], object]:
    once, where, _, _ = subscription.options
    if once:
        call = _claimed(subscription, call)
    if where is None:
        return call

    def asking(event: Any, /) -> object:
        answer = where(event)
        # True first: only other answers, of which some have to be refused, are looked at closely.
        if answer is not True and not check_answer(answer, where):
            return "where"
        if subscription.call is do_nothing:
            return "removed"
        return call(event)

    return asking


def _claimed(subscription: OptionedSubscription, call: Callable[[Any], object]) -> Callable[[Any], object]:
    def claiming(event: Any, /) -> object:
        return call(event) if subscription.unsubscribe() else "once"

    return claiming


def _around_async(
    subscription: OptionedSubscription, call: Callable[[Any], Awaitable[object]], places: AllPlaces
) -> Callable[[Any], Awaitable[object]]:
    once, where, timeout, limit = subscription.options
    if timeout is not None:
        call = _within(timeout, call)
    # The one call of a once listener has nothing to wait for, and must not be cancelled after it was claimed.
    if limit is not None and not once:
        call = _Limit(limit, subscription, call, places).call
    if once:
        call = _claimed_async(subscription, call)
    if where is None:
        return call

    async def asking(event: Any, /) -> object:
        answer = where(event)
        # As in `_around`.
        if answer is not True and not check_answer(answer, where):
            return "where"
        if subscription.call is do_nothing_async:
            return "removed"
        return await call(event)

    return asking


def _claimed_async(
    subscription: OptionedSubscription, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    async def claiming(event: Any, /) -> object:
        return await call(event) if subscription.unsubscribe() else "once"

    return claiming


def _within(seconds: float, call: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
    async def timed(event: Any, /) -> None:
        with anyio.fail_after(seconds):
            await call(event)

    return timed


class _Places:
    """The places for calls of one limited listener in one event loop."""

    __slots__ = ("limit", "running", "semaphore")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.semaphore = anyio.Semaphore(limit, fast_acquire=True)
        self.running: set[_Slot] = set()

    def are_stuck(self) -> bool:
        """Whether every place is taken by a call that waits for one."""
        return len(self.running) >= self.limit and all(slot.waiting for slot in self.running)


class _Slot:
    """One running call of a limited listener."""

    __slots__ = ("places", "waiting")

    def __init__(self, places: _Places) -> None:
        #: Where it runs; None when it has ended, so that contexts which outlive the call keep nothing alive.
        self.places: _Places | None = places
        #: How many dispatches in it wait for a place of the same listener.
        self.waiting = 0


#: The places of one listener in each event loop.
AllPlaces: TypeAlias = WeakKeyDictionary[Any, _Places]

#: The limited calls that the running one is part of, from the outermost in.
_slots: Final[ContextVar[tuple[_Slot, ...]]] = ContextVar("slots", default=())


def outside_of_calls(context: Context) -> None:
    """Make a copy of a context one in which no limited call runs: nothing that runs there is waited for by one."""
    context.run(_slots.set, ())


class _Limit:
    """Lets so many calls of a listener run at a time in each event loop."""

    def __init__(
        self,
        limit: int,
        subscription: OptionedSubscription,
        call: Callable[[Any], Awaitable[object]],
        places: AllPlaces,
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
        places = self._places_here()
        outer = tuple(slot for slot in _slots.get() if slot.places is not None)
        await self._wait(places, [slot for slot in outer if slot.places is places])
        slot = _Slot(places)
        try:
            if self._subscription.call is do_nothing_async:
                return "removed"
            places.running.add(slot)
            token = _slots.set((*outer, slot))
            try:
                return await self._call(event)
            finally:
                places.running.discard(slot)
                slot.places = None
                _slots.reset(token)
        finally:
            places.semaphore.release()

    async def _wait(self, places: _Places, outer: list[_Slot]) -> None:
        for slot in outer:
            slot.waiting += 1
        try:
            if outer and places.are_stuck():
                raise RuntimeError(
                    f"{safe_repr(self._subscription.listener)} may run {self._limit} at a time, and all these calls "
                    f"wait for the dispatch that would start it once more: it would wait for itself. Raise limit=, or "
                    f"dispatch from outside of the listener"
                )
            await places.semaphore.acquire()
        finally:
            for slot in outer:
                slot.waiting -= 1

    def _places_here(self) -> _Places:
        loop = self._current_token().native_token
        places = self._places.get(loop)
        if places is None:
            places = self._places[loop] = _Places(self._limit)
        return places
