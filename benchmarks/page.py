"""Writes the page "How fast": ``python -m benchmarks.page [RUN.json]``.

The page, its charts and the copy of the run that is committed are made together. Without an argument the page is made
anew from that copy. The words come from ``page.md``, where ``{{ what whose }}`` stands for what is made of the run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from benchmarks.charts import chart, title_of
from benchmarks.report import absent, figure, goal_of
from benchmarks.results import Result
from benchmarks.runs import Run, read
from benchmarks.stages import STAGES

__all__ = ("COMMITTED", "PAGE", "TEMPLATE", "files", "main")

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = ROOT / "docs" / "how-fast.md"
PICTURES = PAGE.with_suffix("")

#: The run that the page is made of.
COMMITTED = Path(__file__).parent / "figures" / "run.json"

PLACE = re.compile(r"^\{\{ (?P<what>\w+)(?P<whose>( [\w-]+)*) \}\}$", re.MULTILINE)

#: What is allowed for noise beyond a goal.
NOISE = 1.15

#: Differences below this are ties.
TIE = 0.95

Maker: TypeAlias = Callable[..., Iterable[str]]
"""Makes the lines of a place, of the run and of what stands in the braces."""

#: Why antiphon may miss a goal or be slower than a peer, by stage.
REASONS = {
    "dispatch": (
        "each dispatch keeps the rules of the [guarantees](guarantees.md); what each of them takes is told "
        "[rule by rule](architecture.md#rule-by-rule)."
    ),
    "sync": "the rules are the same, and the loop that they are compared with is the quickest of all.",
    "concurrent": (
        "each listener has its own copy of the context and one task from its start to its end, within cancel scopes "
        "that hold on both backends; compare the rows of anyio's own task group. Peers start bare tasks of the event "
        "loop, or promise less of what becomes of errors and cancellations."
    ),
    "register": (
        "a registration has a handle, a place in an order that scopes share, and options; it is made under a lock, and "
        "taken out of dispatches that are under way."
    ),
    "changes": (
        "after a change the order is made anew, of all that hears the event: names, patterns, classes, and what a "
        "scope inherits. A dispatch that finds it made is what is made quick."
    ),
    "importing": "anyio comes first, and then the number of our own modules.",
}


def main(run: str = str(COMMITTED)) -> None:
    """Writes the page and its charts, and keeps the run.

    Args:
        run: The JSON file that the benchmarks wrote.
    """
    text = Path(run).read_text(encoding="utf-8")
    made = files(read(Path(run)))
    COMMITTED.write_text(text, encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for path, content in made.items():
        path.write_text(content, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} and {len(made) - 1} charts")


def files(run: Run) -> dict[Path, str]:
    """Makes the page and its charts.

    Returns:
        What is in each file.

    Raises:
        ValueError: The run was made in haste, or something that the page shows was not measured.
    """
    if run.options["quick"]:
        raise ValueError("a quick run is no ground for a page")
    made: dict[Path, str] = {}

    def put(place: re.Match[str]) -> str:
        whose = place["whose"].split()
        if place["what"] == "chart":
            stage, backend = whose
            made[_picture(stage, backend)] = chart(stage, backend, _measured(run, stage, backend))
        return "\n".join(MAKERS[place["what"]](run, *whose))

    page = PLACE.sub(put, TEMPLATE.read_text(encoding="utf-8"))
    return {PAGE: page, **made}


def _picture(stage: str, backend: str) -> Path:
    return PICTURES / (f"{stage}.svg" if backend == "none" else f"{stage}-{backend}.svg")


def _measured(run: Run, stage: str, backend: str | None = None) -> list[Result]:
    found = [one for one in run.results if one.stage == stage and backend in (None, one.backend)]
    if not found:
        raise ValueError(f"the run has nothing of {stage}, {backend or 'any loop'}")
    return found


def _machine(run: Run) -> Iterator[str]:
    about = run.machine
    yield "| | |"
    yield "| --- | --- |"
    yield f"| date | {run.date} |"
    yield f"| Python | {about['implementation']} {about['python']} |"
    yield f"| machine | {about['processor']}, {about['cores']} cores, {about['system']}, {about['architecture']} |"
    yield f"| versions | {', '.join(f'{name} {version}' for name, version in run.versions.items() if version)} |"
    options = run.options
    yield f"| samples | {options['passes']} passes of {options['rounds']} rounds, seed {options['seed']} |"
    yield f"| took | {options['seconds']} s |"


def _chart(run: Run, stage: str, backend: str) -> Iterator[str]:
    path = _picture(stage, backend)
    yield f"![{title_of(stage, backend)}, drawn from the tables below]({path.parent.name}/{path.name})"


def _tables(run: Run, stage: str) -> Iterator[str]:
    """Writes all figures of a stage, folded, with a table for each workload."""
    for backend, group in groupby(_measured(run, stage), lambda one: one.backend):
        yield "<details>"
        yield f"<summary>{title_of(stage, backend)}: the figures</summary>"
        yield ""
        results = list(group)
        for _, rows in groupby(results, lambda one: (one.workload, one.limit)):
            yield from _table(list(rows), STAGES[stage].columns)
            yield ""
        for reason, names in absent(results).items():
            yield f"Absent, {reason}: {', '.join(names)}."
            yield ""
        yield "</details>"
        yield ""


def _table(rows: list[Result], columns: str) -> Iterator[str]:
    sizes = sorted({row.size for row in rows})
    first = rows[0]
    note = f", x {first.limit}" if first.shows == "ratio" else ""
    yield _line(f"{first.workload}{note} ({columns})", [f"{size:,}" for size in sizes])
    yield _line("---", ["--:"] * len(sizes))
    for name, group in groupby(sorted(rows, key=_order(rows)), lambda one: one.candidate):
        mine = {row.size: row for row in group}
        if any(row.value is not None for row in mine.values()):
            shown = f"**{name}**" if next(iter(mine.values())).role == "antiphon" else name
            yield _line(shown, [figure(mine[size]) if size in mine else "" for size in sizes])
    goals = {row.size: row for row in rows if row.goal is not None}
    if goals:
        yield _line("*goal*", [goal_of(goals.get(size)) for size in sizes])


def _order(rows: list[Result]) -> Callable[[Result], int]:
    names = list(dict.fromkeys(row.candidate for row in rows))
    return lambda one: names.index(one.candidate)


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _missed(run: Run) -> Iterator[str]:
    """Tells which goals are missed."""
    missed = [one for one in run.results if _is_missed(one)]
    if not missed:
        yield "None."
        return
    yield from ("| | | missed |", "| --- | --- | --- |")
    for (stage, backend, workload), group in groupby(missed, lambda one: (one.stage, one.backend, one.workload)):
        sizes = [f"{figure(one)} at {one.size:,} ({goal_of(one)})" for one in _first_of_ours(list(group))]
        yield _line(title_of(stage, backend), [workload, "; ".join(sizes)])


def _is_missed(one: Result) -> bool:
    if one.role != "antiphon" or one.goal is None:
        return False
    reached = _took(one)
    return reached is not None and reached > one.goal * NOISE


def _first_of_ours(results: list[Result]) -> list[Result]:
    """Keeps antiphon as it comes, where other ways of ours are measured too."""
    name = results[0].candidate
    return [one for one in results if one.candidate == name]


def _faster(run: Run) -> Iterator[str]:
    """Tells which peers are faster, on asyncio or where there is no loop."""
    yield from ("| | | how many times as much antiphon takes |", "| --- | --- | --- |")
    for stage, backend, workload, faster in _outruns(run):
        yield _line(title_of(stage, backend), [workload, "<br>".join(faster)])


def _why(run: Run) -> Iterator[str]:
    """Tells why, for each stage of which there is something to explain."""
    slower = {one.stage for one in run.results if _is_missed(one)} | {stage for stage, *_ in _outruns(run)}
    for stage, reason in REASONS.items():
        if stage in slower:
            yield f"- {STAGES[stage].title}: {reason}"


def _outruns(run: Run) -> Iterator[tuple[str, str, str, list[str]]]:
    shown = [one for one in run.results if one.backend in ("asyncio", "none") and _took(one)]
    for (stage, backend, workload), group in groupby(shown, lambda one: (one.stage, one.backend, one.workload)):
        rows = list(group)
        faster = [words for peer in dict.fromkeys(_peers_in(rows)) if (words := _outrun(rows, peer))]
        if faster:
            yield stage, backend, workload, faster


def _peers_in(rows: list[Result]) -> Iterator[str]:
    return (one.candidate for one in rows if one.role == "peer")


def _outrun(rows: list[Result], peer: str) -> str:
    """Tells at which sizes a peer takes less than antiphon, and by how much; nothing if it does nowhere."""
    ours = {one.size: took for one in rows if one.candidate == "antiphon" and (took := _took(one))}
    theirs = {one.size: took for one in rows if one.candidate == peer and (took := _took(one))}
    times = [f"{ours[size] / took:.2g} at {size:,}" for size, took in theirs.items() if took < TIE * ours.get(size, 0)]
    return f"{peer}: {', '.join(times)}" if times else ""


def _took(one: Result) -> float | None:
    """Gives what candidates are compared by: the ratio, which was taken in the same round, or else the value."""
    return one.ratio if one.shows == "ratio" else one.value


def _peers(run: Run) -> Iterator[str]:
    present = {one.candidate for one in run.results if one.value is not None}
    for name, difference in run.peers.items():
        if name in present:
            yield f"**{name}** {run.versions.get(name) or ''}"
            yield f": {difference}"
            yield ""


MAKERS: dict[str, Maker] = {
    "machine": _machine,
    "chart": _chart,
    "tables": _tables,
    "missed": _missed,
    "faster": _faster,
    "why": _why,
    "peers": _peers,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
