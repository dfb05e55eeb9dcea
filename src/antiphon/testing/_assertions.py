"""Recordings of dispatches, and assertions on them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import zip_longest
from textwrap import indent
from typing import Any, NoReturn, TypeVar

from antiphon._util.arguments import hides_parameters
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.testing._expected import Expected, expect_calls, expect_dispatches, format_expected
from antiphon.testing._transcript import INDENT, dispatch_label, transcript

__all__ = ("Recording",)

R = TypeVar("R", DispatchRecord, ListenerRecord)


class Recording:
    """The dispatches that were recorded on one or more dispatchers.

    The assertions compare dispatches, or calls, in the order in which they started. An assertion that fails raises an
    ``AssertionError`` with all recorded dispatches. ``str(recording)`` returns the same text.
    A key is a name, a pattern or a class, with the same meaning as in
    `add_listener <antiphon.AsyncEventDispatcher.add_listener>`. It can also be an `Event <antiphon.Event>`, which
    matches only the dispatches of that object.
    """

    @hides_parameters
    def __init__(
        self, dispatches: Mapping[DispatchRecord, ListenerRecord | None], listeners: Sequence[ListenerRecord], /
    ) -> None:
        # Keep references, not copies: the recorder extends both.
        self._dispatches = dispatches
        self._listeners = listeners

    @property
    def dispatches(self) -> tuple[DispatchRecord, ...]:
        """The dispatches in the order in which they started, including nested ones."""
        return tuple(self._dispatches)

    @property
    def events(self) -> tuple[Any, ...]:
        """The events, in the order in which their dispatches started."""
        return tuple(dispatch.event for dispatch in self.dispatches)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The names of the dispatches, in the same order. The name is None for an event without a name."""
        return tuple(dispatch.name for dispatch in self.dispatches)

    @property
    def calls(self) -> tuple[ListenerRecord, ...]:
        """The calls of listeners, in the order in which they started."""
        return tuple(call for call in self._listeners if call.skipped_because is None)

    def assert_dispatched(self, *keys: Hashable) -> tuple[Any, ...]:
        """Assert that events were dispatched in this order. Other dispatches may be between them.

        Args:
            *keys: One key for each event.

        Returns:
            The events, one for each key.

        Raises:
            AssertionError: If an event was not dispatched, or not in this order.
            TypeError: If no key is given, or a key is invalid.
            ValueError: If a key contains a ``*`` but is not a valid pattern.
        """
        __tracebackhide__ = True
        _check_not_empty(keys, "assert_dispatched() requires a key. To expect no events, use assert_only_dispatched()")
        dispatches = self._assert_in_order("dispatched", expect_dispatches(keys), self.dispatches)
        return tuple(dispatch.event for dispatch in dispatches)

    def assert_only_dispatched(self, *keys: Hashable) -> tuple[Any, ...]:
        """Assert that exactly these events were dispatched, in this order. Without keys, assert that there were none.

        Args:
            *keys: One key for each event.

        Returns:
            The events, one for each key.

        Raises:
            AssertionError: If other events were dispatched, or in another order.
            TypeError: If a key is invalid.
            ValueError: If a key contains a ``*`` but is not a valid pattern.
        """
        __tracebackhide__ = True
        expected = expect_dispatches(keys)
        for index, (item, dispatch) in enumerate(zip_longest(expected, self.dispatches)):
            if item is None or dispatch is None or not item.matches(dispatch):
                labels = [each.label for each in expected]
                if item is None:
                    labels.append("(nothing more)")
                remark = "nothing more was dispatched" if dispatch is None else f"got {dispatch_label(dispatch)}"
                self._fail("expected to be dispatched, in this order and no others:", labels, index, remark)
        return self.events

    def assert_not_dispatched(self, *keys: Hashable) -> None:
        """Assert that no dispatched event matches one of the keys.

        Args:
            *keys: The keys of the events.

        Raises:
            AssertionError: If an event matches a key.
            TypeError: If no key is given, or a key is invalid.
            ValueError: If a key contains a ``*`` but is not a valid pattern.
        """
        __tracebackhide__ = True
        _check_not_empty(
            keys, "assert_not_dispatched() requires a key. To expect no events, use assert_only_dispatched()"
        )
        self._assert_none("dispatched", expect_dispatches(keys), self.dispatches)

    def assert_called(self, *listeners: Callable[[Any], object]) -> tuple[ListenerRecord, ...]:
        """Assert that listeners were called in this order. Other calls may be between them.

        Args:
            *listeners: The listener of each call, as it was registered.

        Returns:
            The calls, one for each listener.

        Raises:
            AssertionError: If a listener was not called, or not in this order.
            TypeError: If no listener is given, or one is not callable.
        """
        __tracebackhide__ = True
        _check_not_empty(listeners, "assert_called() requires a listener")
        return tuple(self._assert_in_order("called", expect_calls(listeners), self.calls))

    def assert_not_called(self, *listeners: Callable[[Any], object]) -> None:
        """Assert that none of the listeners was called.

        Args:
            *listeners: The listeners, as they were registered.

        Raises:
            AssertionError: If a listener was called.
            TypeError: If no listener is given, or one is not callable.
        """
        __tracebackhide__ = True
        _check_not_empty(listeners, "assert_not_called() requires a listener")
        self._assert_none("called", expect_calls(listeners), self.calls)

    def assert_stopped(self, key: Hashable, /, *, by: Callable[[Any], object] | None = None) -> Any:
        """Assert that a listener stopped an event.

        Args:
            key: The key of the event.
            by: The listener, as it was registered; None for any listener.

        Returns:
            The first event that matches and was stopped.

        Raises:
            AssertionError: If no such event was stopped, or not by that listener.
            TypeError: If the key is invalid, or ``by`` is not callable.
            ValueError: If the key contains a ``*`` but is not a valid pattern.
        """
        __tracebackhide__ = True
        (expected,), stoppers = expect_dispatches([key]), expect_calls([] if by is None else [by])
        for dispatch in self.dispatches:
            if expected.matches(dispatch) and _was_stopped(dispatch, stoppers):
                return dispatch.event
        by_stopper = "".join(f" by {stopper.label}" for stopper in stoppers)
        return self._fail(f"expected to be stopped{by_stopper}:", [expected.label])

    def __str__(self) -> str:
        return transcript(dict(self._dispatches), self._listeners) or "nothing was dispatched"

    def __repr__(self) -> str:
        return f"<Recording: {len(self._dispatches)} dispatches, {len(self.calls)} calls>"

    def _assert_in_order(self, verb: str, expected: Sequence[Expected[R]], records: Sequence[R]) -> list[R]:
        __tracebackhide__ = True
        matches: list[R] = []
        remaining = iter(records)
        for index, item in enumerate(expected):
            match = next((record for record in remaining if item.matches(record)), None)
            if match is None:
                was_earlier = any(map(item.matches, records))
                remark = f"not after {expected[index - 1].label}" if was_earlier else f"never {verb}"
                labels = [each.label for each in expected]
                self._fail(f"expected to be {verb}, in this order (others may come between):", labels, index, remark)
            matches.append(match)
        return matches

    def _assert_none(self, verb: str, unexpected: Sequence[Expected[R]], records: Sequence[R]) -> None:
        __tracebackhide__ = True
        for index, item in enumerate(unexpected):
            times = sum(map(item.matches, records))
            if times:
                remark = f"{verb} {'once' if times == 1 else f'{times} times'}"
                self._fail(f"expected not to be {verb}:", [each.label for each in unexpected], index, remark)

    def _fail(self, expectation: str, labels: Sequence[str], failed_index: int = -1, remark: str = "") -> NoReturn:
        __tracebackhide__ = True
        expected = format_expected(labels, failed_index, remark)
        raise AssertionError(f"{expectation}\n{expected}\nseen:\n{indent(str(self), INDENT)}")


def _was_stopped(dispatch: DispatchRecord, stoppers: Sequence[Expected[ListenerRecord]]) -> bool:
    call = dispatch.stopped_by
    if call is None:
        # The caller of the stop was not a listener of this dispatch.
        return dispatch.outcome == "stopped" and not stoppers
    return all(stopper.matches(call) for stopper in stoppers)


def _check_not_empty(arguments: Sequence[object], message: str) -> None:
    if not arguments:
        raise TypeError(message)
