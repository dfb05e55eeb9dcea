"""What an object is called in messages, notes, records and diagrams."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

__all__ = (
    "Wrapper",
    "describe_value",
    "listener_name",
    "safe_repr",
    "safe_str",
    "short_name",
)


class Wrapper:
    """A base of listeners of antiphon that call another one, and go by its name."""

    __slots__ = ()

    @property
    def __wrapped__(self) -> Any:
        """The listener that is called in the end, or another wrapper of it; `inspect.signature` asks for it too."""
        # A base, never made by itself.
        raise NotImplementedError


def describe_value(thing: object) -> str:
    return f"{safe_repr(thing)} ({type(thing).__name__})"


def safe_repr(thing: object) -> str:
    """Give the repr of something, whatever its ``__repr__`` does, for messages that must not fail."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def safe_str(thing: object) -> str:
    """Give the text of something, whatever its ``__str__`` does; where it gives none, its repr."""
    try:
        text = str(thing)
    except Exception:
        text = thing if isinstance(thing, str) else safe_repr(thing)
    # Of a subclass of `str` the characters alone, because its methods may fail as well.
    return str.__str__(text)


def listener_name(listener: Any, /) -> str:
    """Return what a listener is called: for messages, logs, and functions that handle errors.

    An adapter (`inline`, `in_thread`) and a ``functools.partial`` are called as the function that they call, a method
    as ``module.Class.method`` with the class of its object, and a function by its module and qualified name. An object
    with a ``__repr__`` of its own is called by that, without addresses, and any other by its class. Never raises.

    Args:
        listener: What is registered, or what a dispatcher gave to an error policy or an overridden ``_adispatch``.

    Returns:
        The name.
    """
    if listener.__class__ is FunctionType and listener.__module__:
        # Nearly all, at a tenth of the cost.
        return f"{listener.__module__}.{listener.__qualname__}"
    module, name = _named(listener)
    return f"{module}.{name}" if module else name


def short_name(listener: Any, /) -> str:
    """Return the same name without the module and the functions around the definition. Never raises."""
    module, name = _named(listener)
    return name if module is None else name.rpartition("<locals>.")[2]


def _named(listener: Any) -> tuple[str | None, str]:
    # The module, empty if it is unknown, and the qualified name in it. A label belongs to no module: None.
    try:
        return _name_of(listener)
    except Exception:
        # A method of the object raises, or an attribute has an unexpected type. Its class always has a name.
        return _name_in(type(listener), type.__dict__["__qualname__"].__get__(type(listener)))


def _name_of(listener: Any) -> tuple[str | None, str]:
    while True:
        if isinstance(listener, partial):
            listener = listener.func
        elif isinstance(listener, Wrapper):
            listener = listener.__wrapped__
        else:
            break
    if isinstance(listener, MethodType):
        bound: Any = listener.__self__
        owner: Any = bound if isinstance(bound, type) else type(bound)
        name = getattr(listener.__func__, "__name__", None)
        # A method may also be made of an object that has no name.
        return _name_in(owner, f"{owner.__qualname__}.{name}") if name is not None else _name_of(listener.__func__)
    name = getattr(listener, "__qualname__", None)
    if isinstance(name, str):
        return _name_in(listener, name)
    kind: Any = listener.__class__
    label = "" if kind.__repr__ is object.__repr__ else _without_addresses(repr(listener))
    # The latter is what a mock without a name says of itself.
    return (None, label) if label not in ("", f"<{kind.__name__}>") else _name_in(kind, kind.__qualname__)


def _name_in(defined: Any, name: str) -> tuple[str, str]:
    module = getattr(defined, "__module__", None)
    return module if isinstance(module, str) else "", name


def _without_addresses(text: str) -> str:
    # Import it here: the names of most listeners need no regular expression.
    import re

    # As the default repr and that of mocks write them. They differ from run to run.
    return re.sub(r" (at 0x[0-9a-fA-F]+|id='\d+')", "", text)
