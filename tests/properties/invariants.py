"""Invariants: what holds for the history of any scenario, each as one small function that fails if it does not.

Those of this file are about which listeners are called, and when; those about what leaves are in ``error_invariants.py``.
"""

from __future__ import annotations

from itertools import pairwise

from tests.properties.reference import key_matches
from tests.properties.trace import Dispatched, History, Registered, get_end

__all__ = (
    "contexts_are_copied",
    "everything_ends",
    "keys_match",
    "limit_is_kept",
    "nested_view",
    "no_listener_is_forgotten",
    "once_is_once",
    "order_and_ties",
    "outcomes_are_expected",
    "removal_at_once",
    "returned_event",
    "snapshot",
    "stop",
    "tiers",
    "view_after",
    "where_is_asked",
)


def order_and_ties(history: History) -> None:
    """Sequential: one after another, lower priorities first, equal ones in the order of registration."""
    for dispatch in history.dispatches:
        if dispatch.is_sequential:
            for earlier, later in pairwise(dispatch.calls):
                assert earlier.registration.place < later.registration.place
                assert get_end(earlier.ended) < later.began


def tiers(history: History) -> None:
    """Always: no listener starts before all listeners of lower priorities have ended."""
    for dispatch in history.dispatches:
        for earlier in dispatch.calls:
            for later in dispatch.calls:
                if earlier.registration.priority < later.registration.priority:
                    assert get_end(earlier.ended) < later.began


def stop(history: History) -> None:
    """After a stop no listener starts, except those of the same priority in a concurrent dispatch."""
    for dispatch in history.dispatches:
        if dispatch.stopped_by is not None and dispatch.stopped is not None:
            for call in dispatch.calls:
                if call.began > dispatch.stopped:
                    assert dispatch.how.strategy == "concurrent"
                    assert call.registration.priority == dispatch.stopped_by.registration.priority


def snapshot(history: History) -> None:
    """A called listener was registered when the dispatch began, and is called once."""
    for dispatch in history.dispatches:
        called = [call.registration for call in dispatch.calls]
        assert len(set(called)) == len(called)
        assert all(registration.added < dispatch.began for registration in called)


def removal_at_once(history: History) -> None:
    """No listener is called after its removal."""
    for call in history.calls:
        removed = call.registration.removed
        assert removed is None or call.began < removed


def once_is_once(history: History) -> None:
    """A listener registered with ``once`` is called once, over all dispatches."""
    for registration in history.registrations:
        assert not registration.once or len(registration.calls) <= 1


def where_is_asked(history: History) -> None:
    """A listener with ``where`` is called only with events that it accepts."""
    for call in history.calls:
        assert call.dispatch.accepted or not call.registration.where


def keys_match(history: History) -> None:
    """The key of a called listener matches, and its dispatcher is the dispatching one or a parent of it."""
    for dispatch in history.dispatches:
        chain, on = [dispatch.on], history.parents[dispatch.on]
        while on is not None:
            chain.append(on)
            on = history.parents[on]
        for call in dispatch.calls:
            assert call.registration.on in chain
            assert key_matches(call.registration.key, dispatch.name, type(dispatch.event))


def limit_is_kept(history: History) -> None:
    """Never more listeners of a dispatch run than its limit says."""
    for dispatch in history.dispatches:
        if dispatch.how.strategy == "concurrent" and dispatch.how.limit is not None:
            for call in dispatch.calls:
                running = [other for other in dispatch.calls if other.began <= call.began < get_end(other.ended)]
                assert len(running) <= dispatch.how.limit


def no_listener_is_forgotten(history: History) -> None:
    """What was registered when the dispatch began is called, unless there is an excuse."""
    for dispatch in history.dispatches:
        called = [call.registration for call in dispatch.calls]
        for registration in history.find_listeners_of(dispatch):
            if registration not in called:
                assert (
                    dispatch.cancelled
                    or (registration.where and not dispatch.accepted)
                    or _was_gone_at_its_turn(registration, dispatch)
                    or _was_stopped_before(registration, dispatch)
                    or _was_ended_before(registration, dispatch)
                ), f"registration {registration.number} was not called by {dispatch}"


def _was_gone_at_its_turn(registration: Registered, dispatch: Dispatched) -> bool:
    places = slice(None if dispatch.is_sequential else 1)
    later = [call.began for call in dispatch.calls if call.registration.place[places] > registration.place[places]]
    return registration.gone is not None and registration.gone < min(later, default=get_end(dispatch.ended))


def _was_stopped_before(registration: Registered, dispatch: Dispatched) -> bool:
    if dispatch.stopped_by is None:
        return False
    if dispatch.how.strategy == "race":
        return True
    by = dispatch.stopped_by.registration
    return by.place < registration.place if dispatch.is_sequential else by.priority < registration.priority


def _was_ended_before(registration: Registered, dispatch: Dispatched) -> bool:
    if dispatch.ending is None:
        return False
    failed = dispatch.ending.registration
    return failed.place < registration.place if dispatch.is_sequential else failed.priority <= registration.priority


def everything_ends(history: History) -> None:
    """Every call has ended before its dispatch does, and nothing is left behind."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            assert dispatch.began < call.began < get_end(call.ended) < get_end(dispatch.ended)


def returned_event(history: History) -> None:
    """All listeners receive the very event that was dispatched, and it is returned."""
    for dispatch in history.dispatches:
        assert all(call.event is dispatch.event for call in dispatch.calls)
        assert dispatch.returned is (dispatch.event if dispatch.error is None else None)


def nested_view(history: History) -> None:
    """Each listener sees name, dispatcher and mark of its own dispatch, also after one within it."""
    for call in history.calls:
        for seen, expected in call.views:
            assert seen == expected


def view_after(history: History) -> None:
    """After a dispatch the event shows what it was, unless it goes back to an outer dispatch."""
    for dispatch in history.dispatches:
        if not dispatch.nested:
            assert dispatch.view_after == (dispatch.name, dispatch.dispatcher, dispatch.stopped is not None)


def contexts_are_copied(history: History) -> None:
    """Sequential listeners share the context of the caller; the others have each their own copy of it."""
    for dispatch in history.dispatches:
        context = dispatch.context_before
        for call in dispatch.calls:
            assert call.context_before is context
            if dispatch.is_sequential:
                context = call.context_after
        assert dispatch.context_after is context


def outcomes_are_expected(history: History) -> None:
    """Removals, refusals and look-ups give what the reference says."""
    for step, seen, expected in history.outcomes:
        assert seen == expected, f"in {step}"
