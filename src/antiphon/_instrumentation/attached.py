"""An instrument that was added to a dispatcher, and how it is notified."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from antiphon._instrumentation.records import DispatchRecord, ListenerRecord
from antiphon._util.callables import find_unrun_kind, is_async_callable
from antiphon._util.naming import safe_repr

__all__ = ("INSTRUMENT_METHODS", "AttachedInstrument", "Instrument", "notify_all")


class Instrument:
    """A base for instruments: override what is of interest; the rest is never called.

    An instrument may also be any other object that has one or more of these methods. They are plain functions, called
    where the dispatch runs: in its task, or in the worker thread from which a listener started another dispatch.
    What they raise is logged once, and the instrument is taken out; the dispatch goes on unharmed. (trio)
    """

    __slots__ = ()

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """A dispatch begins; its event carries name and dispatcher already."""

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """A dispatch has ended, in whatever way."""

    def listener_started(self, record: ListenerRecord, /) -> None:
        """A listener is about to be called."""

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """A call has ended, in whatever way: ``record.outcome`` tells, ``record.error`` is what left the listener."""

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """A listener of the plan was not called: ``record.skipped_because`` tells why."""


#: The methods that make an instrument.
INSTRUMENT_METHODS: Final = (
    "dispatch_started",
    "dispatch_finished",
    "listener_started",
    "listener_finished",
    "listener_skipped",
)


class AttachedInstrument:
    """An instrument as a dispatcher keeps it: with the methods that it has, until one of them raises."""

    __slots__ = ("_detach", "_methods", "_pending_log_message", "instrument")

    def __init__(self, instrument: Any, detach: Callable[[AttachedInstrument], object]) -> None:
        """Look at an instrument.

        Args:
            instrument: The instrument.
            detach: Takes it out of its dispatcher, if it is still there.

        Raises:
            TypeError: It is none.
        """
        self.instrument = instrument
        self._methods = _get_instrument_methods(instrument)
        self._detach = detach
        # What is to be said when it raises, for one thread to take.
        self._pending_log_message = ["%s raised in %s, and is taken out: it sees no further dispatch"]

    def notify(self, method: str, record: Any) -> None:
        """Call a method of the instrument, if it has it. One that raises is logged, and taken out for good."""
        call = self._methods.get(method)
        if call is None:
            return
        try:
            result = call(record)
            kind = "" if result is None else find_unrun_kind(result)
            if kind:
                raise TypeError(
                    f"the methods of an instrument are plain functions; {safe_repr(call)} returned {kind}, and nobody "
                    f"would run it in the middle of a dispatch"
                )
        except Exception as exc:
            # Dispatches under way have it too.
            self._methods = {}
            self._detach(self)
            self._log_failure(method, exc)

    def _log_failure(self, method: str, exc: Exception) -> None:
        try:
            unsaid = self._pending_log_message.pop()
        except IndexError:
            return
        # Imported here, since it is needed here alone.
        import logging

        try:
            logging.getLogger("antiphon").error(unsaid, safe_repr(self.instrument), method, exc_info=exc)
        except RecursionError:
            # Its own dispatches were shown to it, too. There is more room further out.
            self._pending_log_message.append(unsaid)
            raise


def notify_all(instruments: Iterable[AttachedInstrument], method: str, record: Any) -> None:
    """Call a method of all instruments that have it."""
    for attached in instruments:
        attached.notify(method, record)


def _get_instrument_methods(instrument: Any) -> dict[str, Callable[[Any], object]]:
    expected = f"an instrument is an object with one or more of the methods {', '.join(INSTRUMENT_METHODS)}"
    if isinstance(instrument, type):
        raise TypeError(f"{expected}; got the class {instrument.__name__}: make an instance, {instrument.__name__}()")
    methods: dict[str, Callable[[Any], object]] = {}
    for name in INSTRUMENT_METHODS:
        method = getattr(instrument, name, None)
        if not callable(method):
            continue
        if is_async_callable(method):
            raise TypeError(
                f"{expected}, each a plain function of a record; {safe_repr(method)} is async, and nobody would await "
                f"it in the middle of a dispatch: let a plain function note what it sees, and await elsewhere"
            )
        methods[name] = method
    if not methods:
        raise TypeError(f"{expected}; got {safe_repr(instrument)} ({type(instrument).__name__}), which has none")
    return {name: method for name, method in methods.items() if not _is_inherited_no_op(name, method)}


def _is_inherited_no_op(name: str, method: Any) -> bool:
    # Inherited from `Instrument`, and not overridden.
    return getattr(method, "__func__", None) is getattr(Instrument, name)
