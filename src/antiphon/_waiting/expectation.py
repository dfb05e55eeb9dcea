"""Waiting for one event: the object behind ``expect`` and ``wait_for``."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable
from types import MappingProxyType, TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
import anyio.lowlevel

from antiphon._backend import OwnerLoop
from antiphon._listeners.named import NameAwareListener
from antiphon._listeners.subscription import (
    DEFAULT_OPTIONS,
    Options,
    Subscription,
    check_answer,
    check_options,
    when_removed,
)
from antiphon._util.arguments import hides_parameters
from antiphon._util.contexts import AsyncContext
from antiphon._util.naming import publish, safe_repr

__all__ = ("Expectation",)

E_co = TypeVar("E_co", covariant=True)


class Expectation(AsyncContext, Generic[E_co]):
    """An expected event. ``dispatcher.expect(...)`` returns it, and it is used with ``async with``.

    It listens from the start of the block, and the end of the block waits until the event is received. A block that
    raises does not wait. If the scope that it listens on ends first, or its registration is removed, the block raises
    ``anyio.ClosedResourceError``.
    """

    _usage = "async with dispatcher.expect(key) as expected:` or `event = await dispatcher.wait_for(key)"
    _fixes = MappingProxyType(
        {
            **dict.fromkeys(("result", "value", "get"), "write `expected.event` after the `async with` block"),
            "wait": "the end of the `async with` block waits for the event",
        }
    )

    @hides_parameters
    def __init__(
        self,
        register: Callable[[Hashable, Any, int, Options], list[Subscription]],
        key: Hashable,
        where: Callable[[Any], object] | None,
    ) -> None:
        check_options(Options(where=where))
        self._register = register
        self._key = key
        self._where = where
        # Reentrant, because the finalizer of a collected object may remove the registration.
        self._lock = RLock()
        self._subscriptions: list[Subscription] = []
        # The reason why the event cannot be received any longer.
        self._closed_reason: str | None = None
        self._wakeup: tuple[OwnerLoop, anyio.Event] | None = None

    @property
    def event(self) -> E_co:
        """The event.

        Raises:
            LookupError: If it has not been received yet.
        """
        self._check_received()
        event: E_co = self._event
        return event

    @property
    def name(self) -> Hashable:
        """The name under which the event was dispatched, or None.

        Raises:
            LookupError: If the event has not been received yet.
        """
        self._check_received()
        return self._name

    async def _on_event(self, name: Hashable, event: Any) -> None:
        if self._where is not None and not check_answer(self._where(event), self._where):
            return
        # Dispatches in several threads may run this at the same time.
        with self._lock:
            if hasattr(self, "_event"):
                return
            self._name = name
            self._event = event
        self._unsubscribe()
        self._wake()

    def _on_removed(self, scope: object) -> None:
        if any(subscription.is_registered() for subscription in self._subscriptions):
            return
        with self._lock:
            if self._closed_reason is None:
                self._closed_reason = (
                    "its registration was removed before the event; remove only listeners that you have registered"
                    if scope is None
                    else f"{safe_repr(scope)} has ended; wait within the block of the scope, or on the dispatcher"
                )
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None:
            owner_loop, wakeup = self._wakeup
            owner_loop.call(wakeup.set)

    async def __aenter__(self) -> Self:
        if self._wakeup is not None:
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.expect(...)`")
        self._wakeup = OwnerLoop(), anyio.Event()
        try:
            self._subscriptions = self._register(self._key, NameAwareListener(self, self._on_event), 0, DEFAULT_OPTIONS)
        except BaseException:
            # Nothing is registered, so it can be entered again.
            self._wakeup = None
            raise
        for subscription in self._subscriptions:
            when_removed(subscription, self._on_removed)
        if hasattr(self, "_event"):
            # Another thread dispatched the event before there were subscriptions to remove.
            self._unsubscribe()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        try:
            if exc is None and self._wakeup is not None:
                await anyio.lowlevel.checkpoint()  # noqa: ASYNC102  the end of the block waits for the event
                await self._wakeup[1].wait()  # noqa: ASYNC102  the end of the block waits for the event
        finally:
            if self._closed_reason is None and not hasattr(self, "_event"):
                self._closed_reason = "an error or a cancellation has ended its block before; expect it again"
            self._unsubscribe()
        if exc is None and self._closed_reason is not None and not hasattr(self, "_event"):
            raise anyio.ClosedResourceError(f"{self!r} will not come: {self._closed_reason}")

    def _unsubscribe(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.unsubscribe()

    def _check_received(self) -> None:
        if not hasattr(self, "_event"):
            if self._closed_reason is not None:
                raise LookupError(f"{self!r} will not come: {self._closed_reason}")
            raise LookupError(
                f"{self!r} has not come yet; read it after the `async with` block, or wait for it with "
                f"`await dispatcher.wait_for({safe_repr(self._key)})`"
            )

    def __repr__(self) -> str:
        return f"<expected {safe_repr(self._key)}>"


publish("antiphon", AsyncContext, Expectation)
