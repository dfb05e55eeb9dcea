"""Adding instruments to a dispatcher and removing them."""

from __future__ import annotations

from _thread import RLock
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from antiphon._registry.registry import Registry
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import safe_repr

if TYPE_CHECKING:
    from antiphon._instrumentation import attached as _attached
else:
    _attached = LazyModule("antiphon._instrumentation.attached")

__all__ = (
    "InstrumentsMixin",
    "add_global_instrument",
    "global_instruments",
    "merge_instruments",
    "remove_global_instrument",
)

#: Held while the instruments of a dispatcher change. This is rare, so all dispatchers share one lock.
#: It is reentrant, because the finalizer of a garbage-collected object may remove an instrument.
#: Never acquire the lock of a registry while holding this lock: a thread with a registry lock may remove an instrument.
_instruments_lock: Final = RLock()


#: The instruments of each new dispatcher, set by `antiphon.instruments.everywhere`.
global_instruments: Final[list[Any]] = []


def add_global_instrument(instrument: Any) -> bool:
    """Add an instrument to each dispatcher that is created from now on. Return whether it was not there yet."""
    with _instruments_lock:
        is_new = all(other is not instrument for other in global_instruments)
        if is_new:
            global_instruments.append(instrument)
    return is_new


def remove_global_instrument(instrument: Any) -> None:
    """Stop adding an instrument to each dispatcher that is created."""
    with _instruments_lock:
        global_instruments[:] = [other for other in global_instruments if other is not instrument]


class InstrumentsMixin:
    """The methods of a dispatcher that add and remove instruments.

    Each cached plan holds its instruments, so a dispatch without instruments has no check for them. A change of the
    instruments drops the cached plans.
    """

    _registry: Registry

    #: Whether the dispatcher belongs to antiphon itself, so that tools for a whole program do not show it.
    _is_internal: bool = False

    #: The instruments of this dispatcher, without those of a parent.
    _instruments: tuple[_attached.AttachedInstrument, ...] = ()

    def add_instrument(self, instrument: Any, /) -> None:
        """Let an instrument observe all dispatches from the next one on, including those of scopes.

        Args:
            instrument: An object with one or more of the methods of `antiphon.instruments.Instrument`. If a method
                raises, the error is logged and the instrument is removed.

        Raises:
            TypeError: If the instrument has none of the methods, if one of them is async, or if it is a class.
            ValueError: If the instrument has already been added.
        """
        attached = _attached.AttachedInstrument(instrument, self._detach)
        with _instruments_lock:
            is_new = all(other.instrument is not instrument for other in self._instruments)
            if is_new:
                self._instruments = (*self._instruments, attached)
        if not is_new:
            raise ValueError(
                f"{safe_repr(instrument)} was added to {safe_repr(self)} already, and observes each dispatch once"
            )
        self._registry.clear_plans()

    def remove_instrument(self, instrument: Any, /) -> None:
        """Remove an instrument from the next dispatch on. It still observes the end of running dispatches.

        Args:
            instrument: The object that was added.

        Raises:
            ValueError: If the instrument was not added to this dispatcher, or was removed because it raised.
        """
        for attached in self._instruments:
            if attached.instrument is instrument and self._detach(attached):
                return
        raise ValueError(
            f"{safe_repr(instrument)} is not an instrument of {safe_repr(self)}: it was added to another one, or "
            f"removed because it raised"
        )

    def _add_global_instruments(self) -> None:
        # Iterate over a copy: other threads and the instruments themselves may change the list.
        for instrument in tuple(global_instruments):
            # The thread that adds the instrument everywhere may have added it here already.
            with suppress(ValueError):
                self.add_instrument(instrument)
            # It may have been removed everywhere before it was added here.
            if all(other is not instrument for other in global_instruments):
                with suppress(ValueError):
                    self.remove_instrument(instrument)

    def _detach(self, attached: _attached.AttachedInstrument) -> bool:
        with _instruments_lock:
            was_there = any(other is attached for other in self._instruments)
            if was_there:
                self._instruments = tuple(other for other in self._instruments if other is not attached)
        if was_there:
            self._registry.clear_plans()
        return was_there

    def _all_instruments(self) -> tuple[_attached.AttachedInstrument, ...]:
        """Return the instruments that observe the dispatches, including those of a parent."""
        return self._instruments


def merge_instruments(
    parents: tuple[_attached.AttachedInstrument, ...], own: tuple[_attached.AttachedInstrument, ...]
) -> tuple[_attached.AttachedInstrument, ...]:
    """Append the instruments of a scope to those of its parent, without duplicates."""
    known = {id(attached.instrument) for attached in parents}
    return (*parents, *(attached for attached in own if id(attached.instrument) not in known))
