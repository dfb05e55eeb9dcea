"""The dispatcher for async listeners, and its scope."""

# ruff: noqa: SLF001  a scope uses private attributes of its parent
from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import suppress
from enum import Enum
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Any, TypeVar, overload

from antiphon._dispatchers.scope import ScopeMixin
from antiphon._dispatchers.waiting import WaitingMixin
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import is_stoppable
from antiphon._events.event import Event
from antiphon._listeners.adapters import SyncListeners, adapt_for_async, check_sync_listeners, unwrap_adapter
from antiphon._listeners.options import wrap_async_with_options
from antiphon._listeners.subscription import Subscription, SubscriptionWithOptions, removed_async_listener
from antiphon._registry.plan import CachedPlan, Plan, StrategyStep
from antiphon._strategies.base import Strategy
from antiphon._strategies.errors import annotate_exception
from antiphon._strategies.selection import (
    check_strategy,
    drives_listeners,
    is_default_behavior,
    make_strategy_step,
    skips_empty_plans,
)
from antiphon._strategies.sequential import DEFAULT_STRATEGY
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import safe_repr
from antiphon.typing import AsyncListener

if TYPE_CHECKING:
    from antiphon._dispatchers import overrides as _overrides
    from antiphon._strategies import observed as _observed
else:
    # Many programs have no instruments and do not override how listeners are run.
    _overrides = LazyModule("antiphon._dispatchers.overrides")
    _observed = LazyModule("antiphon._strategies.observed")

__all__ = ("AsyncEventDispatcher", "AsyncScope")

E = TypeVar("E")
R = TypeVar("R")
A = TypeVar("A", bound=AsyncListener)


