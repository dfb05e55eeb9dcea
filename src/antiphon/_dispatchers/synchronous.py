"""The dispatcher for plain functions, and its scope."""

# ruff: noqa: SLF001  a scope uses private attributes of its parent
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from antiphon._dispatchers import loops
from antiphon._dispatchers.base import BaseDispatcher
from antiphon._dispatchers.checks import check_event
from antiphon._dispatchers.scope import ScopeMixin
from antiphon._dispatchers.sync_registering import SyncRegisteringMixin
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import is_stoppable
from antiphon._listeners.adapting import adapt_for_sync, unwrap_adapter
from antiphon._listeners.subscription import Subscription, SubscriptionWithOptions, removed_listener
from antiphon._registry.plan import CachedPlan, Plan, StrategyStep
from antiphon._strategies.errors import ErrorCollector, ErrorPolicy, annotate_exception, check_error_policy
from antiphon._types import DeclaredNamesSource, EventName, Name
from antiphon._util.arguments import MISSING, hides_collected_arguments, hides_parameters, make_argument_error
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import publish, safe_repr

if TYPE_CHECKING:
    from antiphon._dispatchers import observed_loops as _observed_loops
    from antiphon._dispatchers import overrides as _overrides
    from antiphon._dispatchers.sync_overloads import SyncOverloads as _Base
    from antiphon._listeners import options as _options
    from antiphon._strategies import observed_plan as _observed_plan
else:
    # Many programs have no instruments and no options, and do not override how listeners are run.
    _overrides = LazyModule("antiphon._dispatchers.overrides")
    _observed_loops = LazyModule("antiphon._dispatchers.observed_loops")
    _observed_plan = LazyModule("antiphon._strategies.observed_plan")
    _options = LazyModule("antiphon._listeners.options")
    _Base = SyncRegisteringMixin

__all__ = ("EventDispatcher", "Scope")

E = TypeVar("E")


