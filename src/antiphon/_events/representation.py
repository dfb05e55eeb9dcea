"""The repr of events whose classes do not define one."""

from __future__ import annotations

from itertools import islice
from reprlib import Repr, recursive_repr
from typing import Any, Final

from antiphon._events.attributes import SELF, find_static_attribute, load_info

__all__ = ("represent_event",)

#: How many values of an event its repr contains.
_MAX_VALUES: Final = 8

#: The maximum length of the repr of one value.
_MAX_LENGTH: Final = 80


class _BoundedRepr(Repr):
    """Shortens the reprs of values. A value whose ``__repr__`` raises has the name of its class.

    Args:
        event_repr: The ``__repr__`` of events.
    """

    def __init__(self, event_repr: object) -> None:
        super().__init__()
        self.maxstring = self.maxother = _MAX_LENGTH
        self._event_repr = event_repr

    def repr_instance(self, x: Any, level: int) -> str:
        """Shorten other objects. Show only the class of events, because their lengths could double at each level."""
        cls: Any = x.__class__
        if cls.__repr__ is self._event_repr:
            return f"<{cls.__name__} ...>"
        return super().repr_instance(x, level)

    def repr_bytes(self, value: bytes, _level: int) -> str:
        """Shorten bytes before their repr is made, which would take long for a body of many megabytes."""
        return f"{value[: self.maxother // 2]!r}{'...' if len(value) > self.maxother // 2 else ''}"


@recursive_repr("<...>")
def represent_event(event: Any) -> str:
    """Return the class of an event, the name of its last dispatch, and its public values. The length is bounded.

    Raises:
        Exception: If the class of the event raises it when an attribute is read.
    """
    cls: type[Any] = event.__class__
    bounded = _BoundedRepr(find_static_attribute(next(base for base in cls.__mro__ if SELF in vars(base)), "__repr__"))
    info = load_info(event)
    parts = [cls.__name__]
    if info is not None and info.name is not None:
        parts.append(bounded.repr(info.name))
    values = [(name, value) for name, value in _find_values(event, cls) if not name.startswith("_")]
    parts += [f"{name}={bounded.repr(value)}" for name, value in islice(values, _MAX_VALUES)]
    if len(values) > _MAX_VALUES:
        parts.append("...")
    return f"<{' '.join(parts)}>"


def _find_values(event: Any, cls: type[Any]) -> list[tuple[str, Any]]:
    slots = list[str]()
    for base in reversed(cls.__mro__):
        declared: Any = vars(base).get("__slots__", ())
        slots += [declared] if isinstance(declared, str) else declared
    attributes: dict[str, Any] = event.__dict__
    return [*((name, getattr(event, name)) for name in slots if hasattr(event, name)), *attributes.items()]
