"""Laws of what leaves listeners and dispatches: errors, cancellations and notes."""

from __future__ import annotations

from tests.properties.trace import Call, Dispatched, History, end, leaves

__all__ = (
    "cancelled_for_a_reason",
    "errors_complete",
    "no_cancellation_lost",
    "notes_once",
    "policies_told",
    "siblings_end_at_once",
    "started_finish",
)


def errors_complete(history: History) -> None:
    """What leaves a dispatch are the errors of its listeners, all of them, in the shape of its policy."""
    for dispatch in history.dispatches:
        errors = [effect for call in in_order(dispatch) if (effect := dispatch.effect(call)) is not None]
        if dispatch.cancelled or any(is_mixed(call) for call in dispatch.calls):
            _complete_with_cancellation(dispatch, errors)
        elif not errors:
            assert dispatch.error is None
        elif dispatch.sequential and dispatch.how.errors != "collect":
            assert errors == [dispatch.error]
        else:
            assert type(dispatch.error) is ExceptionGroup
            assert list(dispatch.error.exceptions) == errors


def _complete_with_cancellation(dispatch: Dispatched, errors: list[Exception]) -> None:
    # Groups in which listeners let errors out together with a cancellation: the error counts, wherever it stands.
    mixed = [error for call in dispatch.calls if is_mixed(call) and call.error for error in exceptions(call.error)]
    expected = [leaf for error in errors for leaf in leaves(error)] + mixed
    told = [leaf for told in dispatch.told for leaf in leaves(told.error)]
    left = [] if dispatch.error is None else exceptions(dispatch.error)
    assert {id(leaf) for leaf in left} <= {id(leaf) for leaf in (*expected, *raised(dispatch))}
    assert {id(leaf) for leaf in expected} <= {id(leaf) for leaf in (*left, *told)}
    if dispatch.cancelled and not expected:
        assert not isinstance(dispatch.error, BaseExceptionGroup) or not dispatch.sequential


def raised(dispatch: Dispatched) -> list[Exception]:
    """What the policy raised."""
    return [told.raised for told in dispatch.told if told.raised is not None]


def exceptions(error: BaseException) -> list[BaseException]:
    """The leaves that are no cancellations."""
    return [leaf for leaf in leaves(error) if isinstance(leaf, Exception)]


def is_mixed(call: Call) -> bool:
    """Whether errors and a cancellation left a listener together."""
    return call.cancelled and call.error is not None and bool(exceptions(call.error))


def in_order(dispatch: Dispatched) -> list[Call]:
    """The calls of a dispatch in the order of their listeners."""
    return sorted(dispatch.calls, key=lambda call: call.registration.place)


def policies_told(history: History) -> None:
    """A policy that is a function is told each error once, with the event and the listener."""
    for dispatch in history.dispatches:
        if dispatch.how.errors in ("raise", "collect"):
            continue
        told = {id(error): (event, listener) for error, event, listener, _ in dispatch.told}
        assert len(told) == len(dispatch.told)
        for call in dispatch.calls:
            if isinstance(call.error, Exception):
                event, listener = told[id(call.error)]
                assert event is dispatch.event
                assert listener is call.registration.listener


def cancelled_for_a_reason(history: History) -> None:
    """A listener is cancelled because an error ended the dispatch, another won the race, or somebody asked outside."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            if call.cancelled:
                assert call.asked
                lost = dispatch.how.strategy == "race" and dispatch.stopped_by not in (None, call)
                ended = not dispatch.sequential and dispatch.ending is not None
                assert lost or ended or dispatch.cancelled
        assert not dispatch.cancelled or dispatch.asked


def started_finish(history: History) -> None:
    """Who has started finishes in spite of a stop, but for those who lose a race."""
    for dispatch in history.dispatches:
        if dispatch.ending is None and not dispatch.cancelled:
            for call in dispatch.calls:
                if dispatch.how.strategy != "race" or dispatch.stopped_by in (None, call):
                    assert not call.cancelled


def siblings_end_at_once(history: History) -> None:
    """When one of them fails, or wins, the others end in that moment, and no other starts."""
    for dispatch in history.dispatches:
        winner = dispatch.stopped_by if dispatch.how.strategy == "race" else None
        if winner is not None and dispatch.stopped is not None:
            for call in dispatch.calls:
                assert call is winner or end(call.ended).time <= dispatch.stopped.time
        if dispatch.ending is not None:
            for call in dispatch.calls:
                assert call.began < end(dispatch.ending.ended)
                assert call is winner or end(call.ended).time <= end(dispatch.ending.ended).time


def no_cancellation_lost(history: History) -> None:
    """No group of errors alone leaves where a cancellation was asked for."""
    for dispatch in history.dispatches:
        if dispatch.asked and not dispatch.sequential:
            assert dispatch.cancelled
        if dispatch.asked and dispatch.sequential and dispatch.how.errors == "collect":
            # With errors in hand it looks before it ends.
            assert dispatch.cancelled or all(call.error is None for call in dispatch.calls)


def notes_once(history: History) -> None:
    """An error that leaves says which listener raised it in which dispatch, once for each; not more than 8 times."""
    for dispatch in history.dispatches:
        for call in dispatch.calls:
            effect = dispatch.effect(call)
            for leaf in [] if effect is None else leaves(effect):
                notes = [note for note in leaf.__notes__ if note.startswith("antiphon: ")]
                assert len(set(notes)) == len(notes) <= 8
                # What a policy raises may also leave the listener in which its dispatch was started, the same perhaps.
                by_policy = dispatch.how.errors == "tell and raise"
                of_call = [note for note in notes if ("by the error policy" in note) == by_policy]
                assert len([note for note in of_call if tells_of(note, call)]) == 1


def tells_of(note: str, call: Call) -> bool:
    """Whether a note names listener, dispatcher and event of a call."""
    dispatcher = ("first", "second")[call.dispatch.dispatcher]
    parts = (
        repr(call.registration.listener),
        f"'{dispatcher}'",
        f"{call.dispatch.name!r} ({type(call.event).__qualname__})",
    )
    return all(part in note for part in parts)
