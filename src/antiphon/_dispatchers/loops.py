"""The loops that run the listeners of plain dispatches: async and sync, each by name and prepared.

The four functions contain the loop themselves, because another function call would cost as much as the rest of a
dispatch. Every other dispatch is passed to ``_dispatch_slow`` of the dispatcher: under another strategy than the
default one, with instruments that observe it, with an event whose class needs more than plain assignments, and the
dispatch of an event by a listener that received it. Instruments that do not observe every dispatch are asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from antiphon._events.attributes import DispatchInfo
from antiphon._listeners.adapters import name_usage
from antiphon._strategies.errors import annotate_exception
from antiphon._util.arguments import MISSING, documented_by
from antiphon._util.gil import HAS_GIL

__all__ = ("adispatch", "change_running", "dispatch", "prepare_async", "prepare_sync")

F = TypeVar("F")


class _Documentation:
    """The documented signatures."""

    async def adispatch(self: Any, name: Any, event: Any = None, /, *, strategy: Any = None) -> Any:
        raise NotImplementedError

    def dispatch(self: Any, name: Any, event: Any = None, /) -> Any:
        raise NotImplementedError


# The functions share a variable of an enclosing function, because CPython reads and writes it faster than a global
# variable or an attribute.
def _make_loops() -> tuple[Any, ...]:  # noqa: C901, PLR0915  it only defines functions
    # How many dispatches have called a listener that has not returned. Only such a listener can dispatch an event that
    # is in flight. If there is none, a dispatch need not look at its event, which takes longer. The number may be too
    # high, but never too low: with a GIL, threads do not switch within ``running += 1``.
    running = 0 if HAS_GIL else 1

    # Only the documented signature has keyword-only and positional-only parameters. Keyword-only parameters are slower.
    # The others accept keywords, because a message for them would cost time in every call.
    @documented_by(_Documentation.adispatch)
    async def adispatch(self: Any, name: Any = MISSING, event: Any = None, strategy: Any = None) -> Any:  # noqa: C901, D417  the loop is written out
        """Dispatch an event to its listeners.

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
            RuntimeError: If this dispatcher is a scope that has ended.
            RecursionError: If too many dispatches are nested, each in a listener of the previous one.
            BaseExceptionGroup: If a cancellation or an interrupt ends a dispatch that has collected errors: the errors
                and the cancellation or interrupt.
        """
        nonlocal running
        if event is None:
            name, event = self._resolve_argument(name)
        try:
            cached = self._cached_plans[name][type(event)]
        except (KeyError, TypeError, AttributeError):
            cached = self._get_cached_plan(name, event)
        while (
            not cached.is_fast
            or strategy is not None
            or (running and getattr(event, "_antiphon_in_flight", None) is event)
        ):
            if cached.variants is None:
                return await self._dispatch_slow(cached, name, event, strategy)
            cached = cached.variants.select()

        info = cached.info
        if info.name is not name and (type(name) is not str or type(info.name) is not str):
            # The names are equal, but differ in type. A listener that receives the name must receive this one.
            if name_usage.is_used:
                return await self._dispatch_slow(cached, name, event, None)
            info = DispatchInfo(name, self)
        event._antiphon_info = info
        step = cached.first_step
        if step is None:
            return event
        event._antiphon_in_flight = event
        running += 1
        try:
            await step.call(event)
            if cached.later_steps is not None:
                for step in cached.later_steps:
                    if event._antiphon_info.stopped:
                        break
                    await step.call(event)
        except BaseException as exc:
            annotate_exception(exc, step, cached.plan, event)
            raise
        finally:
            running -= 1
            event._antiphon_in_flight = None
        return event

    # `event_id` is the name of the parameter in whistle 1, which accepts it as a keyword.
    @documented_by(_Documentation.dispatch)
    def dispatch(self: Any, event_id: Any = MISSING, event: Any = None) -> Any:  # noqa: C901  the loop is written out
        """Dispatch an event to its listeners, one after another.

        The arguments are those of `AsyncEventDispatcher.adispatch`.

        Returns:
            The same event object.

        Raises:
            TypeError: If the name is unhashable, or if the arguments are not a name, an event, or a name and an event.
            Exception: If a listener raises under ``"raise"``: the same object, with a note that names the listener.
            ExceptionGroup: If listeners raise under ``"collect"``.
            RuntimeError: If this dispatcher is a scope that has ended.
            BaseExceptionGroup: If an interrupt ends a dispatch that has collected errors: the errors and the interrupt.
        """
        nonlocal running
        if event is None:
            event_id, event = self._resolve_argument(event_id)
        try:
            cached = self._cached_plans[event_id][type(event)]
        except (KeyError, TypeError, AttributeError):
            cached = self._get_cached_plan(event_id, event)
        while not cached.is_fast or (running and getattr(event, "_antiphon_in_flight", None) is event):
            if cached.variants is None:
                return self._dispatch_slow(cached, event_id, event)
            cached = cached.variants.select()

        info = cached.info
        if info.name is not event_id and (type(event_id) is not str or type(info.name) is not str):
            if name_usage.is_used:
                return self._dispatch_slow(cached, event_id, event)
            info = DispatchInfo(event_id, self)
        event._antiphon_info = info
        step = cached.first_step
        if step is None:
            return event
        event._antiphon_in_flight = event
        running += 1
        try:
            step.call(event)
            if cached.later_steps is not None:
                for step in cached.later_steps:
                    if event._antiphon_info.stopped:
                        break
                    step.call(event)
        except Exception as exc:
            annotate_exception(exc, step, cached.plan, event)
            raise
        finally:
            running -= 1
            event._antiphon_in_flight = None
        return event

    # In the two functions below, `_cached_plans` is replaced by the plans of the name.

    def prepare_async(self: Any, name: Hashable) -> Callable[[Any], Coroutine[Any, Any, Any]]:  # noqa: C901  the loop is written out
        plans = self._registry.keep_plans(name)

        async def prepared(event: Any, /) -> Any:  # noqa: C901
            nonlocal running
            try:
                cached = plans[type(event)]
            except KeyError:
                cached = self._get_cached_plan(name, event)
            while not cached.is_fast or (running and getattr(event, "_antiphon_in_flight", None) is event):
                if cached.variants is None:
                    return await self._dispatch_slow(cached, name, event, None)
                cached = cached.variants.select()

            info = cached.info
            if info.name is not name and (type(name) is not str or type(info.name) is not str):
                if name_usage.is_used:
                    return await self._dispatch_slow(cached, name, event, None)
                info = DispatchInfo(name, self)
            event._antiphon_info = info
            step = cached.first_step
            if step is None:
                return event
            event._antiphon_in_flight = event
            running += 1
            try:
                await step.call(event)
                if cached.later_steps is not None:
                    for step in cached.later_steps:
                        if event._antiphon_info.stopped:
                            break
                        await step.call(event)
            except BaseException as exc:
                annotate_exception(exc, step, cached.plan, event)
                raise
            finally:
                running -= 1
                event._antiphon_in_flight = None
            return event

        return _copy_code(prepared)

    def prepare_sync(self: Any, name: Hashable) -> Callable[[Any], Any]:  # noqa: C901  the loop is written out
        plans = self._registry.keep_plans(name)

        def prepared(event: Any, /) -> Any:  # noqa: C901
            nonlocal running
            try:
                cached = plans[type(event)]
            except KeyError:
                cached = self._get_cached_plan(name, event)
            while not cached.is_fast or (running and getattr(event, "_antiphon_in_flight", None) is event):
                if cached.variants is None:
                    return self._dispatch_slow(cached, name, event)
                cached = cached.variants.select()

            info = cached.info
            if info.name is not name and (type(name) is not str or type(info.name) is not str):
                if name_usage.is_used:
                    return self._dispatch_slow(cached, name, event)
                info = DispatchInfo(name, self)
            event._antiphon_info = info
            step = cached.first_step
            if step is None:
                return event
            event._antiphon_in_flight = event
            running += 1
            try:
                step.call(event)
                if cached.later_steps is not None:
                    for step in cached.later_steps:
                        if event._antiphon_info.stopped:
                            break
                        step.call(event)
            except Exception as exc:
                annotate_exception(exc, step, cached.plan, event)
                raise
            finally:
                running -= 1
                event._antiphon_in_flight = None
            return event

        return _copy_code(prepared)

    def change_running(change: int) -> None:
        """Change the number of dispatches that run a listener, for a dispatch that does not use these loops."""
        nonlocal running
        running += change

    return adispatch, dispatch, prepare_async, prepare_sync, change_running


def _copy_code(function: F) -> F:
    """Give a function a copy of its code, because CPython specializes bytecode per code object."""
    copied: Any = function
    copied.__code__ = copied.__code__.replace()
    # For messages and reprs, which would show the enclosing functions.
    copied.__qualname__ = copied.__name__
    return function


adispatch, dispatch, prepare_async, prepare_sync, change_running = _make_loops()
adispatch.__qualname__ = "AsyncEventDispatcher.adispatch"
dispatch.__qualname__ = "EventDispatcher.dispatch"
