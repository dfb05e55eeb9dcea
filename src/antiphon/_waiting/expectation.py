"""Waiting for one event."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from antiphon._listeners.subscription import (
    DEFAULT_OPTIONS,
    NameAwareListener,
    Options,
    Subscription,
    check_answer,
    check_options,
    when_removed,
)
from antiphon._registry.keys import check_key
from antiphon._util.naming import safe_repr
from antiphon._util.owner_loop import OwnerLoop

__all__ = ("Expectation",)


class Expectation:
    """Expects an event: made by ``dispatcher.expect(...)``, and used with ``async with``.

    It is armed when the block is entered, and the block ends when the event has come; a block that raises ends at once.
    If the scope that it listens on ends first, or its registration is removed, the block raises
    ``anyio.ClosedResourceError``.
    """

    __module__ = "antiphon"

    def __init__(
        self,
        register: Callable[[Hashable, Any, int, Options], list[Subscription]],
        key: Hashable,
        where: Callable[[Any], object] | None,
    ) -> None:
        check_key(key)
        check_options(Options(where=where))
        self._register = register
        self._key = key
        self._where = where
        # Reentrant, since a collected object's finalizer may remove the registration.
        self._lock = RLock()
        self._subscriptions: list[Subscription] = []
        # Why the event will not come.
        self._reason: str | None = None
        self._wakeup: tuple[OwnerLoop, anyio.Event] | None = None

    @property
    def event(self) -> Any:
        """The event that came.

        Raises:
            LookupError: None has come yet.
        """
        self._check_received()
        return self._event

    @property
    def name(self) -> Hashable:
        """The name under which it was dispatched; None if it had none.

        Raises:
            LookupError: None has come yet.
        """
        self._check_received()
        return self._name

    async def _on_event(self, name: Hashable, event: Any) -> None:
        if self._where is not None and not check_answer(self._where(event), self._where):
            return
        # Several dispatches may be here at the same time, in several threads.
        with self._lock:
            if hasattr(self, "_event"):
                return
            self._name = name
            self._event = event
        self._unsubscribe()
        self._wake()

    def _end(self, scope: object) -> None:
        if any(subscription.is_registered() for subscription in self._subscriptions):
            return
        with self._lock:
            if self._reason is None:
                self._reason = (
                    "its registration was removed before the event came; remove only listeners that you registered"
                    if scope is None
                    else f"{safe_repr(scope)} has ended; wait within the block of the scope, or on the dispatcher"
                )
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None:
            home, woken = self._wakeup
            home.call(woken.set)

    async def __aenter__(self) -> Self:
        if self._wakeup is not None:
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.expect(...)`")
        self._wakeup = OwnerLoop(), anyio.Event()
        try:
            self._subscriptions = self._register(self._key, NameAwareListener(self, self._on_event), 0, DEFAULT_OPTIONS)
        except BaseException:
            # Nothing is registered, so that it may be entered once more.
            self._wakeup = None
            raise
        for subscription in self._subscriptions:
            when_removed(subscription, self._end)
        if hasattr(self, "_event"):
            # It came in another thread before there was anything to disarm.
            self._unsubscribe()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        try:
            if exc is None and self._wakeup is not None:
                await anyio.lowlevel.checkpoint()  # noqa: ASYNC102  waiting is what the end is for
                await self._wakeup[1].wait()  # noqa: ASYNC102  waiting is what the end is for
        finally:
            self._unsubscribe()
        if exc is None and self._reason is not None and not hasattr(self, "_event"):
            raise anyio.ClosedResourceError(f"{self!r} will not come: {self._reason}")

    def _unsubscribe(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.unsubscribe()

    def _check_received(self) -> None:
        if not hasattr(self, "_event"):
            raise LookupError(
                f"{self!r} has not come yet; look at it after the `async with` block, or wait for it with "
                f"`await dispatcher.wait_for({safe_repr(self._key)})`"
            )

    def __repr__(self) -> str:
        return f"<expected {safe_repr(self._key)}>"
