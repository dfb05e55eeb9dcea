"""The table: a line for each row, with the limit, antiphon and the other candidates. Also the goals that are missed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from benchmarks.libraries import PEERS
from benchmarks.measuring import ANTIPHON, LIMIT, Result, Row

__all__ = ("as_markdown", "as_request_table", "as_text", "describe_libraries", "format_figure", "list_missed_goals")

HEADINGS = ("Work", "Listeners", "antiphon", "Limit", "Others")

TITLES = {
    "request": "Request of an application",
    "sequential": "Sequential dispatch",
    "override": "Dispatch through an override",
    "observed": "Observed dispatch",
    "concurrent": "Concurrent dispatch",
    "sync": "Synchronous dispatch",
    "registration": "Registration",
    "waiting": "Waiting",
    "import": "Import",
}

REQUEST_COLUMNS = ("loop", ANTIPHON, "whistle")

#: A goal is missed only beyond this factor, because a shared machine is noisy.
NOISE = 1.15


def as_text(results: Iterable[Result]) -> str:
    """Format results for a terminal."""
    lines: list[str] = []
    for (group, backend), members in groupby(results, lambda one: (one.group, one.backend)):
        rows = [HEADINGS, *(_make_cells(one) for one in members)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += ["", TITLES[group] + ("" if backend == "none" else f" on {backend}")]
        lines += [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
            for row in rows
        ]
    return "\n".join(lines)


def as_markdown(results: Iterable[Result]) -> str:
    """Format results as one table of Markdown."""
    lines: list[tuple[str, ...]] = [HEADINGS, ("---", "--:", "--:", "---", "---")]
    for group, members in groupby(results, lambda one: one.group):
        for number, one in enumerate(members):
            work, *cells = _make_cells(one)
            lines.append((f"**{TITLES[group]}**: {work}" if number == 0 else work, *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_request_table(results: Iterable[Result]) -> str:
    """Format the rows of requests as a table of Markdown, with the times of the loop, antiphon and whistle."""
    lines = ["| Request | Loop | antiphon | whistle | Ratio |", "| --- | --: | --: | --: | --: |"]
    for one in results:
        # In each row, one of the two others is the limit.
        figures = {one.limit if name == LIMIT else name: figure for name, figure in one.figures.items()}
        times = [_format_value(figures[name].value, one.unit) if name in figures else "" for name in REQUEST_COLUMNS]
        lines.append(f"| {one.work} | {' | '.join(times)} | {format_figure(one, ANTIPHON)} × {one.limit} |")
    return "\n".join(lines)


def describe_libraries(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    """Yield the name and the difference of each library that has a figure."""
    present = {name for one in results for name in one.figures}
    return ((peer.name, peer.difference) for peer in PEERS if peer.name in present)


def list_missed_goals(results: Iterable[Result], rows: Iterable[Row]) -> str:
    """Format the goals that antiphon misses as a table of Markdown."""
    goals = {row.key: row.goal for row in rows if row.goal is not None}
    lines = ["| Missed | Listeners | antiphon | Goal |", "| --- | --: | --: | --: |"]
    for one in results:
        goal = goals.get(one.key)
        if goal is not None and _get_shown(one, ANTIPHON) > goal * NOISE:
            place = TITLES[one.group] + ("" if one.backend == "none" else f" on {one.backend}")
            shown = _format_value(goal, one.unit) if one.shows == "value" else f"{goal:g}"
            lines.append(f"| {place}: {one.work} | {_format_size(one)} | {format_figure(one, ANTIPHON)} | {shown} |")
    return "\n".join(lines) if len(lines) > 2 else "No goal is missed."


def format_figure(result: Result, candidate: str) -> str:
    """Format what the table shows of a candidate: its ratio to the limit, or its value with the unit."""
    shown = _get_shown(result, candidate)
    if result.shows == "value":
        return _format_value(shown, result.unit)
    return f"{shown:.{2 if shown < 10 else 1 if shown < 100 else 0}f}"


def _get_shown(result: Result, candidate: str) -> float:
    figure = result.figures[candidate]
    return figure.value if result.shows == "value" or figure.ratio is None else figure.ratio


def _make_cells(one: Result) -> tuple[str, str, str, str, str]:
    limit = f"{one.limit}: {_format_value(one.figures[LIMIT].value, one.unit)}" if LIMIT in one.figures else ""
    names = (name for name in one.figures if name not in (LIMIT, ANTIPHON))
    others = sorted(names, key=lambda name: _get_shown(one, name))
    return (
        one.work,
        _format_size(one),
        format_figure(one, ANTIPHON),
        limit,
        ", ".join(f"{name} {format_figure(one, name)}" for name in others),
    )


def _format_size(one: Result) -> str:
    return "" if one.size is None else f"{one.size:,}"


def _format_value(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value:,.0f} B"
    for factor, name in ((1e6, "ms"), (1e3, "µs")):
        if value >= factor:
            return f"{value / factor:#.3g}".rstrip(".") + f" {name}"
    return f"{value:.0f} ns"
