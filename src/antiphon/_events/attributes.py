"""The three attributes of an event that a dispatch sets, and where their values are stored."""

from __future__ import annotations

from typing import Any, Final

from antiphon._events.stop_observer import stop_observer

__all__ = (
    "DISPATCH_ATTRIBUTES",
    "INFO",
    "IN_FLIGHT",
    "NESTING_DEPTH",
    "STOPPED",
    "USES_PLAIN_ATTRIBUTES",
    "DispatchAttribute",
    "DispatchInfo",
    "DispatcherAttribute",
    "NameAttribute",
    "StoppedAttribute",
    "find_static_attribute",
    "overrides_attribute_access",
    "reports_stops",
    "set_attribute",
    "use_plain_attributes",
)


set_attribute = object.__setattr__


#: The attribute of an event that holds the `DispatchInfo` it shows. No class has a default for it, nor for those below.
INFO: Final = "_antiphon_info"


#: Whether a listener stopped the dispatch.
STOPPED: Final = "_antiphon_stopped"


#: While an event is dispatched, this attribute of it is the event itself. That it is the event, and not just
#: True, keeps a copy made by a listener from passing for an event in flight.
IN_FLIGHT: Final = "_antiphon_in_flight"


#: How many dispatches of the event run within the outermost one, each in a listener of the one before.
NESTING_DEPTH: Final = "_antiphon_nesting_depth"


#: Of a class: that its attributes are plain ones.
USES_PLAIN_ATTRIBUTES: Final = "_antiphon_uses_plain_attributes"


class DispatchInfo:  # noqa: PLW1641  its name need not have a hash
    """What the events of a dispatch show of it. Nobody changes it: an event is given another one."""

    __slots__ = ("dispatcher", "name")

    name: Any
    dispatcher: Any

    def __init__(self, name: Any, dispatcher: Any) -> None:
        self.name = name
        self.dispatcher = dispatcher

    def __eq__(self, other: object) -> bool:
        # For events that compare, or tell, all that they have.
        return isinstance(other, DispatchInfo) and self.name == other.name and self.dispatcher is other.dispatcher

    def __reduce__(self) -> Any:
        # For events with a state of their own: copies leave the dispatcher behind.
        return DispatchInfo, (self.name, None)


class DispatchAttribute:
    """An attribute of events that shows what is set elsewhere; on the class it is its default.

    Args:
        attribute: What it is called.
        default: What an event shows before its first dispatch.
    """

    __slots__ = ("attribute", "default")

    def __init__(self, attribute: str, default: object) -> None:
        self.attribute = attribute
        self.default = default

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        # What was set while the class had a plain attribute, and what a copy took over, lies there under its own name.
        return self.default if event is None else event.__dict__.get(self.attribute, self.default)

    def __set__(self, event: Any, value: object) -> None:
        shown: DispatchInfo | None = event.__dict__.get(INFO)
        if shown is not None:
            view = DispatchInfo(shown.name, shown.dispatcher)
        else:
            # Not the attribute of the event, which may be a property: that has nothing to do with what is set here.
            name = find_static_attribute(event.__class__, "name")
            view = DispatchInfo(
                DispatchAttribute.__get__(name, event) if isinstance(name, DispatchAttribute) else None, None
            )
        setattr(view, self.attribute, value)
        # Not a plain assignment, which a frozen dataclass would refuse.
        set_attribute(event, INFO, view)

    def __delete__(self, event: Any) -> None:
        self.__set__(event, self.default)


class NameAttribute(DispatchAttribute):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_info.name
        except AttributeError:
            return super().__get__(event, cls)


class DispatcherAttribute(DispatchAttribute):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_info.dispatcher
        except AttributeError:
            return super().__get__(event, cls)


class StoppedAttribute(DispatchAttribute):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_stopped
        except AttributeError:
            return super().__get__(event, cls)

    def __set__(self, event: Any, value: object) -> None:
        if value:
            # A race is told before its other listeners can see the mark, or one of them might pass for the one that
            # set it.
            observer = stop_observer.get()
            if observer is not None:
                observer(event)
        set_attribute(event, STOPPED, value)


#: How each attribute is shown.
DISPATCH_ATTRIBUTES: Final[dict[str, type[DispatchAttribute]]] = {
    "name": NameAttribute,
    "dispatcher": DispatcherAttribute,
    "propagation_stopped": StoppedAttribute,
}


def find_static_attribute(cls: type[Any], attribute: str) -> object:
    """What a class or one of its bases says of an attribute, as it is written there."""
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None


def reports_stops(cls: type[Any]) -> bool:
    """Return whether `stop_observer` receives it when the events of a class are stopped by an assignment."""
    return not hasattr(cls, USES_PLAIN_ATTRIBUTES) and isinstance(
        find_static_attribute(cls, "propagation_stopped"), StoppedAttribute
    )


def overrides_attribute_access(cls: type[Any]) -> bool:
    """Tell whether a class of events does something of its own when an attribute is read."""
    return (
        find_static_attribute(cls, "__getattr__") is not None
        or find_static_attribute(cls, "__getattribute__") is not vars(object)["__getattribute__"]
        or any(_is_foreign_descriptor(find_static_attribute(cls, attribute)) for attribute in DISPATCH_ATTRIBUTES)
    )


def _is_foreign_descriptor(raw: object) -> bool:
    return hasattr(type(raw), "__get__") and not isinstance(raw, DispatchAttribute)


def use_plain_attributes(cls: type[Any]) -> None:
    """Give a class plain defaults of the attributes that it would show."""
    for attribute in DISPATCH_ATTRIBUTES:
        raw = find_static_attribute(cls, attribute)
        if isinstance(raw, DispatchAttribute):
            type.__setattr__(cls, attribute, raw.default)
    if (
        find_static_attribute(cls, "__setattr__") is not set_attribute
        and find_static_attribute(cls, "propagation_stopped") is False
    ):
        type.__setattr__(cls, "propagation_stopped", _MARK)
    type.__setattr__(cls, USES_PLAIN_ATTRIBUTES, True)


class _Mark(property):
    """The mark of a stopped event, where the class has a ``__setattr__`` of its own.

    That of a pydantic model assigns nothing but fields and properties, and the mark is not a field.
    """

    def __bool__(self) -> bool:
        # Read on the class, like the default of other classes.
        return False


_MARK: Final = _Mark(
    lambda event: event.__dict__.get("propagation_stopped", False),
    lambda event, stopped: event.__dict__.update(propagation_stopped=stopped),
)
