"""The figures of the long tests, one file for each, and the parts of ``docs/how-it-is-tested.md`` made from them."""

from __future__ import annotations

import json
import platform
import re
import time
from pathlib import Path
from typing import Any

__all__ = ("FOLDER", "PAGE", "keep", "make_page", "print_left_out", "read")

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "how-it-is-tested.md"

_PART = re.compile(r"(?<=<!-- begin )(?P<name>[a-z]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def keep(session: str, figures: dict[str, Any]) -> None:
    """Store the figures of a full run, and write them to the page."""
    kept = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "python": platform.python_version(), "figures": figures}
    (FOLDER / f"{session}.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(make_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def print_left_out(done: float, full: float, what: str) -> None:
    """Print which part of a full run this run has left out."""
    print(f"left out: {f'{full - done:,} of {full:,} {what}' if done < full else 'nothing'}", flush=True)


def read() -> dict[str, Any]:
    """Read the stored figures of each session."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def make_page(page: str) -> str:
    """Return the page with new tables between ``<!-- begin SESSION -->`` and ``<!-- end -->``."""
    kept = read()

    def fill(part: re.Match[str]) -> str:
        return f"{part['name']} -->\n\n{_as_table(kept[part['name']])}\n\n" if part["name"] in kept else part[0]

    return _PART.sub(fill, page)


def _as_table(kept: dict[str, Any]) -> str:
    rows = [("Figure", "Value"), ("---", "---:")]
    rows += [
        (name, f"{value:,}" if isinstance(value, int | float) else str(value))
        for name, value in kept["figures"].items()
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"{table}\n\nMeasured on {kept['date']} with Python {kept['python']}."
