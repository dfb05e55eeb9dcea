"""The timeline in characters."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon._util.columns import display_width
from antiphon.instruments.timeline import as_text
from docs import pictures
from tests.seeing.timeline_records import timeline, timeline_records

PICTURES = [
    (
        pictures.in_turn_or_together,
        {"width": 60},
        """
        at 0 s
        order.placed     ──────────────────────────────────  22.4 ms
          -10  validate  ████▌                               3.1 ms
            0  reserve       ▐█████████                      6.1 ms
            0  charge                  ██████████████        9.1 ms
           10  receipt                               ██████  4.1 ms

        at 40 ms
        order.placed     ─────────────────────────           16.4 ms
          -10  validate  █████                               3.2 ms
            0  reserve        █████████                      6.1 ms
            0  charge         █████████████▌                 9.1 ms
           10  receipt                     ▐██████           4.1 ms
                         ┴──────────────┴──────────────┴───
                         0              10 ms          20 ms
        """,
    ),
    (
        pictures.race,
        {"width": 72, "ascii": True},
        """
        price.wanted          -----------------------  6.2 ms, stopped
          -10  authorize      #####                    1.4 ms
            0  read_cache          ###                 700 us
            0  query_replica       #################   4.4 ms, stopped the event
            0  query_origin        ~~~~~~~~~~~~~~~~~~  4.8 ms, cancelled
           10  record_misses                           skipped: stopped
                              +------------------+---
                              0                  5 ms
        """,
    ),
    (
        pictures.nested,
        {"width": 76},
        """
        order.placed            ──────────────────────  14.6 ms, failed
          -10  validate         ███                     2 ms
            0  reserve             ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  12.5 ms, cancelled
            0  charge              ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓  12.2 ms, failed: RuntimeErr…
            payment.wanted            ───────────────   9.9 ms, failed
                0  assess_risk        ██████▌           4.2 ms
                0  Bank.pay                 ▓▓▓▓▓▓▓▓▓   5.7 ms, failed: RuntimeErro…
           10  receipt                                  skipped: failed
                                ┴──────────────┴──────
                                0              10 ms
        """,
    ),
]


# Kept, because the parent of a dispatch lives as long as its record is kept.
NESTED = pictures.nested()


@pytest.mark.parametrize(("records", "options", "expected"), PICTURES, ids=["blocks", "ascii", "nested"])
def test_text(records, options, expected):
    assert as_text(records(), **options) == dedent(expected).lstrip("\n")


def test_too_short_calls_have_a_mark():
    records = timeline("order.placed 0 1000 | long 0 999 | short 999 999.001 | shorter 1000 1000")

    long, short, shorter = as_text(records, width=61).splitlines()[1:4]

    assert "█" in long
    assert [line.count("▕") + line.count("▏") for line in (short, shorter)] == [1, 1]


@pytest.mark.parametrize("width", [60, 61])
@pytest.mark.parametrize("other", ["", "stopped", "cancelled"])
@pytest.mark.parametrize("failed_first", [False, True])
def test_failure_shows_in_a_shared_column(width, other, failed_first):
    outcomes = ("failed", other) if failed_first else (other, "failed")
    records = timeline(*(f"o {n * 50} {n * 50 + 50} | charge {n * 50} {n * 50 + 50} {outcomes[n]}" for n in (0, 1)))

    line = as_text(records, width=width, by="listener").splitlines()[1]

    bar = "▒" if other == "cancelled" else "█"
    assert ("▓" + bar if failed_first else bar + "▓") in line
    # One of both widths has an odd number of columns, and both calls share the one in the middle.
    assert 0 <= line.count("▓") - line.count(bar) <= 1


def test_overlapping_dispatches_share_a_start():
    lines = as_text(timeline("long 0 10", "short 1 2", "late 9 12", "later 12 13"), width=60).splitlines()

    starts = [line.split("  ")[0] for line in lines if line][:-2]
    assert starts == ["at 0 s", "long", "short", "late", "at 12 ms", "later"]
    assert next(line for line in lines if line.startswith("later")).startswith("later  ─")


def test_running_bars_reach_to_the_end():
    records = timeline("order.placed 0 - | charge 5 -")

    lines = as_text(records, width=60, until=pictures.START + 0.01).splitlines()

    assert lines[0].endswith("10 ms, running")
    assert lines[1].endswith("░  5 ms, running")


@pytest.mark.parametrize(
    ("records", "options", "number", "end"),
    [
        (timeline("order.placed 0 1"), {}, 0, "1 ms, nobody listened"),
        ([], {}, 0, "No dispatches were recorded."),
        # The parent is not among the records, so the dispatch is an outermost one.
        (NESTED[1:], {}, 0, "9.9 ms, failed"),
        (
            pictures.race(),
            {"dropped": 3},
            -1,
            "3 earlier dispatches were dropped: max_dispatches= sets how many are kept.",
        ),
        ([], {"dropped": 1}, -1, "1 earlier dispatch was dropped: max_dispatches= sets how many are kept."),
    ],
)
def test_remarks(records, options, number, end):
    assert as_text(records, width=60, **options).splitlines()[number].endswith(end)


def test_many_calls_have_a_row_for_each_listener():
    records = timeline(
        *(
            f"order.placed {10 * n} {10 * n + 9} | charge {10 * n} {10 * n + 9} {'failed' if n == 7 else ''}"
            for n in range(60)
        )
    )

    lines = as_text(records, width=80).splitlines()

    assert len(lines) == 5
    assert lines[0].endswith("60 dispatches") and lines[1].endswith("60 calls, 1 failed")
    assert lines[-1] == 'One row for each listener, because there are many calls; by="dispatch" shows each call.'
    assert len(as_text(records, width=80, by="dispatch").splitlines()) > 120


def test_overlapping_calls_have_their_own_rows():
    records = timeline(
        *(f"order.placed {n} {n + 5} | charge {n} {n + 5}" for n in range(3)), "order.placed 10 12 | charge 10 12"
    )

    lines = as_text(records, width=60, by="listener").splitlines()

    assert [line.strip().split("  ")[0] for line in lines[:6:3]] == ["order.placed", "0"]
    assert lines[0].endswith("4 dispatches") and lines[3].endswith("4 calls")
    assert all("█" in line for line in lines[3:6])


@pytest.mark.parametrize(("terminal", "width"), [(70, 70), (10, 40)])
def test_width_is_that_of_the_terminal(terminal, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(terminal))

    assert max(map(len, as_text(pictures.in_turn_or_together()).splitlines())) == width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 39}, r"at least 40 columns.* got 39"),
        ({"by": "event"}, '"dispatch", "listener" or None; got \'event\''),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        as_text([], **options)


@given(timeline_records(), st.integers(40, 200), st.booleans(), st.sampled_from([None, "dispatch", "listener"]))
def test_lines_fit_the_width(records, width, ascii, by):
    text = as_text(records, width=width, ascii=ascii, by=by)

    assert all(display_width(line) <= width for line in text.splitlines())
    assert text.isascii() or not ascii


@given(timeline_records())
def test_dispatches_and_calls_have_rows(records):
    rows = as_text(records, width=200, by="dispatch").splitlines()

    shown = [row for row in rows if any(mark in row for mark in (" ms", " µs", "skipped", " 0 s"))]
    assert len(shown) >= sum(1 + len(record.listeners) for record in records)
