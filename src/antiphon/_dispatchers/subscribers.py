"""Subscribers: objects whose marked methods are listeners."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, MethodType, TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, cast, overload

from antiphon._listeners.adapters import Adapter
from antiphon._listeners.subscription import DEFAULT_OPTIONS, Options, Subscription, check_options
from antiphon._registry.keys import combine_keys
from antiphon._types import Key, Name
from antiphon._util.arguments import hides_collected_arguments, make_argument_error
from antiphon._util.naming import publish, safe_repr
from antiphon._util.validation import check_priority

if TYPE_CHECKING:
    from antiphon._types import TypedKey

__all__ = ("ListenerMark", "Subscriptions", "listens_to", "register_methods")

E = TypeVar("E")
E2 = TypeVar("E2")
F = TypeVar("F", bound=Callable[..., Any])

_MARKS_ATTRIBUTE: Final = "__antiphon_listens_to__"


class ListenerMark(NamedTuple):
    """The arguments of one `listens_to` decorator."""

    key: Hashable
    priority: int = 0
    options: Options = DEFAULT_OPTIONS


if TYPE_CHECKING:
    # Overloads are for type checkers only: each of them would add to the time of the import.

    @overload
    def listens_to(
        key: TypedKey[E],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[E], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[F], F]: ...
    @overload
    def listens_to(
        key: TypedKey[E],
        other_key: TypedKey[E2],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[E | E2], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[F], F]: ...
    @overload
    def listens_to(
        key: Name | UnionType,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[F], F]: ...
    @overload
    def listens_to(
        key: Key,
        other_key: Key,
        /,
        *more_keys: Key,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[F], F]: ...


@hides_collected_arguments
def listens_to(
    *keys: Any,
    priority: int = 0,
    once: bool = False,
    where: Callable[[Any], object] | None = None,
    timeout: float | None = None,
    limit: int | None = None,
    **unknown: Any,
) -> Callable[[F], F]:
    """Mark a method of a subscriber, which ``add_subscriber`` then registers. A method may have several marks.

    An overriding method inherits the marks of the overridden method, unless it has marks of its own.

    Args:
        *keys: What to listen to, as for ``listen``.
        priority: Lower priorities run first.
        once: Whether the first call under this mark removes the registration.
        where: A plain function that receives the event and returns whether to call the method.
        timeout: The maximum duration of a call, in seconds.
        limit: The maximum number of concurrent calls, per event loop.

    Returns:
        A decorator that returns its method unchanged.

    Raises:
        TypeError: As for ``add_listener``.
        ValueError: As for ``add_listener``.
    """
    if unknown:
        raise make_argument_error(listens_to, "listens_to(key)", (), unknown)
    if keys and isinstance(keys[0], FunctionType):
        raise TypeError(
            f'listens_to() takes the key: above {keys[0].__name__}, write @listens_to("order.placed") instead of '
            f"@listens_to"
        )
    mark = ListenerMark(combine_keys(keys, "listens_to"), priority, Options(once, where, timeout, limit))
    check_priority(priority)
    check_options(mark.options)

    def decorate(method: F) -> F:
        try:
            if isinstance(method, type):
                raise AttributeError
            marks: tuple[ListenerMark, ...] = vars(method).get(_MARKS_ATTRIBUTE, ())
            # Decorators are applied from the lowest up. Marks are kept in the order in which they are written.
            setattr(method, _MARKS_ATTRIBUTE, (mark, *marks))
        except (AttributeError, TypeError):
            # A property, a bound method or a frozen object, for example, accepts no attributes.
            raise TypeError(f"listens_to() marks methods; got {safe_repr(method)} ({type(method).__name__})") from None
        return method

    return decorate


def find_marked_methods(subscriber: object) -> Iterator[tuple[str, ListenerMark]]:
    """Find the marks of a subscriber's methods: base classes first, then the order of definition.

    Raises:
        TypeError: If the subscriber is a class, or has no marked method.
    """
    if isinstance(subscriber, type):
        raise TypeError(f"a subscriber is an instance; write {subscriber.__name__}() instead of {subscriber.__name__}")
    cls = type(subscriber)
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = [(name, mark) for name in names for mark in _find_marks(cls, name)]
    if not found:
        is_function = isinstance(subscriber, (FunctionType, MethodType))
        fix = "register a function with add_listener(key, function)" if is_function else "mark each listener"
        raise TypeError(f'{safe_repr(subscriber)} has no method marked with @listens_to("order.placed"): {fix}')
    return iter(found)


def _find_marks(cls: type[Any], name: str) -> tuple[ListenerMark, ...]:
    for base in cls.__mro__:
        marks = _get_own_marks(vars(base).get(name))
        if marks:
            # Access the attribute only if it is marked: reading other attributes may run user code.
            return marks if callable(getattr(cls, name, None)) else ()
    return ()


def _get_own_marks(method: object) -> tuple[ListenerMark, ...]:
    # Look into `__dict__`, because a mock has every attribute.
    marks: tuple[ListenerMark, ...] = getattr(method, "__dict__", {}).get(_MARKS_ATTRIBUTE, ())
    if isinstance(method, (staticmethod, classmethod)):
        return marks + _get_own_marks(cast("Any", method).__func__)
    return marks + _get_own_marks(method.function) if isinstance(method, Adapter) else marks


def register_methods(
    subscriber: object, register: Callable[[Hashable, Any, int, Options], list[Subscription]]
) -> Subscriptions:
    """Register the marked methods of a subscriber: all of them or, after an error, none.

    Raises:
        TypeError: If the subscriber is a class, if none of its methods is marked, or if one is not a listener.
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
    """The handle of a subscriber: its subscriptions, which can be removed together."""

    __slots__ = ()

    def unsubscribe(self) -> bool:
        """Remove all of these registrations immediately.

        Returns:
            Whether one of them was still registered. A second call does nothing.
        """
        return sum(subscription.unsubscribe() for subscription in self) > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.unsubscribe()


publish("antiphon", Subscriptions, listens_to)
