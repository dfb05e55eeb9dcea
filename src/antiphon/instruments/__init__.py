"""Instruments, which observe dispatches, and the records that they receive.

`Instrument` is a base class for your own. Add one to a dispatcher with ``dispatcher.add_instrument(instrument)``.
"""

from __future__ import annotations

from typing import get_type_hints

from antiphon._instrumentation.attached import Instrument, Interest
from antiphon._instrumentation.records import DispatchRecord, ListenerRecord, Outcome, SkipReason
from antiphon._util.naming import publish as _publish
from antiphon.instruments._global import everywhere

__all__ = ("DispatchRecord", "Instrument", "Interest", "ListenerRecord", "Outcome", "SkipReason", "everywhere")

for _record in (DispatchRecord, ListenerRecord):
    # Resolve the annotations while the class still names the module that has the names in them.
    _record.__annotations__ = get_type_hints(_record)

_publish("antiphon.instruments", DispatchRecord, Instrument, ListenerRecord, everywhere)
