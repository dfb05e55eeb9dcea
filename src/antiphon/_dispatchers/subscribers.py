"""Subscribers: objects of which several methods listen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, cast

from antiphon._listeners.subscription import DEFAULT_OPTIONS, Options, Subscription, check_options
from antiphon._registry.keys import check_key
from antiphon._util.naming import safe_repr
from antiphon._util.validation import check_priority

__all__ = ("ListenerMark", "Subscriptions", "listens_to", "register_methods")

F = TypeVar("F", bound=Callable[..., Any])

_MARKS_ATTRIBUTE: Final = "__antiphon_listens_to__"


class ListenerMark(NamedTuple):
    """What a method listens to."""

    key: Hashable
    priority: int = 0
    options: Options = DEFAULT_OPTIONS


def listens_to(
    key: Hashable,
    /,
    *,
    priority: int = 0,
    once: bool = False,
    where: Callable[[Any], object] | None = None,
    timeout: float | None = None,
    limit: int | None = None,
) -> Callable[[F], F]:
    """ListenerMark a method of a subscriber: ``add_subscriber`` registers it. A method may have several marks.

    The marks of a method are inherited; a method that overrides it keeps them, unless it has marks of its own.

    Args:
        key: What to listen to, as for ``add_listener``.
        priority: Lower ones run first.
        once: Whether the method is taken back by its first call under this mark.
        where: A plain function of the event, which tells whether the method is called.
        timeout: How long a call may take, in seconds.
        limit: How many calls may run at a time, per event loop.

    Returns:
        A decorator that gives its method back unchanged.

    Raises:
        TypeError: As ``add_listener``.
        ValueError: As ``add_listener``.
    """
    if isinstance(key, FunctionType):
        raise TypeError(
            f'listens_to() takes the key: above {key.__name__}, write @listens_to("order.placed") instead of '
            f"@listens_to"
        )
    mark = ListenerMark(key, priority, Options(once, where, timeout, limit))
    check_key(key)
    check_priority(priority)
    check_options(mark.options)

    def decorate(method: F) -> F:
        # A property, for one, has no room for a mark.
        if not hasattr(method, "__dict__"):
            raise TypeError(f"listens_to() marks methods; got {safe_repr(method)} ({type(method).__name__})")
        marks: tuple[ListenerMark, ...] = vars(method).get(_MARKS_ATTRIBUTE, ())
        # Decorators apply from below; marks count as they are read, from above.
        setattr(method, _MARKS_ATTRIBUTE, (mark, *marks))
        return method

    return decorate


def find_marked_methods(subscriber: object) -> Iterator[tuple[str, ListenerMark]]:
    """Find the marks of a subscriber's methods, base classes first, each in the order of definition.

    Raises:
        TypeError: The subscriber is a class, or has no marked method.
    """
    if isinstance(subscriber, type):
        raise TypeError(f"a subscriber is an instance; write {subscriber.__name__}() instead of {subscriber.__name__}")
    cls = type(subscriber)
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = [(name, mark) for name in names for mark in _find_marks(cls, name)]
    if not found:
        raise TypeError(
            f'{safe_repr(subscriber)} has no method marked with @listens_to("order.placed"), so it would hear nothing'
        )
    return iter(found)


def _find_marks(cls: type[Any], name: str) -> tuple[ListenerMark, ...]:
    for base in cls.__mro__:
        marks = _get_own_marks(vars(base).get(name))
        if marks:
            # Asked last, and only here: what is not marked is none of our business, and may mind being touched.
            return marks if callable(getattr(cls, name, None)) else ()
    return ()


def _get_own_marks(method: object) -> tuple[ListenerMark, ...]:
    # Asked of its __dict__, since a mock has every attribute it is asked for.
    marks: tuple[ListenerMark, ...] = getattr(method, "__dict__", {}).get(_MARKS_ATTRIBUTE, ())
    if isinstance(method, (staticmethod, classmethod)):
        return marks + _get_own_marks(cast("Any", method).__func__)
    return marks


def register_methods(
    subscriber: object, register: Callable[[Hashable, Any, int, Options], list[Subscription]]
) -> Subscriptions:
    """Register the marked methods of a subscriber, all or none of them.

    Raises:
        TypeError: It is a class, no method of it is marked, or one is no listener.
    """
    registered: list[Subscription] = []
    try:
        for name, mark in find_marked_methods(subscriber):
            registered += register(mark.key, getattr(subscriber, name), mark.priority, mark.options)
    except BaseException:
        Subscriptions(registered).unsubscribe()
        raise
    return Subscriptions(registered)


class Subscriptions(tuple[Subscription, ...]):
    """The handle of a subscriber: its registrations, to be taken back together."""

    __slots__ = ()

    def unsubscribe(self) -> bool:
        """Take all of these registrations back, at once.

        Returns:
            Whether any of them was still there. A second use does nothing.
        """
        return sum(subscription.unsubscribe() for subscription in self) > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.unsubscribe()