class AsyncEventDispatcher(WaitingMixin):
    """Dispatches events to async listeners, on asyncio or Trio.

    A dispatcher does not belong to an event loop. You can create it at import time, and use it in several event loops
    and threads at once.

    Args:
        strategy: How a dispatch runs its listeners by default: ``Sequential()``, ``Concurrent()``, ``Race()`` or a
            custom strategy. The default is ``Sequential()``.
        sync_listeners: How to treat plain functions: ``"refuse"`` raises a TypeError, ``"inline"`` calls them on the
            event loop, and ``"thread"`` runs them in a worker thread.
        name: The name of the dispatcher in its repr and in the notes on errors.

    Raises:
        TypeError: If ``strategy`` is not a strategy, or if the class overrides ``_adispatch`` and ``strategy`` is not
            the default.
        ValueError: If ``sync_listeners`` has another value.
    """

    _direct_call_flags = CO_COROUTINE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_execution = cls._adispatch is not AsyncEventDispatcher._adispatch

    def __init__(
        self,
        *,
        strategy: Strategy | None = None,
        sync_listeners: SyncListeners = "refuse",
        name: str | None = None,
    ) -> None:
        self._strategy = DEFAULT_STRATEGY if strategy is None else self._check_strategy(strategy)
        self._sync_listeners: SyncListeners = check_sync_listeners(sync_listeners)
        super().__init__(name=name, placeholder=removed_async_listener)

    if TYPE_CHECKING:
        # For type checkers: the listeners of this dispatcher are async.
        def add_listener(
            self,
            key: Hashable,
            listener: AsyncListener,
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Callable[[Any], object] | None = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Subscription: ...

        @overload
        def listen(
            self,
            key: type[E],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Callable[[E], object] | None = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[Callable[[E], Awaitable[R]]], Callable[[E], Awaitable[R]]]: ...
        @overload
        def listen(
            self,
            key: Hashable,
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Callable[[Any], object] | None = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[A], A]: ...
        def listen(self, key: Any, /, **options: Any) -> Any: ...

    @overload
    async def adispatch(
        self, name: str | Enum, event: None = None, /, *, strategy: Strategy | None = None
    ) -> Event: ...
    @overload
    async def adispatch(self, event: E, /, *, strategy: Strategy | None = None) -> E: ...
    @overload
    async def adispatch(self, name: Hashable, event: E, /, *, strategy: Strategy | None = None) -> E: ...
    # The hot path. It contains the loop itself, because another function call would cost as much as the rest of a
    # dispatch. Only the overloads declare `strategy` as keyword-only, because keyword-only parameters are slower.
    async def adispatch(self, name: Any, event: Any = None, /, strategy: Strategy | None = None) -> Any:
        """Dispatch an event to its listeners. (whistle)

        ``adispatch(name, event)`` dispatches the event under the name. ``adispatch(name)`` creates an `Event`; the
        name is a ``str`` or an ``Enum`` member. ``adispatch(event)`` dispatches the event under the ``name`` of its
        class, if the class has one. It is not an error if there are no listeners.

        Args:
            name: The name of the dispatch.
            event: The event that the listeners receive.
            strategy: How this dispatch runs its listeners. The default is the strategy of the dispatcher.

        Returns:
            The same event object.

        Raises:
            TypeError: If the name is unhashable, if the arguments are not a name, an event, or a name and an event, or
                if ``strategy`` cannot be used.
            Exception: If a listener raises under ``Sequential("raise")``: the same object, with a note that names the
                listener.
            ExceptionGroup: If listeners raise under `Concurrent` or `Race` with ``"raise"``, or under ``"collect"``. In
                the group, a `ListenerCancelled` stands for a cancellation that was not requested.
            RecursionError: If too many dispatches are nested, each in a listener of the previous one.
            BaseExceptionGroup: If a cancellation or an interrupt ends a dispatch that has collected errors: the errors
                and the cancellation or interrupt.
        """
        if event is None:
            name, event = self._resolve_argument(name)
        try:
            cached = self._cached_plans[name][type(event)]
        except (KeyError, TypeError):
            cached = self._get_cached_plan(name, event)
        fast_steps = cached.fast_steps
        if fast_steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
            # The last condition: a listener dispatches the event that it received.
            return await self._dispatch_slow(cached, name, event, strategy)

        info = cached.info
        if info.name is not name:
            # The names are equal, but may differ in type.
            info = DispatchInfo(name, self)
        event._antiphon_info = info
        event._antiphon_stopped = False
        if not fast_steps:
            return event
        event._antiphon_in_flight = event
        try:
            for step in fast_steps:
                try:
                    await step.call(event)
                except BaseException as exc:
                    annotate_exception(exc, step, cached.plan, event)
                    raise
                if event._antiphon_stopped:
                    break
        finally:
            event._antiphon_in_flight = None
        return event

    def dispatch(self, name: Any, event: Any = None, /) -> Any:
        """Raise an error, because async listeners must be awaited. (whistle)

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            f"the listeners of an AsyncEventDispatcher are async: await dispatcher.adispatch({safe_repr(name)}, ...)"
        )

    async def _adispatch(self, listeners: Iterable[Callable[[Any], Awaitable[object]]], event: Any) -> None:
        """Run listeners one after another until one stops the event. (whistle)

        A subclass may override this method. It receives the listeners in order, as async callables that compare equal
        to the listeners and have their reprs. A listener that is removed during the dispatch does nothing when called.
        """
        stoppable = is_stoppable(event)
        for listener in listeners:
            await listener(event)
            if stoppable and event.propagation_stopped:
                break

    async def _dispatch_slow(self, cached: CachedPlan, name: Hashable, event: Any, strategy: Strategy | None) -> Any:
        strategy = self._strategy if strategy is None else self._check_strategy(strategy)
        capabilities = cached.capabilities
        info = cached.info if cached.info.name is name else DispatchInfo(name, self)
        outer = capabilities.begin_dispatch(event, info)
        try:
            if not cached.instruments:
                if self._overrides_execution:
                    await self._adispatch(cached.override_listeners, event)
                else:
                    await strategy.run(cached.plan, event)
            else:
                with _observed.AsyncObservedDispatch(cached, name, event, drives_listeners(strategy)) as observed:
                    if self._overrides_execution:
                        await self._adispatch(self._make_override_listeners(observed), event)
                    else:
                        await strategy.run(observed, event)
        except BaseException:
            # Raise the exception that ended the dispatch, even if a setter of the event raises now.
            with suppress(Exception):
                capabilities.end_dispatch(event, outer)
            raise
        capabilities.end_dispatch(event, outer)
        return event

    def scope(self) -> AsyncScope:
        """Create a dispatcher for one request or test.

        A dispatch on the scope runs the listeners of the scope and those of this dispatcher, sorted together by
        priority. A dispatch on this dispatcher does not run the listeners of the scope. The scope has the strategy of
        this dispatcher.

        Returns:
            A dispatcher that is also a context manager. The end of its block removes its listeners.
        """
        return AsyncScope(self)

    def _check_strategy(self, strategy: object) -> Strategy:
        checked = check_strategy(strategy)
        if self._overrides_execution and not is_default_behavior(checked):
            raise TypeError(
                f"{type(self).__name__} overrides _adispatch, which runs its listeners one after another; "
                f"it cannot follow {safe_repr(strategy)}"
            )
        return checked

    def _adapt_listener(self, listener: Any, /) -> Callable[[Any], Any]:
        return adapt_for_async(listener, self._sync_listeners)

    def _wrap_options(self, subscription: SubscriptionWithOptions, /) -> Callable[[Any], Any]:
        return wrap_async_with_options(subscription, subscription.call)

    def _unwrap_listener(self, listener: Any, /) -> tuple[Any, str | None]:
        return unwrap_adapter(listener, self._sync_listeners)

    def _make_override_listeners(self, plan: Plan, /) -> tuple[Any, ...]:
        return tuple(_overrides.AsyncListenerProxy(subscription, plan) for subscription in plan.listeners)

    def _get_fast_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        if is_default_behavior(self._strategy) or (not plan and skips_empty_plans(self._strategy)):
            return plan.listeners
        return (make_strategy_step(self._strategy, plan),)


class AsyncScope(ScopeMixin, AsyncEventDispatcher):
    """The scope of an `AsyncEventDispatcher`, returned by its ``scope()``."""

    _parent: AsyncEventDispatcher

    def __init__(self, parent: AsyncEventDispatcher) -> None:
        self._parent = parent
        self._overrides_execution = parent._overrides_execution
        super().__init__(strategy=parent._strategy, sync_listeners=parent._sync_listeners)

    async def _adispatch(self, listeners: Iterable[Callable[[Any], Awaitable[object]]], event: Any) -> None:
        await self._parent._adispatch(listeners, event)
