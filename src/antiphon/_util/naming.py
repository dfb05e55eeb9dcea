"""The names and texts of objects in messages, notes, records and diagrams.

No function here raises because of the object: a text for an error message must not fail.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, methodcaller
from types import FunctionType, MethodType
from typing import Any, Final

__all__ = (
    "Wrapper",
    "describe_value",
    "escape_unprintable",
    "find_label",
    "format_key",
    "listener_name",
    "publish",
    "safe_repr",
    "safe_str",
    "short_name",
    "unwrap_listener",
    "unwrap_proxy",
)

#: The attribute with the name that a listener gives itself.
_LABEL_ATTRIBUTE: Final = "listener_name"

#: How many wrappers of one listener are followed. An object that creates its attributes may have an endless chain.
_MAX_WRAPPERS: Final = 100


class Wrapper:
    """A base class of antiphon's listeners that call another listener, and have its name.

    Abstract: subclasses define `__wrapped__`.
    """

    __slots__ = ()

    @property
    def __wrapped__(self) -> Any:
        """The wrapped listener, which may be a wrapper too. `inspect.signature` reads this attribute."""
        raise NotImplementedError


def publish(module: str, *things: Any) -> None:
    """Show public classes and functions, their methods, and their private bases under a public module.

    Otherwise ``help`` shows the private modules in which they are defined.

    Args:
        module: The name of the module from which users import them.
        things: The classes and functions.
    """
    # Without a Python loop over the methods, which would take a tenth of the import time.
    classes = filter(partial(type.__instancecheck__, type), things)
    members = list(chain.from_iterable(map(methodcaller("values"), map(vars, classes))))
    functions = filter(FunctionType.__instancecheck__, members)
    wrappers = chain(filter(classmethod.__instancecheck__, members), filter(staticmethod.__instancecheck__, members))
    published = chain(things, functions, map(attrgetter("__func__"), wrappers))
    deque(map(setattr, published, repeat("__module__"), repeat(module)), maxlen=0)


def describe_value(thing: object) -> str:
    """Return the repr and the type of an object, for a message about a wrong argument."""
    return f"{safe_repr(thing)} ({type(thing).__name__})"


def format_key(key: Any) -> str:
    """Return a name or another key as it is written in code, for a message that shows a call."""
    if isinstance(key, type):
        return key.__name__
    if isinstance(key, Enum):
        return f"{type(key).__name__}.{key.name}"
    if type(key) is str and key.isprintable() and not {'"', "\\"} & set(key):
        # Double quotes, as in the documentation.
        return f'"{key}"'
    return safe_repr(key)


def escape_unprintable(text: str) -> str:
    """Replace unprintable characters, such as line breaks, with their Python escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def safe_repr(thing: object) -> str:
    """Return the repr of an object, or the default repr if its ``__repr__`` raises."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def safe_str(thing: object) -> str:
    """Return the text of an object, or its repr if its ``__str__`` raises."""
    try:
        text = str(thing)
    except Exception:
        text = thing if isinstance(thing, str) else safe_repr(thing)
    # The methods of a subclass of `str` may fail as well.
    return str.__str__(text)


def listener_name(listener: Any, /) -> str:
    """Return the name of a listener, for messages, logs and error policies.

    - A listener with a ``listener_name`` attribute, which is a string, has this name.
    - A function has its module and qualified name.
    - A method has ``module.Class.method``, with the class of its object.
    - An adapter (`inline`, `in_thread`), a ``functools.partial`` and an object with a ``__wrapped__`` attribute have
      the name of the function that they call.
    - An object whose class defines ``__repr__`` has its repr, without addresses.
    - Any other object has the name of its class.

    The name is one line: unprintable characters, such as line breaks and surrogates, are escaped. Never raises.

    Args:
        listener: A listener as it was registered, or as an error policy or an overridden ``_adispatch`` received it.

    Returns:
        The name.
    """
    if listener.__class__ is FunctionType and listener.__module__ and not listener.__dict__:
        # A shortcut for nearly all listeners. These names come from the source, where all of them are printable.
        return f"{listener.__module__}.{listener.__qualname__}"
    module, name = _get_module_and_name(listener)
    return escape_unprintable(f"{module}.{name}" if module else name)


def short_name(listener: Any, /) -> str:
    """Return the name of a listener without the module and the functions around its definition. Never raises."""
    module, name = _get_module_and_name(listener)
    return name if module is None else name.rpartition("<locals>.")[2]


def _get_module_and_name(listener: Any) -> tuple[str | None, str]:
    # The module is None for a repr, which belongs to no module, and empty if it is unknown.
    try:
        return _find_module_and_name(listener)
    except Exception:
        # A method of the object raises, or an attribute has an unexpected type. Its class always has a name.
        return _with_module(type(listener), type.__dict__["__qualname__"].__get__(type(listener)))


def find_label(listener: Any) -> str | None:
    """Return the name that a listener gives itself in its attribute ``listener_name``, or None."""
    label = getattr(listener, _LABEL_ATTRIBUTE, None)
    # A mock has any attribute.
    return str.__str__(label) if isinstance(label, str) and label else None


def unwrap_listener(listener: Any) -> Any:
    """Return what a listener finally calls: the function in partials, adapters and objects with ``__wrapped__``."""
    return _unwrap(listener)[-1]


def unwrap_proxy(listener: Any) -> Any:
    """Return the listener of a proxy. It is a partial, but the arguments that it has are those of the listener."""
    # Not isinstance(), which reads an attribute of the listener, and may run user code that raises.
    while issubclass(type(listener), partial) and issubclass(type(listener), Wrapper):
        listener = listener.__wrapped__
    return listener


def _unwrap(listener: Any) -> list[Any]:
    """Return a listener, the listener that it wraps, and so on."""
    chain = [listener]
    while len(chain) <= _MAX_WRAPPERS:
        # A proxy of a listener is both. What it wraps is the listener.
        if isinstance(listener, partial) and not isinstance(listener, Wrapper):
            listener = listener.func
        elif isinstance(listener, Wrapper) or _copies_name(listener):
            listener = listener.__wrapped__
        else:
            break
        chain.append(listener)
    return chain


def _copies_name(listener: Any) -> bool:
    """Return whether a listener wraps another one, and has no name of its own."""
    # A bound method has the attributes of its function, which may wrap another function, but not a method.
    if isinstance(listener, (MethodType, type)):
        return False
    wrapped = getattr(listener, "__wrapped__", None)
    name = getattr(listener, "__qualname__", None)
    # `functools.update_wrapper` copies the name.
    return callable(wrapped) and (name is None or name == getattr(wrapped, "__qualname__", None))


def _find_module_and_name(listener: Any) -> tuple[str | None, str]:
    chain = _unwrap(listener)
    for wrapper in chain:
        label = find_label(wrapper)
        if label is not None:
            return None, label
    listener = chain[-1]
    if isinstance(listener, MethodType):
        bound: Any = listener.__self__
        owner: Any = bound if isinstance(bound, type) else type(bound)
        name = getattr(listener.__func__, "__name__", None)
        if name is None:
            # A bound method can wrap any callable, and not all callables have names.
            return _find_module_and_name(listener.__func__)
        return _with_module(owner, f"{owner.__qualname__}.{name}")
    name = getattr(listener, "__qualname__", None)
    if isinstance(name, str):
        return _with_module(listener, name)
    cls: Any = listener.__class__
    label = "" if cls.__repr__ is object.__repr__ else _strip_addresses(repr(listener))
    # A mock without a name has the second repr. It says less than the qualified name of the class.
    return (None, label) if label not in ("", f"<{cls.__name__}>") else _with_module(cls, cls.__qualname__)


def _with_module(thing: Any, name: str) -> tuple[str, str]:
    module = getattr(thing, "__module__", None)
    return module if isinstance(module, str) else "", name


def _strip_addresses(text: str) -> str:
    # Import it here: the names of most listeners do not need it.
    import re

    # The default repr and the repr of mocks contain addresses, which differ from run to run.
    return re.sub(r" (at 0x[0-9a-fA-F]+|id='\d+')", "", text)
