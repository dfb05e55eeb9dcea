"""Objects that cannot be keys, because no event can be dispatched under them or match them.

Loaded on first use: most programs have names and classes as keys, which are checked without this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, GenericAlias, MethodType, ModuleType, NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    get_args,
    get_origin,
)

from antiphon._events.event import Event
from antiphon._util.naming import format_key

__all__ = ("REFUSALS", "explain_refused_key")


#: What an object is that cannot be a key, whether a key is one, and how to listen instead.
_Refusal: TypeAlias = tuple[str, Callable[[Any], bool], Callable[[Any], str]]


def explain_refused_key(key: object) -> tuple[str, str] | None:
    """Return what an object is that cannot be a key, and how to listen instead. None for any other object."""
    return next(((kind, get_fix(key)) for kind, applies, get_fix in REFUSALS if applies(key)), None)


def _is_construct(key: object) -> bool:
    # The constructs of the module `typing` are instances of its classes. `typing_extensions` has some of its own.
    return type(key).__module__ in ("typing", "typing_extensions") or isinstance(key, GenericAlias)


def _is_tuple_of_keys(key: Any) -> bool:
    # An instance of a subclass, such as a named tuple, is a value. So is the empty tuple.
    return key.__class__ is tuple and key != () and all(map(_is_part, key))


def _is_part(key: Any) -> bool:
    return isinstance(key, (str, type)) or _is_construct(key)


def _get_fix_of_construct(key: Any) -> str:
    origin: Any = get_origin(key)
    if origin is Annotated:
        return f"use the annotated class, {format_key(key.__origin__)}"
    if origin is Literal:
        return f"use the values, listen({', '.join(map(format_key, get_args(key)))})"
    if isinstance(origin, type):
        return f"events do not know the arguments of their class, so use the class, {format_key(origin)}, and where="
    return "use a class of events, or a name"


#: The table in `docs/keys.md` has these kinds in the same order.
REFUSALS: Final[tuple[_Refusal, ...]] = (
    ("Any", lambda key: key is Any, lambda _key: 'use "*" to match every event'),
    ("the class of None", lambda key: key is NoneType, lambda _key: "None is not an event, so leave it out"),
    (
        "a tuple of keys",
        _is_tuple_of_keys,
        lambda key: f"write listen({', '.join(map(format_key, key))}) to listen to each of them",
    ),
    (
        "a function",
        lambda key: isinstance(key, (FunctionType, MethodType, BuiltinFunctionType, partial)),
        lambda _key: 'the key comes first, then the listener, as in add_listener("order.placed", listener)',
    ),
    (
        "a module",
        lambda key: isinstance(key, ModuleType),
        lambda key: f"use a name or a class in it, such as {key.__name__.rpartition('.')[2]}.ORDER_PLACED",
    ),
    ("an event", lambda key: isinstance(key, Event), lambda key: f"use its class, {format_key(type(key))}"),
    (
        "a compiled pattern",
        lambda key: isinstance(key, re.Pattern),
        lambda _key: 'use a pattern such as "order.*", or "*" with a where= that matches event.name',
    ),
    (
        "a type variable",
        lambda key: isinstance(key, (TypeVar, ParamSpec, TypeVarTuple)),
        lambda _key: "it has no value while the program runs, so use a class",
    ),
    (
        "a new type",
        lambda key: _is_construct(key) and hasattr(key, "__supertype__"),
        lambda key: f"it has no objects of its own, so use the class of its objects, {format_key(key.__supertype__)}",
    ),
    (
        "a type alias",
        lambda key: _is_construct(key) and hasattr(key, "__value__") and get_origin(key) is None,
        lambda key: f"use its value, {key}.__value__",
    ),
    ("a generic alias", lambda key: _is_construct(key) and get_origin(key) is not None, _get_fix_of_construct),
    ("a construct of the module typing", _is_construct, _get_fix_of_construct),
)
