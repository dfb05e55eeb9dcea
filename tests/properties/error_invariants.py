"""Invariants of what leaves listeners and dispatches: errors, cancellations and notes."""

from __future__ import annotations

from tests.properties.trace import Call, Dispatched, History, get_end, get_leaves

__all__ = (
    "cancelled_for_a_reason",
    "errors_complete",
    "no_cancellation_lost",
    "notes_once",
    "policies_are_called",
    "siblings_end_at_once",
    "started_listeners_finish",
)


def errors_complete(history: History) -> None:
    """What leaves a dispatch are the errors of its listeners, all of them, in the shape of its policy."""
    for dispatch in history.dispatches:
        errors = [effect for call in get_ordered_calls(dispatch) if (effect := dispatch.get_effect(call)) is not None]
        if dispatch.cancelled or any(is_mixed(call) for call in dispatch.calls):
            _complete_with_cancellation(dispatch, errors)
        elif not errors:
            assert dispatch.error is None
        elif dispatch.is_sequential and dispatch.how.errors != "collect":
            assert errors == [dispatch.error]
        else:
            assert type(dispatch.error) is ExceptionGroup
            assert list(dispatch.error.exceptions) == errors


def _complete_with_cancellation(dispatch: Dispatched, errors: list[Exception]) -> None:
    # Groups in which listeners let errors out together with a cancellation: the error counts, wherever it stands.
    mixed = [error for call in dispatch.calls if is_mixed(call) and call.error for error in get_exceptions(call.error)]
    expected = [leaf for error in errors for leaf in get_leaves(error)] + mixed
    handled = [leaf for policy in dispatch.policy_calls for leaf in get_leaves(policy.error)]
    raised = [policy.raised for policy in dispatch.policy_calls]
    left = [] if dispatch.error is None else get_exceptions(dispatch.error)
    assert {id(leaf) for leaf in left} <= {id(leaf) for leaf in (*expected, *raised)}
    assert {id(leaf) for leaf in expected} <= {id(leaf) for leaf in (*left, *handled)}
    if dispatch.cancelled and not expected:
        assert not isinstance(dispatch.error, BaseExceptionGroup) or not dispatch.is_sequential


def get_exceptions(error: BaseException) -> list[BaseException]:
    """Return the leaves that are not cancellations."""
    return [leaf for leaf in get_leaves(error) if isinstance(leaf, Exception)]


def is_mixed(call: Call) -> bool:
    """Return whether errors and a cancellation left a listener together."""
    return call.cancelled and call.error is not None and bool(get_exceptions(call.error))


def get_ordered_calls(dispatch: Dispatched) -> list[Call]:
    """Return the calls of a dispatch in the order of their listeners."""
    return sorted(dispatch.calls, key=lambda call: call.registration.place)


def policies_are_called(history: History) -> None:
    """A policy that is a function is called once with each error, with the event and the listener."""
    for dispatch in history.dispatches:
        if dispatch.how.errors in ("raise", "collect"):
            continue
        handled = {id(error): (event, listener) for error, event, listener, _ in dispatch.policy_calls}
        assert len(handled) == len(dispatch.policy_calls)
        for call in dispatch.calls:
            if isinstance(call.error, Exception):
                event, listener = handled[id(call.error)]
                assert event is dispatch.event
                assert listener is call.registration.listener


def cancelled_for_a_reason(history: History) -> None:
    """A listener is cancelled because an error ended the dispatch, another won the race, or for a request from outside."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            if call.cancelled:
                assert call.requested
                lost = dispatch.how.strategy == "race" and dispatch.stopped_by not in (None, call)
                ended = not dispatch.is_sequential and dispatch.ending is not None
                assert lost or ended or dispatch.cancelled
        assert not dispatch.cancelled or dispatch.requested


def started_listeners_finish(history: History) -> None:
    """A started listener finishes in spite of a stop, unless it loses a race."""
    for dispatch in history.dispatches:
        if dispatch.ending is None and not dispatch.cancelled:
            for call in dispatch.calls:
                if dispatch.how.strategy != "race" or dispatch.stopped_by in (None, call):
                    assert not call.cancelled


def siblings_end_at_once(history: History) -> None:
    """When a listener fails, or wins, the others end in that moment, and no other starts."""
    for dispatch in history.dispatches:
        winner = dispatch.stopped_by if dispatch.how.strategy == "race" else None
        if winner is not None and dispatch.stopped is not None:
            for call in dispatch.calls:
                assert call is winner or get_end(call.ended).time <= dispatch.stopped.time
        if dispatch.ending is not None:
            for call in dispatch.calls:
                assert call.began < get_end(dispatch.ending.ended)
                assert call is winner or get_end(call.ended).time <= get_end(dispatch.ending.ended).time


def no_cancellation_lost(history: History) -> None:
    """No group of errors alone leaves where a cancellation was requested."""
    for dispatch in history.dispatches:
        if dispatch.requested and not dispatch.is_sequential:
            assert dispatch.cancelled
        if dispatch.requested and dispatch.is_sequential and dispatch.how.errors == "collect":
            # A dispatch with collected errors looks for a request before it ends.
            assert dispatch.cancelled or all(call.error is None for call in dispatch.calls)


def notes_once(history: History) -> None:
    """The notes of an error name the listeners that raised it and the dispatches, each once; there are at most 8."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            effect = dispatch.get_effect(call)
            for leaf in [] if effect is None else get_leaves(effect):
                notes = [note for note in leaf.__notes__ if note.startswith("antiphon: ")]
                assert len(set(notes)) == len(notes) <= 8
                # What a policy raises may also leave the listener in which its dispatch was started, the same perhaps.
                by_policy = dispatch.how.errors == "replace"
                of_call = [note for note in notes if ("by the error policy" in note) == by_policy]
                assert len([note for note in of_call if is_note_of(note, call)]) == 1


def is_note_of(note: str, call: Call) -> bool:
    """Return whether a note names listener, dispatcher and event of a call."""
    dispatch = call.dispatch
    name = "" if dispatch.name is None else f"{dispatch.name!r} "
    event = f"dispatched {name}({type(call.event).__qualname__})"
    return all(part in note for part in (repr(call.registration.listener), repr(dispatch.dispatcher), event))
