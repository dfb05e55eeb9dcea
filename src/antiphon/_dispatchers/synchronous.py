"""The dispatcher for plain functions."""

# ruff: noqa: SLF001  a scope is made of the inside of its parent
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from antiphon._dispatchers.base import BaseDispatcher
from antiphon._dispatchers.scope import ScopeMixin
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import is_stoppable
from antiphon._events.event import Event
from antiphon._listeners.adapters import adapt_for_sync
from antiphon._listeners.options import wrap_with_options
from antiphon._listeners.subscription import Options, Subscription, SubscriptionWithOptions, removed_listener
from antiphon._registry.plan import CachedPlan, Plan, StrategyStep
from antiphon._strategies.errors import ErrorCollector, ErrorPolicy, annotate_exception, check_error_policy
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import safe_repr

if TYPE_CHECKING:
    from antiphon._dispatchers import overrides as _overrides
    from antiphon._strategies import observed as _observed
else:
    # Many programs have no instruments and do not override how listeners are run.
    _overrides = LazyModule("antiphon._dispatchers.overrides")
    _observed = LazyModule("antiphon._strategies.observed")

__all__ = ("EventDispatcher", "Scope")

E = TypeVar("E")


class EventDispatcher(BaseDispatcher):
    """Dispatches events to plain functions, without an event loop.

    Args:
        errors: The error policy: ``"raise"`` (the first error leaves unchanged), ``"collect"`` (all listeners run,
            then the errors leave in one ``ExceptionGroup``), ``"log"`` (the error is logged, and the dispatch goes
            on), or a plain function of the exception, the event and the listener, after which the dispatch goes on.
        name: What the dispatcher is called in its repr, and in the notes on errors.

    Raises:
        TypeError: ``errors`` is neither a string nor a plain function, or the class overrides ``do_dispatch`` and
            the policy is not ``"raise"``.
        ValueError: ``errors`` is another string.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_execution = cls.do_dispatch is not EventDispatcher.do_dispatch

    def __init__(self, *, errors: ErrorPolicy = "raise", name: str | None = None) -> None:
        self._errors: ErrorPolicy = check_error_policy(errors)
        if self._overrides_execution and self._errors != "raise":
            raise TypeError(
                f"{type(self).__name__} overrides do_dispatch, which runs its listeners itself; it cannot follow "
                f"errors={safe_repr(errors)}"
            )
        super().__init__(name=name, placeholder=removed_listener)

    @overload
    def dispatch(self, name: str | Enum, event: None = None, /) -> Event: ...
    @overload
    def dispatch(self, event: E, /) -> E: ...
    @overload
    def dispatch(self, name: Hashable, event: E, /) -> E: ...
    # The hot path, as above.
    def dispatch(self, name: Any, event: Any = None, /) -> Any:
        """Give an event to its listeners, one after another. (whistle)

        The arguments are those of `AsyncEventDispatcher.adispatch`.

        Returns:
            The very event.

        Raises:
            TypeError: The name is unhashable, or there is no event.
            Exception: What a listener raised, under the policy ``"raise"``: unchanged but for a note that tells where.
            ExceptionGroup: What listeners raised, under ``"collect"``.
            BaseExceptionGroup: Errors in hand, together with the interrupt that ended the dispatch.
        """
        if event is None:
            name, event = self._address(name)
        try:
            cached = self._cached_plans[name][type(event)]
        except (KeyError, TypeError):
            cached = self._get_cached_plan(name, event)
        fast_steps = cached.fast_steps
        if fast_steps is None or getattr(event, "_antiphon_in_flight", None) is event:
            # The latter: a listener that was given the event dispatches it again.
            return self._dispatch_slow(cached, name, event)

        info = cached.info
        if info.name is not name:
            # An equal one, which may be of another type.
            info = DispatchInfo(name, self)
        event._antiphon_info = info
        event._antiphon_stopped = False
        if not fast_steps:
            return event
        event._antiphon_in_flight = event
        try:
            for step in fast_steps:
                try:
                    step.call(event)
                except Exception as exc:
                    annotate_exception(exc, step, cached.plan, event)
                    raise
                if event._antiphon_stopped:
                    break
        finally:
            event._antiphon_in_flight = None
        return event

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Do what `dispatch` does, for code that awaits its dispatcher. (whistle)

        Returns:
            The very event.

        Raises:
            Exception: As `dispatch`.
        """
        return self.dispatch(name, event)

    def do_dispatch(self, listeners: Iterable[Callable[[Any], object]], event: Any, /) -> None:
        """Run listeners one after another until one stops the event. (whistle)

        A subclass may override it. What it gets are the listeners in order, each a callable that equals the
        listener and has its repr; one that is removed during the dispatch does nothing when it is called.
        """
        stoppable = is_stoppable(event)
        for listener in listeners:
            listener(event)
            if stoppable and event.propagation_stopped:
                break

    def scope(self) -> Scope:
        """Make a dispatcher for a request, or a test, that adds listeners of its own to those of this one.

        As `AsyncEventDispatcher.scope`.

        Returns:
            A dispatcher that is a context manager, too; when its block ends, its listeners are taken back.
        """
        return Scope(self)

    def _dispatch_slow(self, cached: CachedPlan, name: Hashable, event: Any) -> Any:
        capabilities = cached.capabilities
        info = cached.info if cached.info.name is name else DispatchInfo(name, self)
        outer = capabilities.begin_dispatch(event, info)
        try:
            if not cached.instruments:
                if self._overrides_execution:
                    self.do_dispatch(cached.override_listeners, event)
                else:
                    self._run_with_policy(cached.plan, event)
            else:
                with _observed.ObservedDispatch(cached, name, event) as observed:
                    if self._overrides_execution:
                        self.do_dispatch(self._make_override_listeners(observed), event)
                    else:
                        self._run_with_policy(observed, event)
        except BaseException:
            # As above.
            with suppress(Exception):
                capabilities.end_dispatch(event, outer)
            raise
        capabilities.end_dispatch(event, outer)
        return event

    def _run_with_policy(self, plan: Plan, event: Any) -> None:
        collector = ErrorCollector(self._errors, plan, event)
        for subscription in plan.listeners:
            ending = None
            try:
                subscription.call(event)
            except Exception as exc:
                ending = collector.handle(exc, subscription)
                if ending is exc:
                    raise
            except BaseException as exc:  # noqa: ASYNC103  raise_with always raises
                collector.raise_with(exc)
            if ending is not None:
                # Not in the handler above: it would replace the context, or the cause, that the policy's error has.
                raise ending
            if plan.stoppable and event.propagation_stopped:
                break
        collector.raise_errors()

    def _check_options(self, options: Options, /) -> None:
        super()._check_options(options)
        for option in ("timeout", "limit"):
            if getattr(options, option) is not None:
                raise TypeError(
                    f"an EventDispatcher has no event loop that could end or hold back a listener: {option}= is for "
                    f"listeners of an AsyncEventDispatcher"
                )

    def _adapt_listener(self, listener: Any, /) -> Callable[[Any], Any]:
        return adapt_for_sync(listener)

    def _wrap_options(self, subscription: SubscriptionWithOptions, /) -> Callable[[Any], Any]:
        return wrap_with_options(subscription, subscription.call)

    def _make_override_listeners(self, plan: Plan, /) -> tuple[Any, ...]:
        return tuple(_overrides.ListenerProxy(subscription, plan) for subscription in plan.listeners)

    def _get_fast_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        if not plan or self._errors == "raise":
            return plan.listeners
        return (StrategyStep(partial(self._run_with_policy, plan)),)


class Scope(ScopeMixin, EventDispatcher):
    """The scope of an `EventDispatcher`: what its ``scope()`` gives."""

    _parent: EventDispatcher

    def __init__(self, parent: EventDispatcher) -> None:
        self._parent = parent
        self._overrides_execution = parent._overrides_execution
        super().__init__(errors=parent._errors)

    def do_dispatch(self, listeners: Iterable[Callable[[Any], object]], event: Any, /) -> None:
        """Run listeners as the parent does."""
        self._parent.do_dispatch(listeners, event)
