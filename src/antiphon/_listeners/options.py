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
from typing import Any
from weakref import WeakKeyDictionary

import anyio

from antiphon._listeners.limits import Limit, LimitStateByLoop
from antiphon._listeners.subscription import (
    SubscriptionWithOptions,
    check_answer,
    removed_async_listener,
    removed_listener,
)

__all__ = (
    "recompose",
    "recompose_async",
    "wrap_async_with_options",
    "wrap_with_options",
)


def wrap_with_options(subscription: SubscriptionWithOptions, call: Callable[[Any], object]) -> Callable[[Any], object]:
    """Compose the options of a plain function around it: ``where`` and ``once``."""
    subscription.wrapped = (call, None)
    return _around(subscription, call)


def wrap_async_with_options(
    subscription: SubscriptionWithOptions, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    """Compose the options of an async listener around it."""
    # Where there are places to share: also between the calls of a dispatch that is observed and those of others.
    places: LimitStateByLoop = WeakKeyDictionary()
    subscription.wrapped = (call, places)
    return _around_async(subscription, call, places)


def recompose(
    subscription: SubscriptionWithOptions, wrap: Callable[[Callable[[Any], object]], Callable[[Any], object]]
) -> Callable[[Any], object]:
    """Compose the options of a plain function once more, around something that is put around it."""
    call, _ = subscription.wrapped
    return _around(subscription, wrap(call))


def recompose_async(
    subscription: SubscriptionWithOptions,
    wrap: Callable[[Callable[[Any], Awaitable[object]]], Callable[[Any], Awaitable[object]]],
) -> Callable[[Any], Awaitable[object]]:
    """Compose the options of an async listener once more, around something that is put around it."""
    call, places = subscription.wrapped
    return _around_async(subscription, wrap(call), places)


def _around(subscription: SubscriptionWithOptions, call: Callable[[Any], object]) -> Callable[[Any], object]:
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
        if subscription.call is removed_listener:
            return "removed"
        return call(event)

    return asking


def _claimed(subscription: SubscriptionWithOptions, call: Callable[[Any], object]) -> Callable[[Any], object]:
    def claiming(event: Any, /) -> object:
        return call(event) if subscription.unsubscribe() else "once"

    return claiming


def _around_async(
    subscription: SubscriptionWithOptions, call: Callable[[Any], Awaitable[object]], places: LimitStateByLoop
) -> Callable[[Any], Awaitable[object]]:
    once, where, timeout, limit = subscription.options
    if timeout is not None:
        call = _within(timeout, call)
    # The one call of a once listener has nothing to wait for, and must not be cancelled after it was claimed.
    if limit is not None and not once:
        call = Limit(limit, subscription, call, places).call
    if once:
        call = _claimed_async(subscription, call)
    if where is None:
        return call

    async def asking(event: Any, /) -> object:
        answer = where(event)
        # As in `_around`.
        if answer is not True and not check_answer(answer, where):
            return "where"
        if subscription.call is removed_async_listener:
            return "removed"
        return await call(event)

    return asking


def _claimed_async(
    subscription: SubscriptionWithOptions, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    async def claiming(event: Any, /) -> object:
        return await call(event) if subscription.unsubscribe() else "once"

    return claiming


def _within(seconds: float, call: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
    async def timed(event: Any, /) -> None:
        with anyio.fail_after(seconds):
            await call(event)

    return timed
