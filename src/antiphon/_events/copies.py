"""Copies and pickles of events: they keep the data, the name of the dispatch and the mark, and not the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from antiphon._events.attributes import (
    IN_FLIGHT,
    INFO,
    NESTING_DEPTH,
    DispatchInfo,
    ExternalInfo,
    find_static_attribute,
    load_info,
    store_info,
)

__all__ = ("get_state", "prepare_copies", "reduce_event")

_TRANSIENT_ATTRIBUTES: Final = frozenset((INFO, IN_FLIGHT, NESTING_DEPTH))


def get_state(state: Any) -> Any:
    """Return the state of an event without our attributes. For a class with slots it is a pair of dicts."""
    if isinstance(state, tuple) and state:
        return (_strip(state[0]), *state[1:])
    return _strip(state)


def _strip(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {name: state[name] for name in state if name not in _TRANSIENT_ATTRIBUTES}  # pyright: ignore[reportUnknownVariableType]  # narrowed from Any


def reduce_event(event: Any, reduced: Any) -> Any:
    """Add the name and the mark of an event to what its class returns for copies and pickles.

    They are arguments of the function that creates the copy, because the class may define what its state contains.
    """
    if isinstance(reduced, str):
        return reduced
    function, arguments, *rest = reduced
    if rest:
        rest[0] = get_state(rest[0])
    info = load_info(event)
    if info is None:
        return function, arguments, *rest
    return _restore, (function, arguments, info.name, info.stopped), *rest


def _restore(function: Callable[..., Any], arguments: Any, name: Any, stopped: Any) -> Any:
    event = function(*arguments)
    # The member of an Enum is not created but looked up, and may have been dispatched.
    if load_info(event) is None:
        store_info(event, DispatchInfo(name, None, stopped))
    return event


def prepare_copies(cls: type[Any], event_class: type[Any]) -> None:
    """Let a class that copies its instances itself, such as a pydantic model, keep what other copies keep.

    Args:
        cls: A new subclass of `Event`. If it or another subclass defines how it is copied, that is not changed.
        event_class: `Event`.
    """
    for method in ("__copy__", "__deepcopy__"):
        owner = next((base for base in cls.__mro__ if method in vars(base)), event_class)
        if not issubclass(owner, event_class):
            type.__setattr__(cls, method, _wrap_copy(vars(owner)[method]))
            if not isinstance(find_static_attribute(cls, INFO), ExternalInfo):
                type.__setattr__(cls, INFO, ExternalInfo())


def _wrap_copy(copy: Any) -> Callable[..., Any]:
    def copy_event(event: Any, *arguments: Any) -> Any:
        twin = copy.__get__(event, type(event))(*arguments)
        info = load_info(event)
        if info is not None and twin is not event and type(twin) is type(event):
            store_info(twin, DispatchInfo(info.name, None, info.stopped))
        return twin

    return copy_event
