"""Errors for a wrong use of a dispatcher: the arguments of a dispatch, and attributes that are missing."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from types import CoroutineType, FunctionType, NoneType
from typing import Any, Final, NoReturn

from antiphon._events.event import Event
from antiphon._util.arguments import MISSING
from antiphon._util.naming import safe_repr

__all__ = ("Uninitialized", "check_event", "check_order", "find_attribute", "refuse_argument")

#: The types of most names. With a name of another type, an event that is a string is probably the name.
_COMMON_NAMES: Final[tuple[type[Any], ...]] = (str, Enum, int, float, bytes, tuple, frozenset, NoneType)

#: Objects that make an event, and are not events.
_MAKERS: Final = (type, FunctionType, CoroutineType)

#: What ``__init__`` sets. A class that does not call it is the most common reason why an attribute is missing.
_SET_BY_INIT: Final = ("_registry", "_cached_plans", "_answers")


def check_event(name: Hashable, event: Any) -> Any:
    """Check that an object can be dispatched under a name.

    Returns:
        The object.

    Raises:
        TypeError: If it is None, a class, a function or a coroutine.
    """
    if event is None:
        raise TypeError(f"a dispatch prepared for {safe_repr(name)} takes an event; got None: create one, Event()")
    if isinstance(event, _MAKERS):
        _refuse_maker(event)
    return event


def check_order(name: Hashable, event: Any, method: str) -> None:
    """Check that the name of a dispatch is given, and comes first.

    Args:
        name: The name. It is neither a string nor None.
        event: The event.
        method: The name of the method that dispatches.

    Raises:
        TypeError: If the name is missing, or if it is probably the event.
    """
    if name is MISSING:
        raise TypeError(
            f"{method}() takes a name, an event, or both; got only event={safe_repr(event)}: write {method}(event) to "
            f"dispatch it under the name of its class, or {method}(name, event)"
        )
    if isinstance(name, Event) or (isinstance(event, str) and not issubclass(type(name), _COMMON_NAMES)):
        raise TypeError(f"the name comes first, then the event; got {safe_repr(name)} and {safe_repr(event)}")


def refuse_argument(single: Any, method: str) -> NoReturn:
    """Raise the error for the single argument of a dispatch that is None, missing or a class.

    Raises:
        TypeError: Always.
    """
    if single is MISSING:
        raise TypeError(
            f"{method}() takes a name, an event, or both; got nothing: write {method}(event), or "
            f'{method}("order.placed") for a name with a new Event'
        )
    fix = f": create an event with {single.__name__}(...)" if isinstance(single, type) else ""
    raise TypeError(f"a dispatch takes a name, an event, or both; got {safe_repr(single)}{fix}")


def _refuse_maker(event: Any) -> NoReturn:
    if isinstance(event, type):
        raise TypeError(
            f"expected an event, got the class {event.__name__}: create an event with {event.__name__}(...)"
        )
    if isinstance(event, FunctionType):
        raise TypeError(f"expected an event, got the function {event.__qualname__}: pass the event that it makes")
    # Otherwise Python would warn that it was never awaited.
    event.close()
    raise TypeError(f"expected an event, got the coroutine {event.__qualname__}(): await it first")


def _raise_uninitialized() -> NoReturn:
    raise AttributeError(
        "the dispatcher has no listeners yet: the `__init__` of its class must call super().__init__() before the "
        "dispatcher is used"
    ) from None


def find_attribute(self: Any, attribute: str) -> Any:
    """Raise the error for an attribute that a dispatcher does not have.

    Raises:
        AttributeError: Always, unless a property of a subclass that raised it before returns a value now.
    """
    if attribute in _SET_BY_INIT:
        _raise_uninitialized()
    try:
        # It raises again, and with its own error if a property of a subclass raised.
        return object.__getattribute__(self, attribute)
    except AttributeError as error:
        if any(attribute in vars(cls) for cls in type(self).__mro__):
            raise
        # Imported here, because only errors need it.
        from antiphon._dispatchers.foreign_names import find_fix

        fix = find_fix(attribute, self._dispatch_method)
        if fix is None:
            raise
        raise AttributeError(f"{error}: {fix}", name=attribute, obj=self) from None


class Uninitialized:
    """Stands for what ``__init__`` sets, in Python 3.11."""

    def __getattr__(self, attribute: object) -> NoReturn:
        _raise_uninitialized()
