"""Instruments: what looks at dispatches, and what it sees of them.

`Instrument` is the base of your own; add one to a dispatcher with ``dispatcher.add_instrument(instrument)``.
"""

from __future__ import annotations

from antiphon._instrumentation import DispatchRecord, Instrument, ListenerRecord, Outcome, SkipReason
from antiphon.instruments._everywhere import everywhere

__all__ = ("DispatchRecord", "Instrument", "ListenerRecord", "Outcome", "SkipReason", "everywhere")

for _public in (DispatchRecord, Instrument, ListenerRecord, everywhere):
    _public.__module__ = "antiphon.instruments"
