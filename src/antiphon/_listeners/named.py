"""Listeners that also receive the name of the dispatch.

An event may not carry the name: nothing is set on a bare event, an event may have a ``name`` field of its own, and
concurrent listeners may dispatch the same event under other names. Therefore the name is bound to the listener in the
plan of each name, in a `NameBoundSubscription`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar, cast, overload

from antiphon._events.attributes import find_dispatch_name
from antiphon._listeners.adapters import Adapter, is_name_aware, name_usage
from antiphon._listeners.checks import check_callable
from antiphon._listeners.subscription import LinkedSubscription, Subscription, has_options
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import Wrapper, safe_repr

__all__ = ("NameAwareListener", "Named", "bind_name", "named")

S = TypeVar("S")
E = TypeVar("E")
R = TypeVar("R")


class Named(Adapter):
    """A listener that calls its function with the event and the name of the dispatch."""

    __slots__ = ()

    passes_name = True

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        name_usage.is_used = True

    def __call__(self, event: Any, /) -> Any:
        """Call the function outside of a dispatch. A dispatch calls what `bind_name` returns."""
        return self.function(event, find_dispatch_name(event))

    @property
    def __signature__(self) -> Any:
        import inspect

        signature = inspect.signature(self.function)
        parameters = list(signature.parameters.values())
        if len(parameters) > 1 and parameters[1].kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD:
            del parameters[1]
        return signature.replace(parameters=parameters)

    def describe(self) -> str:
        return "named"

    def __repr__(self) -> str:
        return f"named({safe_repr(self.function)})"


class _AsyncNamed(Named):
    __slots__ = ()

    async def __call__(self, event: Any, /) -> Any:
        return await self.function(event, find_dispatch_name(event))


@overload
def named(function: Callable[[E, Any], R], /) -> Callable[[E], R]: ...
@overload
def named(function: Callable[[S, E, Any], R], /) -> Callable[[S, E], R]: ...
def named(function: Callable[..., Any], /) -> Callable[..., Any]:
    """Make a listener that receives the name of the dispatch as well: ``function(event, name)``.

    Use it for a listener of several names, if the events do not carry the name, or have a ``name`` of their own.

    Args:
        function: A callable of the event and the name. The name is None if the event is dispatched without one. In a
            class body, a method of the event and the name.

    Returns:
        A callable of the event, async if the function is. Two of them are equal if their functions are.

    Raises:
        TypeError: If the function is not callable, or receives the name already.
    """
    check_callable(function, "named() takes a function of the event and the name")
    if is_name_aware(function):
        raise TypeError(
            f"named() takes a function of the event and the name; got {safe_repr(function)}, which receives the name "
            f"already: register it without another named()"
        )
    adapter: Any = function
    if isinstance(adapter, Adapter) and adapter.passes_event:
        # One form for both orders, so that they are equal.
        return cast("Callable[..., Any]", adapter.replace(named(adapter.function)))
    return (_AsyncNamed if is_async_callable(function) else Named)(function)


class NameAwareListener(Wrapper):
    """A listener of antiphon itself, which receives the name as well.

    Args:
        owner: The object that listens. Its repr is the repr of the listener.
        handle: An async callable of the name and the event.
    """

    __slots__ = ("_owner", "handle")

    passes_name = True

    def __init__(self, owner: object, handle: Callable[[Hashable, Any], Any]) -> None:
        name_usage.is_used = True
        self._owner = owner
        self.handle = handle

    async def __call__(self, event: Any, /) -> None:
        """Handle an event outside of a dispatch."""
        await self.handle(find_dispatch_name(event), event)

    @property
    def __wrapped__(self) -> Any:
        return self.handle

    @property
    def __signature__(self) -> Any:
        import inspect

        # Not that of `handle`, which receives the name as well.
        return inspect.signature(self.__call__)

    @property
    def listener_name(self) -> str:
        """The name of the listener."""
        return safe_repr(self._owner)

    def __repr__(self) -> str:
        return repr(self._owner)


class _BoundName(Wrapper):
    """A `Named` listener in the plan of one name."""

    __slots__ = ("_function", "_name", "_named")

    def __init__(self, listener: Named, name: Hashable) -> None:
        self._named = listener
        self._function = listener.function
        self._name = name

    def __call__(self, event: Any, /) -> Any:
        return self._function(event, self._name)

    @property
    def __wrapped__(self) -> Any:
        return self._named

    def __repr__(self) -> str:
        return repr(self._named)


def bind_name(subscription: Subscription, name: Hashable, wrap: Callable[..., Callable[[Any], Any]]) -> Subscription:
    """Return the subscription of a listener in the plan of one name.

    Args:
        subscription: A registration.
        name: The name.
        wrap: Wraps the options of a subscription around a callable.

    Returns:
        A proxy of the subscription, or the subscription itself if its listener does not receive the name.
    """
    if isinstance(subscription, LinkedSubscription):
        return cast("Subscription", subscription.map(lambda each: bind_name(each, name, wrap)))
    call = subscription.call
    listener_call = subscription.listener_call if has_options(subscription) else call
    if not is_name_aware(listener_call) or not subscription.is_registered():
        return subscription
    return cast("Subscription", NameBoundSubscription(subscription, call, _bind(listener_call, name), wrap))


def _bind(listener: Any, name: Hashable) -> Callable[[Any], Any]:
    if isinstance(listener, NameAwareListener):
        return partial(listener.handle, name)
    if isinstance(listener, Named):
        return _BoundName(listener, name)
    bound: Callable[[Any], Any] = listener.replace(_bind(listener.function, name))
    return bound


class NameBoundSubscription:
    """A proxy of the subscription of a `Named` listener in the plan of one name. Only its ``call`` differs."""

    __slots__ = ("_bound_call", "_unbound_call", "listener_call", "name_unbound")

    def __init__(
        self,
        subscription: Subscription,
        unbound_call: Callable[[Any], Any],
        listener_call: Callable[[Any], Any],
        wrap: Callable[..., Callable[[Any], Any]],
    ) -> None:
        #: The registration.
        self.name_unbound = subscription
        #: As in `SubscriptionWithOptions`.
        self.listener_call = listener_call
        self._unbound_call = unbound_call
        self._bound_call = wrap(subscription, listener_call) if has_options(subscription) else listener_call

    @property
    def call(self) -> Callable[[Any], Any]:
        """The listener with the name, or the placeholder after the removal."""
        call = self.name_unbound.call
        return self._bound_call if call is self._unbound_call else call

    def __getattr__(self, attribute: str) -> Any:
        if attribute in NameBoundSubscription.__slots__:
            # `copy` creates the object without its attributes.
            raise AttributeError(attribute)
        return getattr(self.name_unbound, attribute)

    def __repr__(self) -> str:
        return repr(self.name_unbound)


named.__module__ = "antiphon"
