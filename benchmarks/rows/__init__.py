"""The rows of the table, a module for each part: what is measured, beside what."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import Row
from benchmarks.rows import dispatch, importing, observed, registration, request, waiting

__all__ = ("GROUPS", "make_rows")

#: The headings of the table, and what makes the rows below each of them.
GROUPS = {
    "request": request.make_rows,
    "sequential": dispatch.make_sequential_rows,
    "override": observed.make_override_rows,
    "observed": observed.make_observed_rows,
    "concurrent": dispatch.make_concurrent_rows,
    "sync": dispatch.make_sync_rows,
    "registration": registration.make_rows,
    "waiting": waiting.make_rows,
    "import": importing.make_rows,
}


def make_rows(backends: tuple[str, ...], *, quick: bool = False) -> Iterator[Row]:
    """Yield all rows.

    Args:
        backends: The event loops to measure on.
        quick: Whether the largest sizes are smaller, and what takes long is repeated less often.
    """
    for make in GROUPS.values():
        yield from make(backends, quick)
