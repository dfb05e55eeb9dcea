"""The base class of instruments, and the instruments of a dispatcher and of a plan.

An `AttachedInstrument` is an instrument that was added to a dispatcher. `PlanInstruments` are all instruments that are
notified of a dispatch. They are listed by method, so that a dispatch does not look for methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from antiphon._instrumentation.records import DispatchRecord, ListenerRecord
from antiphon._util.callables import find_unrun_kind, is_async_callable
from antiphon._util.naming import safe_repr

__all__ = ("INSTRUMENT_METHODS", "AttachedInstrument", "Instrument", "PlanInstruments")


class Instrument:
    """A base class for instruments. Override the methods that you need; the others are never called.

    Any other object that has one or more of these methods is an instrument, too. The methods are plain functions. They
    are called where the dispatch runs: in its task, or in the worker thread in which a listener started the dispatch.
    If a method raises, the exception is logged, the instrument is removed, and the dispatch continues. (trio)
    """

    __slots__ = ()

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Called when a dispatch starts. The event has its name and dispatcher already."""

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Called when a dispatch has finished, with or without an error."""

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Called immediately before a listener."""

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Called when a listener has finished. See ``record.outcome`` and ``record.error``."""

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Called when a listener of the plan is skipped. See ``record.skipped_because``."""


#: An object is an instrument if it has one or more of these methods.
INSTRUMENT_METHODS: Final = (
    "dispatch_started",
    "dispatch_finished",
    "listener_started",
    "listener_finished",
    "listener_skipped",
)


class AttachedInstrument:
    """An instrument that was added to a dispatcher.

    Args:
        instrument: The instrument.
        detach: Removes the attached instrument from the dispatcher, if it is still there.

    Raises:
        TypeError: If the object is not an instrument.
    """

    __slots__ = ("_detach", "_pending_log_message", "instrument", "methods")

    def __init__(self, instrument: Any, detach: Callable[[AttachedInstrument], object]) -> None:
        self.instrument = instrument
        #: The methods that the instrument defines. Empty after one of them has raised.
        self.methods = _get_instrument_methods(instrument)
        self._detach = detach
        # Use a list: only the thread that pops the message logs it.
        self._pending_log_message = ["%s raised in %s, and is removed: it does not see further dispatches"]

    def notify(self, method: str, record: Any) -> None:
        """Call a method of the instrument. If it raises, log the exception and remove the instrument."""
        call = self.methods.get(method)
        if call is None:
            # The instrument has raised before, and this dispatch was already running.
            return
        try:
            result = call(record)
            kind = "" if result is None else find_unrun_kind(result)
            if kind:
                raise TypeError(
                    f"the methods of an instrument are plain functions; {safe_repr(call)} returned {kind}, which does "
                    f"not run in a dispatch: return None"
                )
        except Exception as exc:
            # Plans of running dispatches still contain the instrument.
            self.methods = {}
            self._detach(self)
            self._log_failure(method, exc)

    def _log_failure(self, method: str, exc: Exception) -> None:
        try:
            message = self._pending_log_message.pop()
        except IndexError:
            return
        # Import it here: most programs never need it.
        import logging

        try:
            logging.getLogger("antiphon").error(message, safe_repr(self.instrument), method, exc_info=exc)
        except RecursionError:
            # The instrument dispatches on the dispatcher that it observes. Log the failure where the stack is shorter.
            self._pending_log_message.append(message)
            raise


class PlanInstruments:
    """The instruments that are notified of the dispatches of a plan.

    When something finishes, they are notified in reverse order, so that spans nest correctly.
    """

    __slots__ = ("_by_method",)

    def __init__(self, instruments: tuple[AttachedInstrument, ...]) -> None:
        self._by_method: dict[str, tuple[AttachedInstrument, ...]] = {}
        for method in INSTRUMENT_METHODS:
            ordered = reversed(instruments) if method.endswith("_finished") else instruments
            self._by_method[method] = tuple(attached for attached in ordered if method in attached.methods)

    def notify(self, method: str, record: Any) -> None:
        """Call a method of all instruments that have it."""
        for attached in self._by_method[method]:
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
                f"{expected}, each a plain function of a record; {safe_repr(method)} is async, and would not be "
                f"awaited in a dispatch: store the record in a plain function, and await elsewhere"
            )
        methods[name] = method
    if not methods:
        raise TypeError(
            f"{expected}; got {safe_repr(instrument)} ({type(instrument).__name__}), which has none of them"
        )
    return {name: method for name, method in methods.items() if not _is_inherited_no_op(name, method)}


def _is_inherited_no_op(name: str, method: Any) -> bool:
    # The subclass of `Instrument` does not override the method.
    return getattr(method, "__func__", None) is getattr(Instrument, name)
