"""The generated parts of ``docs/how-fast.md`` and ``docs/benchmarks.md``, and the chart, from the run that is kept.

The pages are written manually, but for the parts between ``<!-- begin NAME -->`` and ``<!-- end -->``. The list of
missed goals in ``benchmarks/README.md`` is generated in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from benchmarks import backends
from benchmarks.measuring import ANTIPHON, LIMIT, Result
from benchmarks.results import Run
from benchmarks.rows import make_rows
from benchmarks.table import as_markdown, as_request_table, describe_libraries, format_figure, list_missed_goals

__all__ = ("CHARTS", "FIGURES", "PAGE", "PANELS", "find_bars", "format_label", "make_chart", "make_pages", "write")

README = Path(__file__).with_name("README.md")
PAGE = README.parents[1] / "docs" / "how-fast.md"
#: The page with all figures.
FIGURES = PAGE.with_name("benchmarks.md")
#: The charts by theme, for wide and for narrow screens.
CHARTS = {
    (theme, narrow): PAGE.with_suffix("") / f"dispatch-{'narrow-' if narrow else ''}{theme}.svg"
    for theme in ("light", "dark")
    for narrow in (False, True)
}

PART = re.compile(r"(?<=<!-- begin )(?P<name>[a-z]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)

#: The rows in the table of `FIGURES`, on asyncio or without an event loop, and the numbers of listeners. Empty for all.
SHOWN: dict[tuple[str, str], tuple[int, ...]] = {
    ("sequential", "event given"): (0, 1, 10, 100),
    ("sequential", "event made"): (0, 1, 10, 100),
    ("sequential", "prepared"): (0, 1, 10, 100),
    ("override", "override that logs"): (0, 1, 10),
    ("observed", "instrument that does nothing"): (0, 1),
    ("observed", "timeline"): (0, 1),
    ("observed", "OpenTelemetry, not recording"): (0, 1),
    ("observed", "logging instrument, level off"): (0, 1),
    ("concurrent", "Concurrent, returning"): (1, 10, 100),
    ("concurrent", "Concurrent, suspending"): (1, 10, 100),
    ("sync", "event given"): (0, 1, 10, 100),
    ("registration", "add"): (1_000,),
    ("registration", "remove"): (1_000,),
    ("registration", "memory"): (1_000,),
    ("waiting", "stream, buffer of 64"): (),
    ("waiting", "queue, buffer of 64"): (),
    ("waiting", "expect"): (),
    ("waiting", "queue, memory of an event that waits"): (),
    ("import", "import"): (),
}

#: The panels of the chart: title, group and work.
PANELS = (
    ("Sequential, × a loop", "sequential", "event given"),
    ("Concurrent, × asyncio.gather", "concurrent", "Concurrent, returning"),
    ("Synchronous, × a loop", "sync", "event given"),
)

#: The numbers of listeners in the chart, and the strength of their color.
SIZES = {1: 1.0, 10: 0.55}

#: The colors of text, antiphon and the others, by theme.
COLORS = {"light": ("#1f2328", "#0969da", "#818b98"), "dark": ("#f0f6fc", "#4493f8", "#9198a1")}


def write(run: Run) -> None:
    """Write the generated parts of the pages and of the README, and the charts."""
    for path, content in make_pages(run).items():
        path.write_text(content, encoding="utf-8")
    for (theme, narrow), path in CHARTS.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(make_chart(run, theme, narrow=narrow), encoding="utf-8")


def make_pages(run: Run) -> dict[Path, str]:
    """Return the pages and the README, with new generated parts.

    Raises:
        ValueError: If the run was quick or measured only a part of the rows.
    """
    if run.options["quick"] or run.options["partial"]:
        raise ValueError("the page needs a full run: remove --quick, --only and --backend")
    shown = [one for one in run.results if _is_shown(one)]
    requests = [one for one in run.results if one.group == "request" and one.backend == "asyncio"]
    parts = {
        "requests": as_request_table(requests) if requests else "The stored run is older than this table.",
        "facts": "\n".join(_list_facts(run)),
        "table": as_markdown(shown),
        "libraries": "\n\n".join(
            f"**{name}** {run.versions[name]}\n: {difference}" for name, difference in describe_libraries(shown)
        ),
        "missed": list_missed_goals(run.results, make_rows(backends.LOOPS)),
    }

    def fill(part: re.Match[str]) -> str:
        return f"{part['name']} -->\n\n{parts[part['name']]}\n\n"

    return {path: PART.sub(fill, path.read_text(encoding="utf-8")) for path in (PAGE, FIGURES, README)}


def _is_shown(one: Result) -> bool:
    sizes = SHOWN.get((one.group, one.work))
    return one.backend in ("asyncio", "none") and sizes is not None and (not sizes or one.size in sizes)


def _list_facts(run: Run) -> Iterator[str]:
    machine, options = run.machine, run.options
    yield f"- Date: {run.date}"
    yield f"- Machine: {machine['processor']}, {machine['cores']} cores, {machine['system']}"
    yield f"- Python: {machine['python']}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    yield f"- Versions: {versions}"
    yield f"- Samples: {options['passes']} passes of {options['rounds']} rounds"


def make_chart(run: Run, theme: str, *, narrow: bool = False) -> str:
    """Draw the chart as SVG.

    Args:
        run: The run.
        theme: "light" or "dark". The background is transparent.
        narrow: Whether the chart is for a phone.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    text, ours, others = COLORS[theme]
    drawn = StringIO()
    # The same salt and no date make the same file of the same run. Text stays text, so that it can be searched.
    with mpl.rc_context({"svg.hashsalt": "antiphon", "svg.fonttype": "none", "text.color": text}):
        panels = [(title, list(find_bars(run, group, work))) for title, group, work in PANELS]
        heights = [len(bars) + len(SIZES) for _, bars in panels]
        figure = Figure(figsize=(4.2 if narrow else 8, 7.4), layout="constrained")
        for ax, (title, bars) in zip(figure.subplots(len(panels), height_ratios=heights), panels, strict=True):
            ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
            ax.set_xscale("log")
            for place, (name, one) in enumerate(bars):
                ratio = one.figures[name].ratio or 1
                color, alpha = ours if name == ANTIPHON else others, SIZES[one.size or 0]
                y = place // len(SIZES) + 0.4 * (place % len(SIZES))
                ax.barh(y, ratio - 1, 0.36, left=1, color=color, alpha=alpha)
                end, offset = (max(ratio, 1), y), (4, 0)
                label = format_label(one, name)
                ax.annotate(label, end, offset, textcoords="offset points", fontsize=9 if narrow else 8, va="center")
            names = [name for name, _ in bars[:: len(SIZES)]]
            ax.set_yticks([place + 0.2 for place in range(len(names))], names, color=text)
            ax.axvline(1, color=text, linewidth=1)
            ax.invert_yaxis()
            # Space for the labels.
            ax.margins(x=2.1 if narrow else 0.25)
            ax.tick_params(which="both", length=0)
            ax.tick_params(axis="x", which="both", labelbottom=False)
            ax.spines[:].set_visible(False)
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    # Matplotlib writes trailing blanks.
    return "".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines())


def find_bars(run: Run, group: str, work: str) -> Iterator[tuple[str, Result]]:
    """Yield the bars of a panel: each candidate with the result for each number of listeners."""
    found = (one for one in run.results if (one.group, one.work) == (group, work))
    by_size = {one.size: one for one in found if one.backend in ("asyncio", "none")}
    first = by_size[next(iter(SIZES))].figures
    for name in sorted(first, key=lambda name: first[name].value):
        if name != LIMIT:
            yield from ((name, by_size[size]) for size in SIZES)


def format_label(one: Result, name: str) -> str:
    """Format the text beside a bar."""
    return f"{format_figure(one, name)} ({one.size} listener{'' if one.size == 1 else 's'})"
