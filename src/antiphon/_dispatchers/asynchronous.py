"""The dispatcher for async listeners, and its scope."""

# ruff: noqa: SLF001  a scope uses private attributes of its parent
from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from contextlib import suppress
from enum import Enum
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Any, Never, NoReturn, TypeVar, overload

from antiphon._dispatchers import loops
from antiphon._dispatchers.checks import check_event
from antiphon._dispatchers.scope import ScopeMixin
from antiphon._dispatchers.waiting import WaitingMixin
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import is_stoppable
from antiphon._listeners.adapting import SyncListeners, adapt_for_async, check_sync_listeners, unwrap_adapter
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
from antiphon._types import AsyncListener, DeclaredNamesSource, EventName, Name
from antiphon._util.arguments import MISSING, hides_collected_arguments, hides_parameters, make_argument_error
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import format_key, safe_repr

if TYPE_CHECKING:
    from antiphon._dispatchers import observed_loops as _observed_loops
    from antiphon._dispatchers import overrides as _overrides
    from antiphon._dispatchers.async_overloads import AsyncOverloads as _Base
    from antiphon._listeners import options as _options
    from antiphon._strategies import observed_plan as _observed_plan
else:
    # Many programs have no instruments and no options, and do not override how listeners are run.
    _overrides = LazyModule("antiphon._dispatchers.overrides")
    _observed_loops = LazyModule("antiphon._dispatchers.observed_loops")
    _observed_plan = LazyModule("antiphon._strategies.observed_plan")
    _options = LazyModule("antiphon._listeners.options")
    _Base = WaitingMixin

__all__ = ("AsyncEventDispatcher", "AsyncScope")

E = TypeVar("E")
A = TypeVar("A", bound=Awaitable[object])
L = TypeVar("L", bound=AsyncListener)


