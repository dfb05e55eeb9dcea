"""Dispatches for the tests of the timeline, with given times and random ones."""

from __future__ import annotations

from hypothesis import strategies as st

from docs.pictures import TimelineBuilder

NAMES = ["order.placed", "payment.wanted", "order.*", None]
LISTENERS = ["validate", "charge", "receipt"]
ENDS = ["finished", "failed", "cancelled", "running", "skipped"]

# Whole microseconds and their fractions, so that many records begin where another one ends.
TIMES = st.integers(0, 40).map(lambda number: number / 4)


def timeline(*dispatches, **options):
    """Build records from text.

    Args:
        *dispatches: ``"order.placed 0 9 | charge 0 2 failed"``: a name with the times of the dispatch in milliseconds,
            then each listener with its times and its outcome. A ``-`` as the end is a dispatch, or a call, that runs.
        **options: Arguments of `TimelineBuilder`.
    """
    builder = TimelineBuilder(**options)
    for text in dispatches:
        (name, *times), *calls = (part.split() for part in text.split("|"))
        record = builder.dispatch(name, *map(_time, times), "running" if times[1] == "-" else "finished")
        for listener, start, end, *outcome in calls:
            builder.call(
                record, listener, _time(start), _time(end), *outcome or ["running" if end == "-" else "finished"]
            )
    return builder.records


def _time(text):
    return None if text == "-" else float(text)


@st.composite
def timeline_records(draw):
    """Return the records of some dispatches, nested at random."""
    builders = [TimelineBuilder(), TimelineBuilder("billing", None)]
    calls = []
    for _ in range(draw(st.integers(0, 6))):
        builder = draw(st.sampled_from([builders[0], *builders]))
        start, length = draw(TIMES), draw(TIMES)
        parent = draw(st.sampled_from([None, *calls]))
        running = draw(st.booleans()) and not draw(st.integers(0, 3))
        record = builder.dispatch(
            draw(st.sampled_from(NAMES)), start, None if running else start + length, parent=parent
        )
        record.outcome = "running" if running else draw(st.sampled_from(["finished", "stopped", "failed", "cancelled"]))
        for _ in range(draw(st.integers(0, 3))):
            calls.append(draw(_calls(builder, record, start, length)))
    return [record for builder in builders for record in builder.records]


@st.composite
def _calls(draw, builder, record, start, length):
    name, priority = draw(st.sampled_from(LISTENERS)), draw(st.integers(-1, 1))
    outcome = draw(st.sampled_from(ENDS))
    if outcome == "skipped":
        return builder.skip(record, name, "stopped", priority=priority)
    begin = start + draw(TIMES) * length / 20
    end = None if outcome == "running" else begin + draw(TIMES) * length / 20
    error = ValueError("no") if outcome == "failed" else None
    return builder.call(record, name, begin, end, outcome, priority=priority, error=error, stops=draw(st.booleans()))
