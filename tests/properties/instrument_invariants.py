"""Invariants about instruments: the records they receive are what happened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.properties.interpreter import get_registration
from tests.properties.trace import Call, Dispatched, History, Registered, get_end

__all__ = (
    "calls_are_recorded",
    "dispatches_are_recorded",
    "listeners_are_recorded",
    "records_come_in_pairs",
    "skips_have_reasons",
    "stops_are_recorded",
)


def _get_started(history: History) -> list[tuple[Dispatched, Any]]:
    records = [record for method, record in history.records if method == "dispatch_started"]
    return list(zip(history.dispatches, records, strict=True))


def _get_registration(record: Any) -> Registered:
    return get_registration(record.listener)


def _get_call(record: Any, dispatch: Dispatched) -> Call | None:
    return next((call for call in dispatch.calls if call.registration is _get_registration(record)), None)


def _get_outcome(error: BaseException) -> str:
    return "failed" if isinstance(error, Exception) else "cancelled"


def dispatches_are_recorded(history: History) -> None:
    """Each dispatch has one record, with its event, its name, its outcome, its error, and the call it came from."""
    records = dict(_get_started(history))
    for dispatch, record in records.items():
        assert (record.event, record.name) == (dispatch.event, dispatch.name)
        assert record.error is dispatch.error
        finished = "finished" if dispatch.stopped is None else "stopped"
        assert record.outcome == (finished if dispatch.error is None else _get_outcome(dispatch.error))
        if dispatch.within is None:
            assert record.parent is None
        else:
            assert record.parent.dispatch is records[dispatch.within.dispatch]
            assert record.parent.listener is dispatch.within.registration.listener


def listeners_are_recorded(history: History) -> None:
    """A record has its listeners in the order in which they are called."""
    for dispatch, record in _get_started(history):
        assert [_get_registration(each) for each in record.listeners] == history.find_listeners_of(dispatch)


def calls_are_recorded(history: History) -> None:
    """The record of a listener says whether it was called, and what left it."""
    for dispatch, record in _get_started(history):
        called = {call.registration for call in dispatch.calls}
        assert {_get_registration(each) for each in record.listeners if each.started} == called
        for listener in record.listeners:
            call = _get_call(listener, dispatch)
            if call is None:
                assert (listener.outcome, listener.error) == ("skipped", None)
            else:
                assert listener.error is call.error
                assert listener.outcome == ("finished" if call.error is None else _get_outcome(call.error))


def stops_are_recorded(history: History) -> None:
    """The record of a dispatch names the listener that stopped the event first."""
    for dispatch, record in _get_started(history):
        if dispatch.stopped_by is None:
            assert record.stopped_by is None
        else:
            assert record.stopped_by.listener is dispatch.stopped_by.registration.listener


def skips_have_reasons(history: History) -> None:
    """A listener that was not called has a reason, and it is true."""
    for dispatch, record in _get_started(history):
        for listener in record.listeners:
            registration = _get_registration(listener)
            match listener.skipped_because:
                case None:
                    assert listener.outcome != "skipped"
                case "removed" | "once":
                    assert registration.gone is not None
                    assert dispatch.began < registration.gone < get_end(dispatch.ended)
                case "where":
                    assert registration.where and not dispatch.accepted
                case "stopped":
                    assert dispatch.stopped is not None
                case reason:
                    assert reason in ("failed", "cancelled")
                    assert record.outcome == reason


def records_come_in_pairs(history: History) -> None:
    """What begins ends, once, and what is in it lies between; a skipped listener does neither."""
    places: dict[Any, list[tuple[int, str]]] = {}
    for place, (method, record) in enumerate(history.records):
        places.setdefault(record, []).append((place, method.partition("_")[2]))
    for methods in places.values():
        assert [method for _, method in methods] in (["started", "finished"], ["skipped"])
    dispatches = [record for _, record in _get_started(history)]
    for record in dispatches:
        (began, _), (ended, _) = places[record]
        for listener in record.listeners:
            assert all(began < place < ended for place, _ in places[listener])
        if record.parent is not None:
            (outer_began, _), (outer_ended, _) = places[record.parent]
            assert outer_began < began < ended < outer_ended
    assert all(earlier.started <= later.started for earlier, later in pairwise(dispatches))