class AsyncEventDispatcher(_Base):
    """Dispatches events to async listeners, on asyncio or Trio.

    A dispatcher does not belong to an event loop. You can create it at import time, and use it in several event loops
    and threads at once.

    Args:
        strategy: How a dispatch runs its listeners by default: ``Sequential()``, ``Concurrent()``, ``Race()`` or a
            custom strategy. The default is ``Sequential()``.
        sync_listeners: How to treat plain functions: ``"refuse"`` raises a TypeError, ``"inline"`` calls them on the
            event loop, and ``"thread"`` runs them in a worker thread.
        name: The name of the dispatcher in its repr and in the notes on errors.
        names: The names that the dispatcher knows: a module of events, an ``Enum`` class, an event class with a
            class-level name, a name, or several of them. Any other name is refused, when listening and when
            dispatching. By default, every name is valid.

    Raises:
        TypeError: If ``strategy`` is not a strategy, or if the class overrides ``_adispatch`` and ``strategy`` is not
            the default, or if ``names`` contains an object that is not a name.
        ValueError: If ``sync_listeners`` has another value, or if a module in ``names`` defines no name.
    """

    _direct_call_flags = CO_COROUTINE
    _strategy: Strategy = DEFAULT_STRATEGY
    _sync_listeners: SyncListeners = "refuse"
    _dispatch_method = "adispatch"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_execution = cls._adispatch is not AsyncEventDispatcher._adispatch

    @hides_collected_arguments
    def __init__(
        self,
        *extra: Never,
        strategy: Strategy | None = None,
        sync_listeners: SyncListeners = "refuse",
        name: str | None = None,
        names: DeclaredNamesSource = None,
        **unknown: Never,
    ) -> None:
        if extra or unknown:
            raise make_argument_error(AsyncEventDispatcher.__init__, "AsyncEventDispatcher()", extra, unknown)
        self._strategy = DEFAULT_STRATEGY if strategy is None else self._check_strategy(strategy)
        self._sync_listeners = check_sync_listeners(sync_listeners)
        super().__init__(name=name, placeholder=removed_async_listener, names=names)

    @property
    def strategy(self) -> Strategy:
        """How a dispatch runs its listeners by default."""
        return self._strategy

    if not TYPE_CHECKING:
        adispatch = loops.adispatch

    if TYPE_CHECKING:

        @overload
        def prepare(self, name: EventName[E], /) -> Callable[[E], Coroutine[Any, Any, E]]: ...
        @overload
        def prepare(self, name: Name, /) -> Callable[[E], Coroutine[Any, Any, E]]: ...

    @hides_collected_arguments
    def prepare(self, name: Any = MISSING, /, *extra: Any, **unknown: Any) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Return a function that dispatches an event under one name, for places where time matters.

        ``await prepared(event)`` has the effect of ``await dispatcher.adispatch(name, event)``, in less time: it does
        not look up the name. Listeners, strategy and instruments are those of the dispatcher at the time of the call.
        If `adispatch` is overridden, the function calls the override.

        The dispatcher remembers each prepared name as long as it lives, so prepare names once, not in each request.

        Args:
            name: The name of the dispatches.

        Returns:
            An async function that takes the event and returns it.

        Raises:
            TypeError: If the name is None, unhashable, a pattern, or another object that cannot be a key.
            ValueError: If the dispatcher declares its names, and this is not one of them.
        """
        if extra or unknown or name is MISSING:
            raise make_argument_error(AsyncEventDispatcher.prepare, "prepare(name)", extra, unknown)
        self._check_dispatch_name(name)
        if getattr(self.adispatch, "__func__", None) is loops.adispatch:
            fast: Callable[[Any], Coroutine[Any, Any, Any]] = loops.prepare_async(self, name)
            return fast

        async def prepared(event: Any, /) -> Any:
            return await self.adispatch(name, check_event(name, event))

        return prepared

    @hides_collected_arguments
    def dispatch(self, name: Never = MISSING, event: Any = None, /, *extra: Any, **unknown: Any) -> NoReturn:
        """Raise an error, because async listeners must be awaited.

        Raises:
            NotImplementedError: Always.
        """
        given: Any = unknown.get("event_id", unknown.get("name", MISSING)) if name is MISSING else name
        arguments = "name, event"
        if given is not MISSING:
            # An event has no form in code. Only a name can stand alone beside it.
            first = format_key(given) if isinstance(given, (str, Enum, type)) or event is not None else "event"
            arguments = first if event is None else f"{first}, event"
        raise NotImplementedError(
            f"the listeners of an AsyncEventDispatcher are async: await dispatcher.adispatch({arguments})"
        )

    async def _adispatch(self, listeners: Iterable[Callable[[Any], Awaitable[object]]], event: Any) -> None:
        """Run listeners one after another until one stops the event.

        A subclass may override this method. It receives the listeners in order, as async callables that compare equal
        to the listeners and have their reprs. A listener that is removed during the dispatch does nothing when called.
        """
        stoppable = is_stoppable(event)
        for listener in listeners:
            await listener(event)
            if stoppable and event.propagation_stopped:
                break

    def _dispatch_slow(
        self, cached: CachedPlan, name: Hashable, event: Any, strategy: Strategy | None
    ) -> Coroutine[Any, Any, Any]:
        if cached.observers is not None and strategy is None and cached.runs_in_observed_loop(name, event):
            return _observed_loops.adispatch(cached, name, event)
        return self._dispatch_plan(cached, name, event, strategy)

    async def _dispatch_plan(self, cached: CachedPlan, name: Hashable, event: Any, strategy: Strategy | None) -> Any:
        strategy = self._strategy if strategy is None else self._check_strategy(strategy)
        capabilities = cached.capabilities
        info = cached.info
        if info.name is not name:
            cached, info = self._get_plan_for_equal_name(cached, name), DispatchInfo(name, self)
        loops.change_running(1)
        try:
            outer = capabilities.begin_dispatch(event, info)
            try:
                if cached.observers is not None and not cached.plan and skips_empty_plans(strategy):
                    _observed_plan.observe_unheard(cached, name, event)
                elif cached.observers is None:
                    if self._overrides_execution:
                        await self._run_override(cached.plan, cached.first_step, event)
                    else:
                        await strategy.run(cached.plan, event)
                else:
                    depth = 0 if outer is None else capabilities.get_nesting_depth(event)
                    with _observed_plan.ObservedDispatch(cached, name, event, depth) as dispatch:
                        if self._overrides_execution:
                            await self._run_override(_observed_plan.observe_async_plan(dispatch), None, event)
                        else:
                            drives = drives_listeners(strategy)
                            await strategy.run(
                                _observed_plan.observe_async_plan(dispatch, drives_listeners=drives), event
                            )
            except BaseException:
                # Raise the exception that ended the dispatch, even if a setter of the event raises now.
                with suppress(Exception):
                    capabilities.end_dispatch(event, outer)
                raise
            capabilities.end_dispatch(event, outer)
        finally:
            loops.change_running(-1)
        return event

    async def _run_override(self, plan: Plan, step: Subscription | StrategyStep | None, event: Any) -> None:
        if plan:
            step = step or self._make_override_step(plan)
            try:
                await step.call(event)
            except BaseException as exc:
                annotate_exception(exc, step, plan, event)
                raise

    @hides_collected_arguments
    def scope(self, *extra: Never, name: str | None = None, **unknown: Never) -> AsyncScope:
        """Create a dispatcher for one request or test.

        A dispatch on the scope runs the listeners of the scope and those of this dispatcher, sorted together by
        priority. A dispatch on this dispatcher does not run the listeners of the scope. The scope has the strategy of
        this dispatcher.

        Args:
            name: The name of the scope in its repr and in the notes on errors.

        Returns:
            A dispatcher that is also a context manager. The end of its block removes its listeners, and the scope
            cannot be used afterwards.

        Raises:
            TypeError: If the name is neither a str nor None.
            RuntimeError: If this dispatcher is a scope that has ended.
        """
        if extra or unknown:
            raise make_argument_error(AsyncEventDispatcher.scope, "scope()", extra, unknown)
        return AsyncScope(self, name)

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

    def _wrap_options(self, subscription: SubscriptionWithOptions, call: Callable[[Any], Any], /) -> Any:
        return _options.wrap_async_with_options(subscription, call)

    def _unwrap_listener(self, listener: Any, /) -> tuple[Any, str | None]:
        return unwrap_adapter(listener, self._sync_listeners)

    def _make_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        if self._overrides_execution:
            return (self._make_override_step(plan),) if plan else ()
        if is_default_behavior(self._strategy) or (not plan and skips_empty_plans(self._strategy)):
            return plan.listeners
        return (make_strategy_step(self._strategy, plan),)

    def _make_override_step(self, plan: Plan, /) -> StrategyStep:
        listeners, by_code = _overrides.make_proxies(plan, _overrides.call_annotated_async)
        # Look the method up in each dispatch, because it may be replaced.
        return _overrides.OverrideStep(lambda event: self._adispatch(listeners, event), by_code)


class AsyncScope(ScopeMixin, AsyncEventDispatcher):
    """The scope of an `AsyncEventDispatcher`, returned by its ``scope()``."""

    _parent: AsyncEventDispatcher

    @hides_parameters
    def __init__(self, parent: AsyncEventDispatcher, name: str | None) -> None:
        self._parent = parent
        self._overrides_execution = parent._overrides_execution
        super().__init__(strategy=parent._strategy, sync_listeners=parent._sync_listeners, name=name)

    async def _adispatch(self, listeners: Iterable[Callable[[Any], Awaitable[object]]], event: Any) -> None:
        await self._parent._adispatch(listeners, event)
