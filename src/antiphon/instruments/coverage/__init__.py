"""Coverage: which listeners were called and which were not, which events no listener received, and what is slow.

``with coverage("events.html"):`` observes the dispatches in the block and writes an HTML page. If the path ends in
``.txt``, it writes tables in plain text.
"""

from __future__ import annotations

from typing import get_type_hints

from antiphon._util.naming import publish as _publish
from antiphon.instruments.coverage._coverage import Coverage, coverage
from antiphon.instruments.coverage._rows import CoverageRow as _CoverageRow
from antiphon.instruments.coverage._rows import EventCoverage, ListenerCoverage

__all__ = ("Coverage", "EventCoverage", "ListenerCoverage", "coverage")

for _row in (_CoverageRow, EventCoverage, ListenerCoverage):
    # Resolve the annotations while the class still names the module that has the names in them.
    _row.__annotations__ = get_type_hints(_row)

_publish(__name__, _CoverageRow, Coverage, EventCoverage, ListenerCoverage, coverage)