class EventDispatcher(_Base, BaseDispatcher):
    """Dispatches events to plain functions, without an event loop.

    Args:
        errors: The error policy. ``"raise"``: the dispatch raises the first error and ends. ``"collect"``: all
            listeners run, then the dispatch raises all errors in one ``ExceptionGroup``. ``"log"``: the error is
            logged, and the dispatch continues. A plain function is called with the exception, the event and the
            listener, and the dispatch continues.
        name: The name of the dispatcher in its repr and in the notes on errors.
        names: The names that the dispatcher knows: a module of events, an ``Enum`` class, an event class with a
            class-level name, a name, or several of them. Any other name is refused, when listening and when
            dispatching. By default, every name is valid.

    Raises:
        TypeError: If ``errors`` is neither a string nor a plain function, or if the class overrides ``do_dispatch``
            and the policy is not ``"raise"``, or if ``names`` contains an object that is not a name.
        ValueError: If ``errors`` is another string, or if a module in ``names`` defines no name.
    """

    _errors: ErrorPolicy = "raise"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_execution = cls.do_dispatch is not EventDispatcher.do_dispatch

    @hides_collected_arguments
    def __init__(
        self,
        *extra: Never,
        errors: ErrorPolicy = "raise",
        name: str | None = None,
        names: DeclaredNamesSource = None,
        **unknown: Never,
    ) -> None:
        if extra or unknown:
            raise make_argument_error(EventDispatcher.__init__, "EventDispatcher()", extra, unknown)
        self._errors = check_error_policy(errors)
        if self._overrides_execution and self._errors != "raise":
            raise TypeError(
                f"{type(self).__name__} overrides do_dispatch, which runs its listeners itself; it cannot follow "
                f"errors={safe_repr(errors)}"
            )
        super().__init__(name=name, placeholder=removed_listener, names=names)

    @property
    def errors(self) -> ErrorPolicy:
        """The error policy."""
        return self._errors

    if not TYPE_CHECKING:
        dispatch = loops.dispatch

    if TYPE_CHECKING:

        @overload
        def prepare(self, name: EventName[E], /) -> Callable[[E], E]: ...
        @overload
        def prepare(self, name: Name, /) -> Callable[[E], E]: ...

    @hides_collected_arguments
    def prepare(self, name: Any = MISSING, /, *extra: Any, **unknown: Any) -> Callable[[Any], Any]:
        """Return a function that dispatches an event under one name, for places where time matters.

        ``prepared(event)`` has the effect of ``dispatcher.dispatch(name, event)``. See `AsyncEventDispatcher.prepare`.

        Args:
            name: The name of the dispatches.

        Returns:
            A function that takes the event and returns it.

        Raises:
            TypeError: If the name is None, unhashable, a pattern, or another object that cannot be a key.
            ValueError: If the dispatcher declares its names, and this is not one of them.
        """
        if extra or unknown or name is MISSING:
            raise make_argument_error(EventDispatcher.prepare, "prepare(name)", extra, unknown)
        self._check_dispatch_name(name)
        if getattr(self.dispatch, "__func__", None) is loops.dispatch:
            fast: Callable[[Any], Any] = loops.prepare_sync(self, name)
            return fast

        def prepared(event: Any, /) -> Any:
            return self.dispatch(name, check_event(name, event))

        return prepared

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Call `dispatch`, for code that awaits its dispatcher.

        Returns:
            The same event object.

        Raises:
            Exception: As for `dispatch`.
        """
        return self.dispatch(name, event)

    def do_dispatch(self, listeners: Iterable[Callable[[Any], object]], event: Any, /) -> None:
        """Run listeners one after another until one stops the event.

        A subclass may override this method. It receives the listeners in order, as callables that compare equal to the
        listeners and have their reprs. A listener that is removed during the dispatch does nothing when called.
        """
        stoppable = is_stoppable(event)
        for listener in listeners:
            listener(event)
            if stoppable and event.propagation_stopped:
                break

    @hides_collected_arguments
    def scope(self, *extra: Never, name: str | None = None, **unknown: Never) -> Scope:
        """Create a dispatcher for one request or test.

        Args:
            name: As for `AsyncEventDispatcher.scope`.

        Returns:
            A dispatcher that is also a context manager. The end of its block removes its listeners, and the scope
            cannot be used afterwards.

        Raises:
            TypeError: If the name is neither a str nor None.
            RuntimeError: If this dispatcher is a scope that has ended.
        """
        if extra or unknown:
            raise make_argument_error(EventDispatcher.scope, "scope()", extra, unknown)
        return Scope(self, name)

    def _dispatch_slow(self, cached: CachedPlan, name: Hashable, event: Any) -> Any:
        if cached.observers is not None and cached.runs_in_observed_loop(name, event):
            return _observed_loops.dispatch(cached, name, event)
        capabilities = cached.capabilities
        info = cached.info
        if info.name is not name:
            cached, info = self._get_plan_for_equal_name(cached, name), DispatchInfo(name, self)
        loops.change_running(1)
        try:
            outer = capabilities.begin_dispatch(event, info)
            try:
                if cached.observers is not None and not cached.plan:
                    _observed_plan.observe_unheard(cached, name, event)
                elif cached.observers is None:
                    self._run_plan(cached.plan, cached.first_step, event)
                else:
                    depth = 0 if outer is None else capabilities.get_nesting_depth(event)
                    with _observed_plan.ObservedDispatch(cached, name, event, depth) as dispatch:
                        self._run_plan(_observed_plan.observe_plan(dispatch), None, event)
            except BaseException:
                # As in `AsyncEventDispatcher`.
                with suppress(Exception):
                    capabilities.end_dispatch(event, outer)
                raise
            capabilities.end_dispatch(event, outer)
        finally:
            loops.change_running(-1)
        return event

    def _run_plan(self, plan: Plan, step: Subscription | StrategyStep | None, event: Any) -> None:
        if not self._overrides_execution:
            self._run_with_policy(plan, event)
        elif plan:
            step = step or self._make_override_step(plan)
            try:
                step.call(event)
            except Exception as exc:
                annotate_exception(exc, step, plan, event)
                raise

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
                # Not in the handler above: raising there would replace the context or the cause of the error.
                raise ending
            if plan.stoppable and event.propagation_stopped:
                break
        collector.raise_errors()

    def _adapt_listener(self, listener: Any, /) -> Callable[[Any], Any]:
        return adapt_for_sync(listener)

    def _wrap_options(self, subscription: SubscriptionWithOptions, call: Callable[[Any], Any], /) -> Any:
        return _options.wrap_with_options(subscription, call)

    def _unwrap_listener(self, listener: Any, /) -> tuple[Any, str | None]:
        return unwrap_adapter(listener, "refuse")

    def _make_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        if self._overrides_execution:
            return (self._make_override_step(plan),) if plan else ()
        if not plan or self._errors == "raise":
            return plan.listeners
        return (StrategyStep(partial(self._run_with_policy, plan)),)

    def _make_override_step(self, plan: Plan, /) -> StrategyStep:
        listeners, by_code = _overrides.make_proxies(plan, _overrides.call_annotated)
        return _overrides.OverrideStep(lambda event: self.do_dispatch(listeners, event), by_code)


class Scope(ScopeMixin, EventDispatcher):
    """The scope of an `EventDispatcher`, returned by its ``scope()``."""

    _parent: EventDispatcher

    @hides_parameters
    def __init__(self, parent: EventDispatcher, name: str | None) -> None:
        self._parent = parent
        self._overrides_execution = parent._overrides_execution
        super().__init__(errors=parent._errors, name=name)

    def do_dispatch(self, listeners: Iterable[Callable[[Any], object]], event: Any, /) -> None:
        """Run listeners as the parent does."""
        self._parent.do_dispatch(listeners, event)


publish("antiphon", SyncRegisteringMixin, EventDispatcher, Scope)
for _published in (SyncRegisteringMixin, EventDispatcher, Scope):
    # As in the module `antiphon`.
    _published.__annotations__.clear()
