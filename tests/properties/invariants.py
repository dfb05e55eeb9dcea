"""Laws: what holds for the history of any program, each as one small function that fails if it does not.

Those of this file are about who is called, and when; those about what leaves are in ``error_invariants.py``.
"""

from __future__ import annotations

from itertools import pairwise

from tests.properties.trace import Dispatched, History, Registered, end, place

__all__ = (
    "contexts",
    "everything_ends",
    "limit",
    "names_are_exact",
    "nested_view",
    "nobody_forgotten",
    "once",
    "order_and_ties",
    "removal_at_once",
    "removal_tells",
    "returned_event",
    "snapshot",
    "stop",
    "tiers",
    "view_after",
)


def order_and_ties(history: History) -> None:
    """Sequential: one after another, lower priorities first, equal ones in the order of registration."""
    for dispatch in history.dispatches:
        if dispatch.sequential:
            for earlier, later in pairwise(dispatch.calls):
                assert earlier.registration.place < later.registration.place
                assert end(earlier.ended) < later.began


def tiers(history: History) -> None:
    """Always: nobody starts before all listeners of lower priorities have ended."""
    for dispatch in history.dispatches:
        for earlier in dispatch.calls:
            for later in dispatch.calls:
                if earlier.registration.priority < later.registration.priority:
                    assert end(earlier.ended) < later.began


def stop(history: History) -> None:
    """After a stop nobody starts, but for those of the same priority in a concurrent dispatch."""
    for dispatch in history.dispatches:
        if dispatch.stopped_by is not None and dispatch.stopped is not None:
            for call in dispatch.calls:
                if call.began > dispatch.stopped:
                    assert dispatch.how.strategy == "concurrent"
                    assert call.registration.priority == dispatch.stopped_by.registration.priority


def snapshot(history: History) -> None:
    """Who is called listened when the dispatch began, and is called once."""
    for dispatch in history.dispatches:
        called = [call.registration for call in dispatch.calls]
        assert len(set(called)) == len(called)
        assert all(registration.added < dispatch.began for registration in called)


def removal_at_once(history: History) -> None:
    """Nobody is called after its removal."""
    for call in history.calls:
        removed = call.registration.removed
        assert removed is None or call.began < removed


def once(history: History) -> None:
    """A listener registered with ``once`` is called once, over all dispatches."""
    for registration in history.registrations:
        assert not registration.once or len(registration.calls) <= 1


def names_are_exact(history: History) -> None:
    """Who is called listens to this name on this dispatcher."""
    for call in history.calls:
        registration, dispatch = call.registration, call.dispatch
        assert (registration.dispatcher, registration.name) == (dispatch.dispatcher, dispatch.name)


def limit(history: History) -> None:
    """Never do more listeners of a dispatch run than its limit says."""
    for dispatch in history.dispatches:
        if dispatch.how.strategy == "concurrent" and dispatch.how.limit is not None:
            for call in dispatch.calls:
                running = [other for other in dispatch.calls if other.began <= call.began < end(other.ended)]
                assert len(running) <= dispatch.how.limit


def nobody_forgotten(history: History) -> None:
    """Who listened when the dispatch began is called, unless there is an excuse."""
    for dispatch in history.dispatches:
        called = [call.registration for call in dispatch.calls]
        for registration in history.heard_by(dispatch):
            if registration not in called:
                assert (
                    dispatch.cancelled
                    or _was_gone_at_its_turn(registration, dispatch)
                    or _was_stopped_before(registration, dispatch)
                    or _was_ended_before(registration, dispatch)
                ), f"registration {registration.number} was not called by {dispatch}"


def _was_gone_at_its_turn(registration: Registered, dispatch: Dispatched) -> bool:
    later = [
        call.began
        for call in dispatch.calls
        if (place(call.registration) if dispatch.sequential else call.registration.place[:1])
        > (place(registration) if dispatch.sequential else registration.place[:1])
    ]
    return registration.gone is not None and registration.gone < min(later, default=end(dispatch.ended))


def _was_stopped_before(registration: Registered, dispatch: Dispatched) -> bool:
    if dispatch.stopped_by is None:
        return False
    if dispatch.how.strategy == "race":
        return True
    by = dispatch.stopped_by.registration
    return by.place < registration.place if dispatch.sequential else by.priority < registration.priority


def _was_ended_before(registration: Registered, dispatch: Dispatched) -> bool:
    if dispatch.ending is None:
        return False
    failed = dispatch.ending.registration
    return failed.place < registration.place if dispatch.sequential else failed.priority <= registration.priority


def everything_ends(history: History) -> None:
    """What was called has ended before its dispatch does, and nothing is left behind."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            assert dispatch.began < call.began < end(call.ended) < end(dispatch.ended)


def returned_event(history: History) -> None:
    """All listeners are given the very event that was dispatched, and it comes back."""
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
            name = ("first", "second")[dispatch.dispatcher]
            assert dispatch.view_after is not None
            assert dispatch.view_after.name == dispatch.name
            assert name in repr(dispatch.view_after.dispatcher)
            assert dispatch.view_after.stopped is (dispatch.stopped is not None)


def contexts(history: History) -> None:
    """Sequential listeners share the context of the caller; the others have each their own copy of it."""
    for dispatch in history.dispatches:
        context = dispatch.context_before
        for call in dispatch.calls:
            assert call.context_before is context
            if dispatch.sequential:
                context = call.context_after
        assert dispatch.context_after is context


def removal_tells(history: History) -> None:
    """Removing what is not there is told (by a ``ValueError``, or False from a handle), and nothing else is."""
    for found, expected in history.removals:
        assert found is expected
