"""What an assertion wants to see, and how it is listed when it was not seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from antiphon import Event, EventDispatcher
from antiphon._util.naming import safe_repr
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.testing._transcript import INDENT, listener_label

__all__ = ("Wanted", "calls_of", "dispatches_of", "listed")

R = TypeVar("R", DispatchRecord, ListenerRecord)


class Wanted(NamedTuple, Generic[R]):
    """One dispatch, or one call, that an assertion speaks of."""

    #: How it is called in a message.
    label: str
    #: Tells whether a record is one of it.
    is_met_by: Callable[[R], bool]


def dispatches_of(keys: Sequence[Hashable]) -> list[Wanted[DispatchRecord]]:
    """Want one dispatch for each key.

    Raises:
        TypeError: A key is a wrong one.
        ValueError: A key is no pattern though it has a ``*``.
    """
    return [_dispatch_of(key) for key in keys]


def calls_of(listeners: Sequence[object]) -> list[Wanted[ListenerRecord]]:
    """Want one call of each listener.

    Raises:
        TypeError: Something is not callable, and so no listener.
    """
    return [_call_of(listener) for listener in listeners]


def listed(labels: Iterable[str], place: int = -1, remark: str = "") -> str:
    """List what was wanted, one in a line, with a remark at one place."""
    return "\n".join(
        f"{INDENT}{label}  <- {remark}" if number == place else f"{INDENT}{label}"
        for number, label in enumerate(labels)
    )


def _dispatch_of(key: Hashable) -> Wanted[DispatchRecord]:
    if isinstance(key, Event):

        def is_it(dispatch: DispatchRecord) -> bool:
            return dispatch.event is key

        return Wanted(f"this very {type(key).__name__}", is_it)

    # Keys have one meaning: a dispatcher is asked whether a listener of this key would hear.
    ear = EventDispatcher()
    ear.add_listener(key, _listen)

    def matches(dispatch: DispatchRecord) -> bool:
        kind: Any = dispatch.event.__class__
        return ear.has_listeners(kind if dispatch.name is None else dispatch.name, kind)

    return Wanted(key.__name__ if isinstance(key, type) else safe_repr(key), matches)


def _call_of(listener: object) -> Wanted[ListenerRecord]:
    if not callable(listener):
        raise TypeError(
            f"a listener is given as it was registered; got {safe_repr(listener)} ({type(listener).__name__}), which "
            f"cannot be called. For names and classes of events there is assert_dispatched()"
        )

    def is_it(call: ListenerRecord) -> bool:
        return bool(call.listener == listener)

    return Wanted(listener_label(listener), is_it)


def _listen(event: object, /) -> None:
    """Stand for whoever listens."""
