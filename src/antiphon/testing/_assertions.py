"""What was recorded, and assertions on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import zip_longest
from textwrap import indent
from typing import Any, NoReturn, TypeVar

from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.testing._expected import Wanted, calls_of, dispatches_of, listed
from antiphon.testing._transcript import INDENT, dispatch_label, transcript

__all__ = ("Recording",)

R = TypeVar("R", DispatchRecord, ListenerRecord)


class Recording:
    """What was dispatched on some dispatchers while they were recorded.

    The assertions compare in the order in which dispatches, or calls, started. One that fails raises an
    ``AssertionError`` with all that was seen; ``str(recorded)`` gives the same text. A key is what it is for
    `add_listener <antiphon.AsyncEventDispatcher.add_listener>` (a name, a pattern, a class) and matches what a listener
    would hear; or it is an `Event <antiphon.Event>`, and that very one is meant.
    """

    def __init__(
        self, dispatches: Mapping[DispatchRecord, ListenerRecord | None], listeners: Sequence[ListenerRecord], /
    ) -> None:
        # Both grow while the recording goes on.
        self._dispatches = dispatches
        self._listeners = listeners

    @property
    def dispatches(self) -> tuple[DispatchRecord, ...]:
        """The dispatches, in the order in which they started; nested ones, too."""
        return tuple(self._dispatches)

    @property
    def events(self) -> tuple[Any, ...]:
        """The events, in the order in which their dispatches started."""
        return tuple(dispatch.event for dispatch in self.dispatches)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The names under which they were dispatched, in the same order; None for an event without a name."""
        return tuple(dispatch.name for dispatch in self.dispatches)

    @property
    def calls(self) -> tuple[ListenerRecord, ...]:
        """The calls of listeners, in the order in which they started."""
        return tuple(call for call in self._listeners if call.skipped_because is None)

    def assert_dispatched(self, *keys: Hashable) -> tuple[Any, ...]:
        """Assert that events were dispatched in this order. Others may have come between them.

        Args:
            *keys: One key for each event.

        Returns:
            The events, one for each key, to look closer at them.

        Raises:
            AssertionError: One was not dispatched, or not after those before it.
            TypeError: There is no key, or a wrong one.
            ValueError: A key is no pattern though it has a ``*``.
        """
        __tracebackhide__ = True
        _check_some(keys, "assert_dispatched() takes keys of events; assert_only_dispatched() needs none")
        return tuple(found.event for found in self._in_order("dispatched", dispatches_of(keys), self.dispatches))

    def assert_only_dispatched(self, *keys: Hashable) -> tuple[Any, ...]:
        """Assert that exactly these events were dispatched, in this order; without a key, that none was.

        Args:
            *keys: One key for each event.

        Returns:
            The events, one for each key.

        Raises:
            AssertionError: Others were dispatched, or in another order.
            TypeError: A key is a wrong one.
            ValueError: A key is no pattern though it has a ``*``.
        """
        __tracebackhide__ = True
        wanted, seen = dispatches_of(keys), self.dispatches
        for place, (one, came) in enumerate(zip_longest(wanted, seen)):
            if one is None or came is None or not one.is_met_by(came):
                labels = [each.label for each in wanted]
                remark = "nothing more came" if came is None else f"here came {dispatch_label(came)}"
                if one is None:
                    labels.append("(nothing more)")
                self._fail("expected to be dispatched, in this order and no others:", labels, place, remark)
        return self.events

    def assert_not_dispatched(self, *keys: Hashable) -> None:
        """Assert that no event was dispatched which one of the keys matches.

        Args:
            *keys: The keys of the events.

        Raises:
            AssertionError: One was dispatched.
            TypeError: There is no key, or a wrong one.
            ValueError: A key is no pattern though it has a ``*``.
        """
        __tracebackhide__ = True
        _check_some(keys, "assert_not_dispatched() takes keys of events; assert_only_dispatched() needs none")
        self._none("dispatched", dispatches_of(keys), self.dispatches)

    def assert_called(self, *listeners: Callable[[Any], object]) -> tuple[ListenerRecord, ...]:
        """Assert that listeners were called in this order. Other calls may have come between them.

        Args:
            *listeners: One listener, as it was registered, for each call.

        Returns:
            The calls, one for each listener.

        Raises:
            AssertionError: One was not called, or not after those before it.
            TypeError: There is no listener, or something else than one.
        """
        __tracebackhide__ = True
        _check_some(listeners, "assert_called() takes listeners")
        return tuple(self._in_order("called", calls_of(listeners), self.calls))

    def assert_not_called(self, *listeners: Callable[[Any], object]) -> None:
        """Assert that none of some listeners was called.

        Args:
            *listeners: The listeners, as they were registered.

        Raises:
            AssertionError: One was called.
            TypeError: There is no listener, or something else than one.
        """
        __tracebackhide__ = True
        _check_some(listeners, "assert_not_called() takes listeners")
        self._none("called", calls_of(listeners), self.calls)

    def assert_stopped(self, key: Hashable, /, *, by: Callable[[Any], object] | None = None) -> Any:
        """Assert that a listener stopped an event.

        Args:
            key: The key of the event.
            by: The listener, as it was registered; None if it may be any.

        Returns:
            The event; the first, if there were several.

        Raises:
            AssertionError: No such event was stopped, or none by that listener.
            TypeError: The key is a wrong one, or ``by`` is no listener.
            ValueError: The key is no pattern though it has a ``*``.
        """
        __tracebackhide__ = True
        (event,), stoppers = dispatches_of([key]), calls_of([] if by is None else [by])
        stopped = [
            dispatch.event
            for dispatch in self.dispatches
            if event.is_met_by(dispatch) and _was_stopped(dispatch, stoppers)
        ]
        if not stopped:
            by_whom = "".join(f" by {stopper.label}" for stopper in stoppers)
            self._fail(f"expected to be stopped{by_whom}:", [event.label])
        return stopped[0]

    def __str__(self) -> str:
        return transcript(dict(self._dispatches), self._listeners) or "nothing was dispatched"

    def __repr__(self) -> str:
        return f"<Recording: {len(self._dispatches)} dispatches, {len(self.calls)} calls>"

    def _in_order(self, done: str, wanted: Sequence[Wanted[R]], seen: Sequence[R]) -> list[R]:
        __tracebackhide__ = True
        found: list[R] = []
        rest = iter(seen)
        for place, one in enumerate(wanted):
            match = next((candidate for candidate in rest if one.is_met_by(candidate)), None)
            if match is None:
                was_before = any(map(one.is_met_by, seen))
                remark = f"not after {wanted[place - 1].label}" if was_before else f"never {done}"
                labels = [each.label for each in wanted]
                self._fail(f"expected to be {done}, in this order (others may come between):", labels, place, remark)
            found.append(match)
        return found

    def _none(self, done: str, unwanted: Sequence[Wanted[R]], seen: Sequence[R]) -> None:
        __tracebackhide__ = True
        for place, one in enumerate(unwanted):
            times = sum(map(one.is_met_by, seen))
            if times:
                remark = f"{done} {'once' if times == 1 else f'{times} times'}"
                self._fail(f"expected not to be {done}:", [each.label for each in unwanted], place, remark)

    def _fail(self, expected: str, labels: Sequence[str], place: int = -1, remark: str = "") -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(f"{expected}\n{listed(labels, place, remark)}\nseen:\n{indent(str(self), INDENT)}")


def _was_stopped(dispatch: DispatchRecord, stoppers: Sequence[Wanted[ListenerRecord]]) -> bool:
    call = dispatch.stopped_by
    if call is None:
        # By something that is no listener.
        return dispatch.outcome == "stopped" and not stoppers
    return all(stopper.is_met_by(call) for stopper in stoppers)


def _check_some(wanted: Sequence[object], meant: str) -> None:
    if not wanted:
        raise TypeError(f"{meant}; without any it would assert nothing")
