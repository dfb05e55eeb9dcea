"""Proxies of listeners, passed to subclasses that override ``_adispatch`` or ``do_dispatch``.

A proxy answers as its listener does: its repr, equality, hash, attributes, signature, module and docstring. To set an
attribute sets it on the listener. A copy of a proxy is the proxy, as a copy of a function is the function, and a pickle
of it is one of the listener.
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

#: Attributes of functions that partials and adapters do not have. `inspect.iscoroutinefunction` asks for them.
_OF_FUNCTIONS: Final = frozenset(
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

    @property
    def __annotations__(self) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.__getattr__("__annotations__")

    @property
    def __wrapped__(self) -> Any:
        return self._antiphon_subscription.listener

    def __eq__(self, other: object) -> bool:
        stands_for = other._antiphon_subscription.listener if isinstance(other, _ListenerProxy) else other
        return bool(self._antiphon_subscription.listener == stands_for)

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
            function = _function_of(listener)
            if attribute in _OF_FUNCTIONS and function is not listener:
                return getattr(function, attribute)
            if attribute in ("__name__", "__qualname__"):
                # Subclasses log it, and whistle's listeners were functions.
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
        return _itself, (self._antiphon_subscription.listener,)


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


class _OfListener(str):
    """A text of a class of proxies, in whose place a proxy has what its listener has.

    It is a str because Python and its tools expect one of a class. A property would be found there instead.
    """

    __slots__ = ("_attribute",)

    _attribute: str

    def __new__(cls, text: str, attribute: str) -> Self:
        """Make it of what the class has."""
        made = super().__new__(cls, text)
        made._attribute = attribute
        return made

    def __get__(self, guard: _ListenerProxy | None, cls: type[_ListenerProxy]) -> Any:
        if guard is None:
            return str(self)
        listener = guard.__wrapped__
        while isinstance(listener, Wrapper):
            # Not those of our adapters, which say nothing of the listener.
            listener = listener.__wrapped__
        return getattr(listener, self._attribute, None)


for _kind in (ListenerProxy, AsyncListenerProxy):
    _kind.__module__ = _OfListener(_kind.__module__, "__module__")
    _kind.__doc__ = _OfListener(_kind.__doc__ or "", "__doc__")


def _function_of(listener: Any) -> Any:
    while True:
        if isinstance(listener, partial):
            listener = listener.func
        elif isinstance(listener, Wrapper):
            listener = listener.__wrapped__
        else:
            return listener


def _itself(listener: Any) -> Any:
    return listener
