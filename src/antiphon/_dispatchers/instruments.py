"""The doors of a dispatcher to instruments."""

from __future__ import annotations

from _thread import RLock
from contextlib import suppress
from typing import Any, Final

from antiphon._instrumentation.attached import AttachedInstrument
from antiphon._registry.registry import Registry
from antiphon._util.naming import safe_repr

__all__ = (
    "Instrumented",
    "add_global_instrument",
    "global_instruments",
    "merge_instruments",
    "remove_global_instrument",
)

#: Held while the instruments of some dispatcher change. That is rare, so one lock serves all of them.
#: Reentrant, since a collected object's finalizer may take an instrument out.
#: Never acquire the lock of a registry while holding it: a thread that holds that one may take an instrument out.
_instruments_lock: Final = RLock()


#: The instruments that each new dispatcher begins with; `antiphon.instruments.everywhere` puts them here.
global_instruments: Final[list[Any]] = []


def add_global_instrument(instrument: Any) -> bool:
    """Add an instrument to those that each new dispatcher begins with. Returns whether it was not among them yet."""
    with _instruments_lock:
        is_new = all(other is not instrument for other in global_instruments)
        if is_new:
            global_instruments.append(instrument)
    return is_new


def remove_global_instrument(instrument: Any) -> None:
    """Remove an instrument from those that each new dispatcher begins with."""
    with _instruments_lock:
        global_instruments[:] = [other for other in global_instruments if other is not instrument]


class Instrumented:
    """A dispatcher that instruments may look at.

    Which ones do is written into the plans, so that a dispatch without any need not ask; a change drops the plans.
    """

    _registry: Registry

    #: The dispatcher's own ones.
    _instruments: tuple[AttachedInstrument, ...] = ()

    def add_instrument(self, instrument: Any, /) -> None:
        """Show each dispatch to an instrument, from the next one on; those of scopes too.

        Args:
            instrument: An object with one or more of the methods of `antiphon.instruments.Instrument`. One
                that raises is logged, and taken out.

        Raises:
            TypeError: It has none of the methods, one of them is async, or it is a class.
            ValueError: It was added already.
        """
        attached = AttachedInstrument(instrument, self._detach)
        with _instruments_lock:
            is_new = all(other.instrument is not instrument for other in self._instruments)
            if is_new:
                self._instruments = (*self._instruments, attached)
        if not is_new:
            raise ValueError(f"{safe_repr(instrument)} was added to {safe_repr(self)} already, and sees each once")
        self._registry.invalidate_plans()

    def remove_instrument(self, instrument: Any, /) -> None:
        """Take an instrument out, from the next dispatch on: it sees the end of those that run.

        Args:
            instrument: The very object that was added.

        Raises:
            ValueError: It was not added to this dispatcher, or was taken out because it raised.
        """
        for attached in self._instruments:
            if attached.instrument is instrument and self._detach(attached):
                return
        raise ValueError(
            f"{safe_repr(instrument)} is no instrument of {safe_repr(self)}; was it added to another dispatcher, or "
            f"taken out because it raised?"
        )

    def _add_global_instruments(self) -> None:
        # A copy, because the list changes while other threads, or an instrument that is looked at, leave it.
        for instrument in tuple(global_instruments):
            # One may have found its way here already, from the thread that adds it.
            with suppress(ValueError):
                self.add_instrument(instrument)
            # It may have left meanwhile, and have looked for this dispatcher before it was added.
            if all(other is not instrument for other in global_instruments):
                with suppress(ValueError):
                    self.remove_instrument(instrument)

    def _detach(self, attached: AttachedInstrument) -> bool:
        with _instruments_lock:
            was_there = any(other is attached for other in self._instruments)
            if was_there:
                self._instruments = tuple(other for other in self._instruments if other is not attached)
        if was_there:
            self._registry.invalidate_plans()
        return was_there

    def _all_instruments(self) -> tuple[AttachedInstrument, ...]:
        """The instruments that are told of the dispatches here."""
        return self._instruments


def merge_instruments(
    parents: tuple[AttachedInstrument, ...], own: tuple[AttachedInstrument, ...]
) -> tuple[AttachedInstrument, ...]:
    """Put the instruments of a scope behind those of its parent; one that is in both is told once."""
    known = {id(attached.instrument) for attached in parents}
    return (*parents, *(attached for attached in own if id(attached.instrument) not in known))
