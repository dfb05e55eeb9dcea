"""What a dispatcher is made of, in records that nothing can change: what ``describe()`` gives.

The records hold text and numbers beside the keys, and no listener: a description keeps nothing alive that the
dispatcher lets go, two of them can be compared, and one can be written down as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Any, Literal, NamedTuple, TypeAlias, get_type_hints

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._events.event import Event
from antiphon._introspection.definitions import Definition, get_definition, strip_locals
from antiphon._listeners.subscription import Subscription, is_owned_by
from antiphon._registry.keys import AnyOf, check_key, key_matches
from antiphon._util.naming import safe_repr

__all__ = (
    "Definition",
    "Description",
    "KeyDescription",
    "KeyKind",
    "ListenerDescription",
    "describe",
    "get_key_label",
    "get_key_parts",
)

#: The kinds of keys: a string without ``*``, a string with ``*``, a class, and any other hashable.
KeyKind: TypeAlias = Literal["name", "other", "class", "pattern"]

#: The order in which a description tells them.
_KINDS: tuple[KeyKind, ...] = ("name", "other", "class", "pattern")


class ListenerDescription(NamedTuple):
    """One registration of a listener."""

    #: What it listens to.
    key: Hashable
    #: What is called, and where it is defined: the function itself, when it listens through
    #: ``inline`` or ``in_thread``, a partial or a decorator.
    definition: Definition
    #: Lower priorities run first.
    priority: int
    #: The place in the order of all registrations of the process, which orders equal priorities.
    order: int
    #: Whether it is taken back by its first call.
    once: bool
    #: The name of the predicate that is asked first; None if there is none.
    where: str | None
    #: How long a call may take, in seconds; None for no bound.
    timeout: float | None
    #: How many calls may run at a time; None for no bound.
    limit: int | None
    #: What makes an async listener of a plain function, such as ``in_thread``; None for a listener that needs nothing.
    adapter: str | None
    #: Whether it belongs to the dispatcher of which the one described is a scope.
    inherited: bool

    @property
    def name(self) -> str:
        """What the listener is called."""
        return self.definition.name

    @property
    def key_label(self) -> str:
        """The key as text."""
        return get_key_label(self.key)

    @property
    def options(self) -> tuple[str, ...]:
        """The options in words, those that were given."""
        told = (
            (self.once, "once"),
            (self.where is not None, f"where {self.where}"),
            (self.timeout is not None, f"timeout {self.timeout} s"),
            (self.limit is not None, f"limit {self.limit}"),
            (self.adapter is not None, f"{self.adapter}"),
            (self.inherited, "of the parent"),
        )
        return tuple(words for given, words in told if given)


class KeyDescription(NamedTuple):
    """One key, and who runs for it."""

    #: What is listened to.
    key: Hashable
    #: Which kind of key it is.
    kind: KeyKind
    #: The listeners in the order in which they run. For a name, and any other hashable, those that an `Event`
    #: dispatched under it reaches; for a class, those that an event of it reaches, dispatched under the name that the
    #: class has, or under none; patterns and classes that hear such an event are among them. For
    #: a pattern, which is no event, those that listen to it.
    listeners: tuple[ListenerDescription, ...]
    #: Where the class is defined; for any other key, no more than its text.
    definition: Definition

    @property
    def label(self) -> str:
        """A string as it is, a class by its name, a member of an enumeration as ``Status.PAID``, else the repr."""
        return self.definition.name


class Description(NamedTuple):
    """Who listens to what, at the moment when ``describe()`` was called."""

    #: The name of the dispatcher; that of its class if it has none.
    dispatcher: str
    #: The name of its class.
    dispatcher_class: str
    #: The keys that somebody listens to: names, other hashables, classes, then patterns; each kind by its text.
    keys: tuple[KeyDescription, ...]
    #: Every registration once, in the order in which they would run for an event that all of them hear.
    listeners: tuple[ListenerDescription, ...]

    def listeners_for(self, name: Hashable, event_class: type[Any] = Event) -> tuple[ListenerDescription, ...]:
        """Tell who runs for an event.

        Args:
            name: The name under which it is dispatched; None for none.
            event_class: The class of the event.

        Returns:
            The listeners, in the order in which they run.
        """
        return tuple(listener for listener in self.listeners if key_matches(listener.key, name, event_class))

    def describe_key(self, key: Hashable) -> KeyDescription:
        """Describe one key, whether or not anybody listens to it.

        Args:
            key: A name, a class, a pattern, or any other hashable.

        Returns:
            The key with its listeners.
        """
        kind = _get_key_kind(key)
        if kind == "pattern":
            listeners = tuple(listener for listener in self.listeners if key in get_key_parts(listener.key))
        elif isinstance(key, type):
            listeners = self.listeners_for(find_class_name_attribute(key), key)
        else:
            listeners = self.listeners_for(key)
        return KeyDescription(
            key, kind, listeners, get_definition(key) if isinstance(key, type) else Definition(get_key_label(key))
        )

    def filter(self, pattern: str) -> Description:
        """Leave out what is of no interest.

        Args:
            pattern: A pattern of names as one listens to it, which keeps the names and patterns that match, the classes
                whose name matches, and what has just this text. A name without ``*`` is kept, or added.

        Returns:
            A description of these keys alone; `heard` still knows all.

        Raises:
            ValueError: The pattern has a ``*`` that is only a part of a segment.
        """
        check_key(pattern)
        kept = [
            one
            for one in self.keys
            if pattern in ("*", one.label) or key_matches(pattern, _get_event_name(one.key), Event)
        ]
        if "*" not in pattern and not any(pattern == one.label for one in kept):
            kept = [self.describe_key(pattern), *kept]
        return self._replace(keys=tuple(kept))


# Users import them from there. Resolve their annotations first: that module does not have the names in them.
for _record in (Definition, Description, KeyDescription, ListenerDescription):
    _record.__annotations__ = get_type_hints(_record)
    _record.__module__ = "antiphon.diagrams"


def describe(
    dispatcher: str,
    dispatcher_class: str,
    subscriptions: Iterable[Subscription],
    adapted: Callable[[Any], tuple[Any, str | None]],
    owner: object,
) -> Description:
    """Describe the registrations of a dispatcher.

    Args:
        dispatcher: What it is called.
        dispatcher_class: What its class is called.
        subscriptions: All of its registrations, in order.
        adapted: Tells for a listener what is called in the end, and through which adapter.
        owner: What keeps the registrations that are its own, and not inherited.
    """
    listeners = tuple(_describe_listener(subscription, adapted, owner) for subscription in subscriptions)
    without_keys = Description(dispatcher, dispatcher_class, (), listeners)
    keys = dict.fromkeys(part for listener in listeners for part in get_key_parts(listener.key))
    described = [without_keys.describe_key(key) for key in keys]
    described.sort(key=lambda one: (_KINDS.index(one.kind), one.label, one.definition.module or ""))
    return without_keys._replace(keys=tuple(described))


def get_key_label(key: Hashable) -> str:
    """Give a key as text."""
    if isinstance(key, AnyOf):
        return " | ".join(get_key_label(one) for one in key.keys)
    if isinstance(key, str):
        # Not str(), which gives the name of a member of an enumeration of strings.
        return str.__str__(key)
    if isinstance(key, type):
        return strip_locals(key.__qualname__)
    return f"{type(key).__name__}.{key.name}" if isinstance(key, Enum) else safe_repr(key)


def _describe_listener(
    subscription: Subscription, adapted: Callable[[Any], tuple[Any, str | None]], owner: object
) -> ListenerDescription:
    once, where, timeout, limit = subscription.options
    function, adapter = adapted(subscription.listener)
    return ListenerDescription(
        key=subscription.key,
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
    """Return the keys that a key stands for: several classes, or the key itself."""
    return key.keys if isinstance(key, AnyOf) else (key,)


def _get_event_name(key: Hashable) -> Hashable:
    return find_class_name_attribute(key) if isinstance(key, type) else key
