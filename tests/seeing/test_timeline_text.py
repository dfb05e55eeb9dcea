"""The picture of a timeline in characters."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.instruments.timeline import as_text
from antiphon.instruments.timeline._labels import columns
from docs import pictures
from docs.pictures import TimelineBuilder
from tests.seeing.timeline_records import timeline_records


def drawn(text):
    return dedent(text).lstrip("\n")


def test_listeners_stand_below_their_dispatch_from_left_to_right_by_time():
    assert as_text(pictures.in_turn_or_together(), width=60) == drawn(
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
        """
    )


def test_ascii_draws_the_same_with_other_characters():
    assert as_text(pictures.race(), width=72, ascii=True) == drawn(
        """
        price.wanted          -----------------------  6.2 ms, stopped
          -10  authorize      #####                    1.4 ms
            0  read_cache          ###                 700 us
            0  query_replica       #################   4.4 ms, stopped the event
            0  query_origin        ~~~~~~~~~~~~~~~~~~  4.8 ms, cancelled
           10  record_misses                           skipped: stopped
                              +------------------+---
                              0                  5 ms
        """
    )


def test_what_a_listener_dispatches_stands_below_it():
    assert as_text(pictures.nested(), width=76) == drawn(
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
        """
    )


def test_what_is_too_short_for_a_bar_has_a_mark():
    play = TimelineBuilder()
    record = play.dispatch("order.placed", 0, 1000)
    play.call(record, "long", 0, 999)
    play.call(record, "short", 999, 999.001)
    play.call(record, "shorter", 1000, 1000)

    long, short, shorter = as_text(play.records, width=61).splitlines()[1:4]

    assert "█" in long
    assert [line.count("▕") + line.count("▏") for line in (short, shorter)] == [1, 1]


@pytest.mark.parametrize("width", [60, 61])
def test_a_failure_shows_in_a_column_that_it_shares(width):
    play = TimelineBuilder()
    play.call(play.dispatch("order.placed", 0, 50), "charge", 0, 50)
    play.call(play.dispatch("order.placed", 50, 100), "charge", 50, 100, "failed")

    line = as_text(play.records, width=width, by="listener").splitlines()[1]

    assert "█▓" in line and 0 <= line.count("▓") - line.count("█") <= 1


def test_dispatches_that_overlap_share_a_beginning():
    play = TimelineBuilder()
    play.dispatch("long", 0, 10)
    play.dispatch("short", 1, 2)
    play.dispatch("late", 9, 12)
    play.dispatch("later", 12, 13)

    lines = as_text(play.records, width=60).splitlines()

    assert [line.split("  ")[0] for line in lines if line][:-2] == [
        "at 0 s",
        "long",
        "short",
        "late",
        "at 12 ms",
        "later",
    ]
    assert next(line for line in lines if line.startswith("later")).startswith("later  ─")


def test_what_was_dispatched_by_something_unknown_is_an_outermost_dispatch():
    lines = as_text(pictures.nested()[1:], width=60).splitlines()

    assert lines[0].startswith("payment.wanted ") and len(lines) == 5


def test_what_still_runs_reaches_to_the_end():
    play = TimelineBuilder()
    record = play.dispatch("order.placed", 0, None, "running")
    play.call(record, "charge", 5, None, "running")

    lines = as_text(play.records, width=60, until=pictures.START + 0.01).splitlines()

    assert lines[0].endswith("10 ms, running")
    assert lines[1].endswith("░  5 ms, running")


def test_nobody_listening_is_said():
    play = TimelineBuilder()
    play.dispatch("order.placed", 0, 1)

    assert as_text(play.records, width=60).splitlines()[0].endswith("1 ms, nobody listened")


def test_no_dispatch_is_said():
    assert as_text([], width=60) == "No dispatch was seen.\n"


def test_dropped_dispatches_are_counted_aloud():
    assert "3 earlier dispatches were dropped" in as_text(pictures.race(), dropped=3)
    assert "1 earlier dispatch was dropped" in as_text([], dropped=1)


def test_many_calls_give_a_row_for_each_listener():
    play = TimelineBuilder()
    for number in range(60):
        record = play.dispatch("order.placed", 10 * number, 10 * number + 9)
        play.call(record, "charge", 10 * number, 10 * number + 9, "failed" if number == 7 else "finished")

    lines = as_text(play.records, width=80).splitlines()

    assert len(lines) == 5
    assert lines[0].endswith("60 dispatches") and lines[1].endswith("60 calls, 1 failed")
    assert lines[-1] == 'One row for each listener, for there is much; by="dispatch" shows each call.'
    assert len(as_text(play.records, width=80, by="dispatch").splitlines()) > 120


def test_calls_that_overlap_have_rows_of_their_own():
    play = TimelineBuilder()
    for number in range(3):
        play.call(play.dispatch("order.placed", number, 5 + number), "charge", number, 5 + number)
    play.call(play.dispatch("order.placed", 10, 12), "charge", 10, 12)

    lines = as_text(play.records, width=60, by="listener").splitlines()

    assert [line.strip().split("  ")[0] for line in lines[:6:3]] == ["order.placed", "0"]
    assert lines[0].endswith("4 dispatches") and lines[3].endswith("4 calls")
    assert all("█" in line for line in lines[3:6])


def test_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert max(map(len, as_text(pictures.in_turn_or_together()).splitlines())) == 70

    monkeypatch.setenv("COLUMNS", "10")
    assert max(map(len, as_text(pictures.in_turn_or_together()).splitlines())) == 40


def test_refuses_a_width_without_room():
    with pytest.raises(ValueError, match=r"at least 40 columns.* got 39"):
        as_text([], width=39)


def test_refuses_other_rows():
    with pytest.raises(ValueError, match='"dispatch", "listener" or None; got \'event\''):
        as_text([], by="event")


@given(timeline_records(), st.integers(40, 200), st.booleans(), st.sampled_from([None, "dispatch", "listener"]))
def test_every_line_fits_the_width(records, width, ascii, by):
    text = as_text(records, width=width, ascii=ascii, by=by)

    assert all(columns(line) <= width for line in text.splitlines())
    assert text.isascii() or not ascii


@given(timeline_records())
def test_every_dispatch_and_every_call_has_a_row(records):
    rows = as_text(records, width=200, by="dispatch").splitlines()

    assert len([row for row in rows if " ms" in row or " µs" in row or "skipped" in row or " 0 s" in row]) >= sum(
        1 + len(record.listeners) for record in records
    )
