"""Laws about instruments: what they are told is what happened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.properties.trace import Call, Dispatched, History, end

__all__ = (
    "each_call_is_told",
    "each_dispatch_is_told",
    "in_pairs",
    "skips_have_reasons",
    "who_listened",
    "who_stopped",
)


def _told(history: History, method: str) -> list[Any]:
    return [record for told, record in history.told if told == method]


def _dispatches(history: History) -> list[tuple[Dispatched, Any]]:
    return list(zip(history.dispatches, _told(history, "dispatch_started"), strict=True))


def _call_of(record: Any, dispatch: Dispatched) -> Call | None:
    (*calls,) = (call for call in dispatch.calls if call.registration is record.listener.registration)
    assert len(calls) <= 1
    return calls[0] if calls else None


def each_dispatch_is_told(history: History) -> None:
    """Each dispatch has one record, with its event, its name, its outcome, its error, and the call it came from."""
    records = dict(_dispatches(history))
    for dispatch, record in records.items():
        assert (record.event, record.name) == (dispatch.event, dispatch.name)
        assert record.error is dispatch.error
        if dispatch.error is not None:
            assert record.outcome == ("failed" if isinstance(dispatch.error, Exception) else "cancelled")
        else:
            assert record.outcome == ("finished" if dispatch.stopped is None else "stopped")
        if dispatch.within is None:
            assert record.parent is None
        else:
            assert record.parent.dispatch is records[dispatch.within.dispatch]
            assert record.parent.listener is dispatch.within.registration.listener


def who_listened(history: History) -> None:
    """A record has its listeners in the order in which they are heard."""
    for dispatch, record in _dispatches(history):
        assert [listener.listener.registration for listener in record.listeners] == history.heard_by(dispatch)


def each_call_is_told(history: History) -> None:
    """Who was called was told as called, with what left it; nobody else was."""
    for dispatch, record in _dispatches(history):
        called = {call.registration for call in dispatch.calls}
        assert {listener.listener.registration for listener in record.listeners if listener.started} == called
        for listener in record.listeners:
            call = _call_of(listener, dispatch)
            if call is None:
                assert (listener.outcome, listener.error) == ("skipped", None)
            else:
                assert listener.error is call.error
                expected = "failed" if isinstance(call.error, Exception) else "cancelled"
                assert listener.outcome == ("finished" if call.error is None else expected)


def who_stopped(history: History) -> None:
    """The one that stopped the event first is named."""
    for dispatch, record in _dispatches(history):
        if dispatch.stopped_by is None:
            assert record.stopped_by is None
        else:
            assert record.stopped_by.listener is dispatch.stopped_by.registration.listener


def skips_have_reasons(history: History) -> None:
    """Who was not called has a reason, and it is true."""
    for dispatch, record in _dispatches(history):
        for listener in record.listeners:
            match listener.skipped_because:
                case None:
                    assert listener.outcome != "skipped"
                case "removed" | "once":
                    gone = listener.listener.registration.gone
                    assert gone is not None
                    assert dispatch.began < gone < end(dispatch.ended)
                case "stopped":
                    assert dispatch.stopped is not None
                case reason:
                    assert reason in ("failed", "cancelled")
                    assert record.outcome == reason


def in_pairs(history: History) -> None:
    """What begins ends, once, and what is in it lies between; who is skipped does neither."""
    places: dict[Any, list[tuple[int, str]]] = {}
    for place, (method, record) in enumerate(history.told):
        places.setdefault(record, []).append((place, method.partition("_")[2]))
    for told in places.values():
        assert [method for _, method in told] in (["started", "finished"], ["skipped"])
    for record in _told(history, "dispatch_started"):
        (began, _), (ended, _) = places[record]
        for listener in record.listeners:
            assert all(began < place < ended for place, _ in places[listener])
        if record.parent is not None:
            (outer_began, _), (outer_ended, _) = places[record.parent]
            assert outer_began < began < ended < outer_ended
    times = [record.started for record in _told(history, "dispatch_started")]
    assert all(earlier <= later for earlier, later in pairwise(times))
