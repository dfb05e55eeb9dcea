"""Functions that wrap the options of a registration around its listener.

The options are applied in this order, each only if it was given:

1. If the registration was removed, the call returns.
2. ``where`` is called. If it rejects the event, the listener is not called, and the registration keeps its ``once``.
   An exception from ``where`` is an error of the listener.
3. ``once`` removes the registration. From here on its only call is used up, however the call ends.
4. ``limit`` waits until fewer calls are running. If the registration was removed meanwhile, the call returns.
5. ``timeout`` starts.
6. The listener is called.

A wrapper that does not call the listener returns the reason, for instruments: ``"where"``, ``"once"`` or ``"removed"``.

An observed dispatch calls these functions again, with a listener that notifies the instruments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from antiphon._listeners.limits import Limit
from antiphon._listeners.subscription import (
    SubscriptionWithOptions,
    check_answer,
    removed_async_listener,
    removed_listener,
)

__all__ = ("wrap_async_with_options", "wrap_with_options")


def wrap_with_options(
    subscription: SubscriptionWithOptions, listener: Callable[[Any], object]
) -> Callable[[Any], object]:
    """Wrap ``where`` and ``once`` around a plain function."""
    once, where, _, _ = subscription.options
    call = _wrap_once(subscription, listener) if once else listener
    if where is None:
        return call

    def call_if_accepted(event: Any, /) -> object:
        answer = where(event)
        # Compare with True first: this is the usual answer, and the check takes longer.
        if answer is not True and not check_answer(answer, where):
            return "where"
        if subscription.call is removed_listener:
            return "removed"
        return call(event)

    return call_if_accepted


def _wrap_once(subscription: SubscriptionWithOptions, call: Callable[[Any], object]) -> Callable[[Any], object]:
    def call_once(event: Any, /) -> object:
        return call(event) if subscription.claim() else "once"

    return call_once


def wrap_async_with_options(
    subscription: SubscriptionWithOptions, listener: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    """Wrap all options around an async listener."""
    once, where, timeout, limit = subscription.options
    call = listener if timeout is None else _wrap_timeout(timeout, listener)
    # With `once` there is only one call. It does not have to wait, and must not be cancelled after the removal.
    if limit is not None and not once:
        call = Limit(limit, subscription, call).call
    if once:
        call = _wrap_async_once(subscription, call)
    if where is None:
        return call

    async def call_if_accepted(event: Any, /) -> object:
        answer = where(event)
        # As in `wrap_with_options`.
        if answer is not True and not check_answer(answer, where):
            return "where"
        if subscription.call is removed_async_listener:
            return "removed"
        return await call(event)

    return call_if_accepted


def _wrap_async_once(
    subscription: SubscriptionWithOptions, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    async def call_once(event: Any, /) -> object:
        return await call(event) if subscription.claim() else "once"

    return call_once


def _wrap_timeout(seconds: float, call: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
    async def call_with_timeout(event: Any, /) -> None:
        try:
            with anyio.fail_after(seconds) as scope:
                await call(event)
        except TimeoutError as error:
            # Entering the scope raises no TimeoutError.
            if scope.cancelled_caught:  # type: ignore[possibly-undefined]  # pyright: ignore[reportPossiblyUnboundVariable]
                # The error of `anyio.fail_after` has no text.
                error.args = (f"a call of the listener may take {seconds} seconds (timeout=), and has taken longer",)
            raise

    return call_with_timeout
