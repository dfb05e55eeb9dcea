"""Timelines of dispatches: charts in SVG or text, and traces for Perfetto.

``with timeline("trace.json"):`` records the dispatches in the block and writes a trace that Perfetto opens.
If the path ends in ``.svg`` or ``.txt``, it writes a chart.
"""

from __future__ import annotations

from antiphon._util.naming import publish as _publish
from antiphon.instruments.timeline._chrome_trace import as_chrome_trace
from antiphon.instruments.timeline._svg import as_svg
from antiphon.instruments.timeline._text import as_text
from antiphon.instruments.timeline._timeline import Timeline, timeline

__all__ = ("Timeline", "as_chrome_trace", "as_svg", "as_text", "timeline")

_publish(__name__, Timeline, as_chrome_trace, as_svg, as_text, timeline)
