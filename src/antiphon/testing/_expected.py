"""The dispatches and calls that an assertion expects."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from types import FunctionType, MethodType
from typing import Any, Generic, NamedTuple, TypeVar

from antiphon import Event, EventDispatcher
from antiphon._util.naming import describe_value, safe_repr
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.testing._transcript import INDENT, listener_label

__all__ = ("Expected", "expect_calls", "expect_dispatches", "format_expected")

R = TypeVar("R", DispatchRecord, ListenerRecord)


class Expected(NamedTuple, Generic[R]):
    """A dispatch or a call that an assertion expects."""

    #: The label in messages.
    label: str
    #: Returns whether a record is the expected dispatch or call.
    matches: Callable[[R], bool]


def expect_dispatches(keys: Sequence[Hashable]) -> list[Expected[DispatchRecord]]:
    """Expect one dispatch for each key.

    Raises:
        TypeError: If a key is invalid.
        ValueError: If a key contains a ``*`` but is not a valid pattern.
    """
    return [_expect_dispatch(key) for key in keys]


def expect_calls(listeners: Sequence[object]) -> list[Expected[ListenerRecord]]:
    """Expect one call of each listener.

    Raises:
        TypeError: If a listener is not callable.
    """
    return [_expect_call(listener) for listener in listeners]


def format_expected(labels: Iterable[str], failed_index: int = -1, remark: str = "") -> str:
    """Return a list with one label per line. The line of the failed one ends with the remark."""
    return "\n".join(
        f"{INDENT}{label}  <- {remark}" if index == failed_index else f"{INDENT}{label}"
        for index, label in enumerate(labels)
    )


def _expect_dispatch(key: Any) -> Expected[DispatchRecord]:
    if isinstance(key, Event):

        def has_this_event(dispatch: DispatchRecord) -> bool:
            return dispatch.event is key

        return Expected(f"this {type(key).__name__} object", has_this_event)

    if isinstance(key, FunctionType | MethodType):
        raise TypeError(
            f"a key is a name, a pattern or a class; got {safe_repr(key)}: use assert_called() for listeners"
        )

    # Use a real dispatcher to match the key, so that tests and dispatches agree on what a key means.
    probe = _Probe()
    probe.add_listener(key, _probe_listener)

    def matches_key(dispatch: DispatchRecord) -> bool:
        event_class: Any = dispatch.event.__class__
        return probe.has_listeners(event_class if dispatch.name is None else dispatch.name, event_class)

    return Expected(key.__name__ if isinstance(key, type) else safe_repr(key), matches_key)


class _Probe(EventDispatcher):
    """A dispatcher that finds out which events a key matches."""

    _is_internal = True


def _expect_call(listener: object) -> Expected[ListenerRecord]:
    if not callable(listener):
        raise TypeError(
            f"a listener must be a callable, as it was registered; got {describe_value(listener)}. For names and "
            f"classes of events use assert_dispatched()"
        )

    def is_of_listener(call: ListenerRecord) -> bool:
        return bool(call.listener == listener)

    return Expected(listener_label(listener), is_of_listener)


def _probe_listener(event: object, /) -> None:
    """Do nothing. The probe needs a listener for its key."""
