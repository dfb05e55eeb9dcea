"""Proxies of listeners, passed to subclasses that override ``_adispatch`` or ``do_dispatch``.

A proxy has the repr, equality, hash, attributes, signature, module and docstring of its listener. Setting an attribute
of a proxy sets it on the listener. A copy of a proxy is the proxy itself, as for functions. A pickle of a proxy is a
pickle of the listener.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan
from antiphon._strategies.errors import add_note, annotate_exception
from antiphon._util.naming import Wrapper, short_name

__all__ = ("AsyncListenerProxy", "ListenerProxy")

_set = object.__setattr__

#: Attributes of functions that partials and adapters do not have. `inspect.iscoroutinefunction` reads them.
_FUNCTION_ATTRIBUTES: Final = frozenset(
    ("__annotations__", "__code__", "__defaults__", "__kwdefaults__", "_is_coroutine_mark", "_is_coroutine_marker")
)


class _ListenerProxy(Wrapper):
    __slots__ = ("__weakref__", "_antiphon_plan", "_antiphon_subscription")

    # Not annotated here, because a proxy has the annotations of its listener.
    if TYPE_CHECKING:
        _antiphon_plan: Plan
        _antiphon_subscription: Subscription

    def __init__(self, subscription: Subscription, plan: Plan) -> None:
        _set(self, "_antiphon_subscription", subscription)
        _set(self, "_antiphon_plan", plan)

    # Both type checkers expect a dict on the class. A proxy has the annotations of its listener.
    @property
    def __annotations__(self) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.__getattr__("__annotations__")

    @property
    def __wrapped__(self) -> Any:
        return self._antiphon_subscription.listener

    def __eq__(self, other: object) -> bool:
        compared = other._antiphon_subscription.listener if isinstance(other, _ListenerProxy) else other
        return bool(self._antiphon_subscription.listener == compared)

    def __hash__(self) -> int:
        return hash(self._antiphon_subscription.listener)

    def __repr__(self) -> str:
        return repr(self._antiphon_subscription.listener)

    def __str__(self) -> str:
        return str(self._antiphon_subscription.listener)

    def __dir__(self) -> list[str]:
        return dir(self._antiphon_subscription.listener)

    def __getattr__(self, attribute: str) -> Any:
        listener = self._antiphon_subscription.listener
        try:
            return getattr(listener, attribute)
        except AttributeError:
            function = _unwrap_function(listener)
            if attribute in _FUNCTION_ATTRIBUTES and function is not listener:
                return getattr(function, attribute)
            if attribute in ("__name__", "__qualname__"):
                # The listeners of whistle are functions, so a subclass may read their names.
                name = short_name(listener)
                return getattr(function, attribute, name.rpartition(".")[2] if attribute == "__name__" else name)
            raise

    def __setattr__(self, attribute: str, value: object) -> None:
        setattr(self._antiphon_subscription.listener, attribute, value)

    def __delattr__(self, attribute: str) -> None:
        delattr(self._antiphon_subscription.listener, attribute)

    def __copy__(self) -> _ListenerProxy:
        return self

    def __deepcopy__(self, memo: object) -> _ListenerProxy:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _identity, (self._antiphon_subscription.listener,)


class ListenerProxy(_ListenerProxy):
    """A proxy of a plain function."""

    __slots__ = ()

    def __call__(self, event: Any, /) -> Any:
        """Call the listener."""
        try:
            return self._antiphon_subscription.call(event)
        except Exception as exc:
            add_note(exc, self._antiphon_subscription, self._antiphon_plan, event)
            raise


class AsyncListenerProxy(_ListenerProxy):
    """A proxy of an async listener."""

    __slots__ = ()

    async def __call__(self, event: Any, /) -> Any:
        """Call the listener."""
        try:
            return await self._antiphon_subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, self._antiphon_subscription, self._antiphon_plan, event)
            raise


class _ListenerText(str):
    """A text attribute of a proxy class. On an instance it is the attribute of the listener.

    A property does not work, because Python and its tools expect a str when they read the attribute on the class.
    """

    __slots__ = ("_attribute",)

    _attribute: str

    def __new__(cls, text: str, attribute: str) -> Self:
        """Create it from the text of the class."""
        made = super().__new__(cls, text)
        made._attribute = attribute
        return made

    def __get__(self, proxy: _ListenerProxy | None, cls: type[_ListenerProxy]) -> Any:
        if proxy is None:
            return str(self)
        listener = proxy.__wrapped__
        while isinstance(listener, Wrapper):
            # Skip adapters: their texts do not describe the listener.
            listener = listener.__wrapped__
        return getattr(listener, self._attribute, None)


for _kind in (ListenerProxy, AsyncListenerProxy):
    _kind.__module__ = _ListenerText(_kind.__module__, "__module__")
    _kind.__doc__ = _ListenerText(_kind.__doc__ or "", "__doc__")


def _unwrap_function(listener: Any) -> Any:
    while True:
        if isinstance(listener, partial):
            listener = listener.func
        elif isinstance(listener, Wrapper):
            listener = listener.__wrapped__
        else:
            return listener


def _identity(listener: Any) -> Any:
    return listener
