"""Plays for the tests of the timeline: dispatches whose times are set by hand, and some that hypothesis makes up."""

from __future__ import annotations

from hypothesis import strategies as st

from docs.pictures import TimelineBuilder

NAMES = ["order.placed", "payment.wanted", "order.*", None]
LISTENERS = ["validate", "charge", "receipt"]
ENDS = ["finished", "failed", "cancelled", "running", "skipped"]

# Whole microseconds and their fractions, so that much begins where something else ends.
TIMES = st.integers(0, 40).map(lambda number: number / 4)


@st.composite
def timeline_records(draw):
    """Give the records of some dispatches, nested at random."""
    play = TimelineBuilder()
    others = [play, TimelineBuilder("billing", None)]
    calls = []
    for _ in range(draw(st.integers(0, 6))):
        on = draw(st.sampled_from(others))
        start, length = draw(TIMES), draw(TIMES)
        parent = draw(st.sampled_from([None, *calls]))
        running = draw(st.booleans()) and not draw(st.integers(0, 3))
        record = on.dispatch(draw(st.sampled_from(NAMES)), start, None if running else start + length, parent=parent)
        record.outcome = "running" if running else draw(st.sampled_from(["finished", "stopped", "failed", "cancelled"]))
        for _ in range(draw(st.integers(0, 3))):
            calls.append(draw(_calls(on, record, start, length)))
    return [record for each in others for record in each.records]


@st.composite
def _calls(draw, play, record, start, length):
    name, priority = draw(st.sampled_from(LISTENERS)), draw(st.integers(-1, 1))
    outcome = draw(st.sampled_from(ENDS))
    if outcome == "skipped":
        return play.skip(record, name, "stopped", priority=priority)
    begin = start + draw(TIMES) * length / 20
    end = None if outcome == "running" else begin + draw(TIMES) * length / 20
    error = ValueError("no") if outcome == "failed" else None
    return play.call(record, name, begin, end, outcome, priority=priority, error=error, stops=draw(st.booleans()))
