"""The immutable records that ``describe()`` returns.

The records contain keys, text and numbers, but no listeners. A description can therefore be compared and serialized,
and it does not keep removed listeners alive.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias, get_type_hints

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._events.event import Event
from antiphon._introspection.definitions import Definition, get_definition, strip_locals
from antiphon._listeners.subscription import Subscription, is_owned_by
from antiphon._registry.keys import AnyOf, Matcher, check_key, get_matcher, key_matches
from antiphon._util.naming import describe_value, publish, safe_repr

__all__ = (
    "Definition",
    "Description",
    "KeyDescription",
    "KeyKind",
    "ListenerDescription",
    "describe",
    "describe_listener",
    "get_key_label",
    "get_key_parts",
)

#: The kind of a key. ``"name"`` is a string without ``*``, ``"pattern"`` a string with ``*``, ``"class"`` a class, and
#: ``"other"`` any other hashable.
KeyKind: TypeAlias = Literal["name", "other", "class", "pattern"]

#: The kinds in the order in which a description lists them.
_KINDS: tuple[KeyKind, ...] = ("name", "other", "class", "pattern")


class ListenerDescription(NamedTuple):
    """One subscription of a listener."""

    #: The key that the listener is registered for.
    key: Hashable
    #: The name of the listener, and where it is defined. For a function in ``inline`` or ``in_thread``, a partial or a
    #: decorator, these are the name and the location of the function itself.
    definition: Definition
    #: The priority. Lower priorities run first.
    priority: int
    #: The position among all registrations of the process. It orders listeners of equal priority.
    order: int
    #: Whether the first call removes the listener.
    once: bool
    #: The name of the predicate, or None.
    where: str | None
    #: The timeout of a call in seconds; None for no timeout.
    timeout: float | None
    #: The number of calls that may run at the same time; None for no limit.
    limit: int | None
    #: The name of the adapter that makes a sync function a listener, such as ``in_thread``; None if there is none.
    adapter: str | None
    #: Whether the listener is registered on the parent of the described scope.
    inherited: bool

    @property
    def name(self) -> str:
        """The name of the listener."""
        return self.definition.name

    @property
    def key_label(self) -> str:
        """The label of the key."""
        return get_key_label(self.key)

    @property
    def options(self) -> tuple[str, ...]:
        """A text for each option that was given, such as ``"limit 2"``."""
        parts = (
            (self.once, "once"),
            (self.where is not None, f"where {self.where}"),
            (self.timeout is not None, f"timeout {self.timeout} s"),
            (self.limit is not None, f"limit {self.limit}"),
            (self.adapter is not None, f"{self.adapter}"),
            (self.inherited, "of the parent"),
        )
        return tuple(text for is_given, text in parts if is_given)


class KeyDescription(NamedTuple):
    """One key, and the listeners that run for it."""

    #: The key.
    key: Hashable
    #: The kind of the key.
    kind: KeyKind
    #: The listeners in the order in which they run, including those of patterns and classes that match.
    #: For a name or another hashable, the listeners that run for an ``Event`` under that name.
    #: For a class, the listeners that run for an event of the class, under the ``name`` of the class or without a name.
    #: For a pattern, only the listeners that are registered for that pattern.
    listeners: tuple[ListenerDescription, ...]
    #: The name and the location of a class. For any other key, only the label.
    definition: Definition

    @property
    def label(self) -> str:
        """The string, the name of the class, the member of the ``Enum`` as ``Status.PAID``, or else the repr."""
        return self.definition.name


class Description(NamedTuple):
    """The keys and listeners of a dispatcher at the time when ``describe()`` was called."""

    #: The name of the dispatcher, or that of its class if it has none.
    dispatcher: str
    #: The name of the class of the dispatcher.
    dispatcher_class: str
    #: The keys with listeners, and the declared names. Names come first, then other hashables, classes and patterns,
    #: and each kind is sorted by label.
    keys: tuple[KeyDescription, ...]
    #: Each subscription once, in the order in which they would run for an event that all of them match.
    listeners: tuple[ListenerDescription, ...]

    def listeners_for(self, name: Hashable, event_class: type[Any] = Event) -> tuple[ListenerDescription, ...]:
        """Return the listeners that run for an event.

        Args:
            name: The name under which the event is dispatched; None for an event without a name.
            event_class: The class of the event.

        Returns:
            The listeners, in the order in which they run.

        Raises:
            TypeError: If the name is unhashable, or ``event_class`` is not a class.
        """
        _check_hashable(name)
        if not isinstance(event_class, type):
            raise TypeError(
                f"listeners_for() takes a name, and the class of the event; got {describe_value(event_class)}"
            )
        return _ListenerIndex(self.listeners).find(name, event_class)

    def describe_key(self, key: Hashable) -> KeyDescription:
        """Describe one key, which may have no listeners.

        Args:
            key: A name, a class, a pattern, or any other hashable.

        Returns:
            The key with its listeners.

        Raises:
            TypeError: If the key is unhashable.
        """
        _check_hashable(key)
        return _ListenerIndex(self.listeners).describe_key(key)

    def filter(self, pattern: str) -> Description:
        """Keep only the keys that match a pattern.

        Args:
            pattern: A pattern as in ``add_listener``, or a label. It keeps the names and patterns that match, the
                classes whose ``name`` matches, and the key with this label. A name without ``*`` is added if it is
                not among the keys.

        Returns:
            A description with these keys. Its `listeners` and the results of `listeners_for` do not change.

        Raises:
            TypeError: If the pattern is not a string.
            ValueError: If a ``*`` in the pattern is only a part of a segment.
        """
        if not isinstance(pattern, str):
            raise TypeError(
                f'filter() takes a pattern such as "order.*", or the label of a key; got {describe_value(pattern)}'
            )
        check_key(pattern)
        matches = [
            key
            for key in self.keys
            if pattern in ("*", key.label) or key_matches(pattern, _get_event_name(key.key), Event)
        ]
        if "*" not in pattern and not any(pattern == key.label for key in matches):
            matches = [self.describe_key(pattern), *matches]
        return self._replace(keys=tuple(matches))

    def _repr_html_(self) -> str:
        # The notebooks of Jupyter call this method.
        from antiphon._introspection.notebook import render_html

        return render_html(self)


def _check_hashable(key: object) -> None:
    try:
        hash(key)
    except TypeError:
        raise TypeError(f"a key or a name is hashable; got {describe_value(key)}") from None


class _ListenerIndex:
    """The listeners of a description by key. Describing each of many keys does not search all listeners."""

    def __init__(self, listeners: tuple[ListenerDescription, ...]) -> None:
        self._listeners = listeners
        #: The positions of the listeners of each key.
        self._positions: dict[Hashable, list[int]] = {}
        #: The ids of the keys that are classes, if only their subclasses match.
        self._class_ids: set[int] = set()
        #: The matchers of the other classes, and of patterns.
        self._matchers: dict[Hashable, Matcher] = {}
        for position, listener in enumerate(listeners):
            for key in get_key_parts(listener.key):
                if key not in self._positions:
                    self._add_key(key)
                self._positions.setdefault(key, []).append(position)

    def _add_key(self, key: Hashable) -> None:
        # Another metaclass may define which classes match, as that of an abstract class does.
        if isinstance(key, type) and type(key).__subclasscheck__ is type.__subclasscheck__:
            self._class_ids.add(id(key))
        elif (matcher := get_matcher(key)) is not None:
            self._matchers[key] = matcher

    def find(self, name: Hashable, event_class: type[Any]) -> tuple[ListenerDescription, ...]:
        """Return the listeners that run for an event, in order."""
        keys: list[Hashable] = [base for base in event_class.__mro__ if id(base) in self._class_ids]
        keys += [key for key, matches in self._matchers.items() if matches(name, event_class)]
        # A name may be equal to a pattern or a class, which do not match it as a name.
        if id(name) not in self._class_ids and name not in self._matchers:
            keys.append(name)
        return self._get_listeners(keys)

    def describe_key(self, key: Hashable) -> KeyDescription:
        """Describe one key, which may have no listeners."""
        kind = _get_key_kind(key)
        if kind == "pattern":
            listeners = self._get_listeners([key])
        elif isinstance(key, type):
            listeners = self.find(find_class_name_attribute(key), key)
        else:
            listeners = self.find(key, Event)
        return KeyDescription(
            key, kind, listeners, get_definition(key) if isinstance(key, type) else Definition(get_key_label(key))
        )

    def _get_listeners(self, keys: Iterable[Hashable]) -> tuple[ListenerDescription, ...]:
        # A listener of several keys has one position.
        positions = {position for key in keys for position in self._positions.get(key, ())}
        return tuple(self._listeners[position] for position in sorted(positions))


# Name the public module of the records. Resolve their annotations first: the names in them are not in that module.
for _record in (Definition, Description, KeyDescription, ListenerDescription):
    _record.__annotations__ = get_type_hints(_record)
    publish("antiphon.diagrams", _record)


def describe(
    dispatcher: str,
    dispatcher_class: str,
    subscriptions: Iterable[Subscription],
    unwrap: Callable[[Any], tuple[Any, str | None]],
    owner: object,
    *,
    declared_names: Iterable[Hashable] = (),
) -> Description:
    """Describe the subscriptions of a dispatcher.

    Args:
        dispatcher: The name of the dispatcher.
        dispatcher_class: The name of its class.
        subscriptions: All its subscriptions, in order.
        unwrap: Returns the function that a listener calls, and the name of the adapter or None.
        owner: The owner of the subscriptions that are not inherited.
        declared_names: The names that the dispatcher declares. They are described also if they have no listeners.
    """
    # The subscriptions of a listener with several keys have the same order.
    groups = groupby(subscriptions, attrgetter("order"))
    listeners = tuple(describe_listener(list(group), unwrap, owner) for _, group in groups)
    index = _ListenerIndex(listeners)
    keys = dict.fromkeys(part for listener in listeners for part in get_key_parts(listener.key))
    keys.update(dict.fromkeys(declared_names))
    descriptions = [index.describe_key(key) for key in keys]
    descriptions.sort(key=lambda key: (_KINDS.index(key.kind), key.label, key.definition.module or ""))
    return Description(dispatcher, dispatcher_class, tuple(descriptions), listeners)


def get_key_label(key: Hashable) -> str:
    """Return a key as text."""
    if isinstance(key, AnyOf):
        return " | ".join(get_key_label(part) for part in key.keys)
    if isinstance(key, str):
        # Do not use ``str()``: it returns the name of the member for an ``Enum`` of strings.
        return str.__str__(key)
    if isinstance(key, type):
        return strip_locals(key.__qualname__)
    return f"{type(key).__name__}.{key.name}" if isinstance(key, Enum) else safe_repr(key)


def describe_listener(
    linked: list[Subscription], unwrap: Callable[[Any], tuple[Any, str | None]], owner: object
) -> ListenerDescription:
    """Describe the subscriptions of one listener, which differ only in their keys. For the arguments see `describe`."""
    subscription = linked[0]
    once, where, timeout, limit = subscription.options
    function, adapter = unwrap(subscription.listener)
    return ListenerDescription(
        key=subscription.key if len(linked) == 1 else AnyOf(tuple(each.key for each in linked)),
        definition=get_definition(function),
        priority=subscription.priority,
        order=subscription.order,
        once=once,
        where=None if where is None else _format_predicate(get_definition(where)),
        timeout=timeout,
        limit=limit,
        adapter=adapter,
        inherited=not is_owned_by(subscription, owner),
    )


def _format_predicate(definition: Definition) -> str:
    return f"lambda at {definition.place}" if definition.name == "<lambda>" and definition.place else definition.name


def _get_key_kind(key: Hashable) -> KeyKind:
    if isinstance(key, str):
        return "pattern" if "*" in key else "name"
    return "class" if isinstance(key, type) else "other"


def get_key_parts(key: Hashable) -> tuple[Hashable, ...]:
    """Return the classes of a key that combines several, or else the key itself."""
    return key.keys if isinstance(key, AnyOf) else (key,)


def _get_event_name(key: Hashable) -> Hashable:
    return find_class_name_attribute(key) if isinstance(key, type) else key
