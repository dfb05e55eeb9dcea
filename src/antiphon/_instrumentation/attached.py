"""The base class of instruments, and the instruments of a dispatcher and of a dispatch.

An `AttachedInstrument` is an instrument that was added to a dispatcher. `Observers` are the functions that notify the
instruments of a dispatch, listed by occasion, so that a dispatch does not look for methods.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap
from typing import Any, Final, Literal, TypeAlias, cast

from antiphon._instrumentation.records import DispatchRecord, ListenerRecord
from antiphon._util.callables import find_unrun_kind, is_async_callable
from antiphon._util.naming import safe_repr

__all__ = (
    "INSTRUMENT_METHODS",
    "NO_OBSERVERS",
    "AttachedInstrument",
    "Instrument",
    "Interest",
    "Observers",
    "check_has_run",
)

#: What an instrument observes in a dispatch. ``"all"`` is everything, ``"failures"`` is only the end of a dispatch or a
#: listener that failed, and ``"nothing"`` is nothing.
Interest: TypeAlias = Literal["all", "failures", "nothing"]

_INTERESTS: Final = ("all", "failures", "nothing")

#: Calls a method of an instrument with a record.
_Notify: TypeAlias = Callable[[Any], None]


class Instrument:
    """A base class for instruments. Override the methods that you need; the others are never called.

    Any other object that has one or more of these methods is an instrument, too. The methods are plain functions. They
    are called where the dispatch runs: in its task, or in the worker thread in which a listener started the dispatch.
    If a method raises, the exception is logged, the instrument is removed, and the dispatch continues.
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

    def get_interest(self) -> Interest:
        """Return what to observe in the dispatch that is about to start. Called once in each dispatch.

        A dispatch that no instrument wants to observe costs little more than one without instruments.

        Returns:
            ``"all"``, the default; ``"failures"`` to be notified only of dispatches and listeners that fail, when they
            have finished; ``"nothing"`` to ignore the dispatch.
        """
        return "all"


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

    __slots__ = ("_detach", "_get_interest", "_pending_log_message", "functions", "has_raised", "instrument", "methods")

    def __init__(self, instrument: Any, detach: Callable[[AttachedInstrument], object]) -> None:
        self.instrument = instrument
        #: The methods that the instrument defines.
        self.functions: dict[str, Callable[[Any], object]] = _get_instrument_methods(instrument)
        #: The same, each as a function that handles its exceptions.
        self.methods: dict[str, _Notify] = dict(starmap(self._guard, self.functions.items()))
        self._get_interest: Callable[[], object] | None = _find_get_interest(instrument)
        self._detach = detach
        #: Whether a method has raised. The instrument is not notified any more.
        self.has_raised = False
        # Use a list: only the thread that pops the message logs it.
        self._pending_log_message = ["%s raised in %s, and is removed: it does not see further dispatches"]

    @property
    def is_always_interested(self) -> bool:
        """Whether the instrument observes everything in each dispatch, so that it need not be asked."""
        return self._get_interest is None

    def get_interest(self) -> Interest:
        """Ask the instrument what it wants to observe in a dispatch. If it raises, log the exception and remove it."""
        if self.has_raised:
            return "nothing"
        if self._get_interest is None:
            return "all"
        try:
            interest: Any = self._get_interest()
            if interest not in _INTERESTS:
                raise ValueError(
                    f"get_interest() of an instrument returns one of {', '.join(map(repr, _INTERESTS))}; "
                    f"{safe_repr(self.instrument)} returned {safe_repr(interest)}"
                )
        except Exception as exc:
            self.on_exception("get_interest", exc)
            interest = "nothing"
        return interest  # type: ignore[no-any-return]

    def _guard(self, method: str, call: Callable[[Any], object]) -> tuple[str, _Notify]:
        def notify(record: Any) -> None:
            if self.has_raised:
                # The dispatch was already running then.
                return
            try:
                result = call(record)
                if result is not None:
                    check_has_run(result, call)
            except Exception as exc:
                self.on_exception(method, exc)

        return method, notify

    def on_exception(self, method: str, exc: Exception) -> None:
        """Log the exception of a method, and remove the instrument."""
        # Plans of running dispatches still contain the instrument.
        self.has_raised = True
        self._detach(self)
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


class _NoGuard:
    """A stand-in for an `AttachedInstrument` in a loop whose functions handle their exceptions."""

    __slots__ = ()

    has_raised: Final = False

    def on_exception(self, method: str, exc: Exception) -> None:
        """Raise the exception, because the function did not handle it."""
        raise exc


_NO_GUARD: Final = _NoGuard()


class Observers:
    """The functions that notify the instruments of one dispatch, one for each occasion, or None.

    When something finishes, they are notified in reverse order, so that spans nest correctly.

    Args:
        instruments: The instruments, each with its interest.
    """

    __slots__ = (
        "dispatch_failed",
        "dispatch_finished",
        "dispatch_started",
        "listener_failed",
        "listener_finished",
        "listener_skipped",
        "listener_started",
        "loop_guard",
        "loop_listener_finished",
        "loop_listener_started",
        "want_only_failures",
    )

    def __init__(self, instruments: list[tuple[AttachedInstrument, Interest]]) -> None:
        everything = [attached for attached, interest in instruments if interest == "all"]
        failures = [attached for attached, interest in reversed(instruments) if interest != "nothing"]
        #: Whether a dispatch that does not fail notifies nobody.
        self.want_only_failures = not everything
        self.dispatch_started = _combine("dispatch_started", everything)
        self.listener_started = _combine("listener_started", everything)
        self.listener_skipped = _combine("listener_skipped", everything)
        self.listener_finished = _combine("listener_finished", everything[::-1])
        self.dispatch_finished = _combine("dispatch_finished", everything[::-1])
        # A loop calls the methods of a single instrument itself, because a method that does nothing takes no longer
        # than the function around it that handles its exceptions.
        only = everything[0] if len(everything) == 1 else None
        functions: dict[str, Callable[[Any], object]] = {} if only is None else only.functions
        #: What handles the exceptions of the two functions below.
        self.loop_guard: AttachedInstrument | _NoGuard = only or _NO_GUARD
        self.loop_listener_started = functions.get("listener_started", self.listener_started)
        self.loop_listener_finished = functions.get("listener_finished", self.listener_finished)
        #: Instead of ``listener_finished``, for a call that failed.
        self.listener_failed = _combine("listener_finished", failures)
        #: Instead of ``dispatch_finished``, for a dispatch that failed.
        self.dispatch_failed = _combine("dispatch_finished", failures)


def _combine(method: str, instruments: list[AttachedInstrument]) -> _Notify | None:
    methods = [attached.methods[method] for attached in instruments if method in attached.methods]
    if not methods:
        return None
    if len(methods) == 1:
        return methods[0]

    def notify_all(record: Any) -> None:
        for notify in methods:
            notify(record)

    return notify_all


def check_has_run(result: object, call: object) -> None:
    """Check the return value of a method of an instrument.

    Raises:
        TypeError: If it is a coroutine or a generator, which has not run.
    """
    kind = find_unrun_kind(result)
    if kind:
        raise TypeError(
            f"the methods of an instrument are plain functions; {safe_repr(call)} returned {kind}, which does not run "
            f"in a dispatch: return None"
        )


def _find_get_interest(instrument: Any) -> Callable[[], object] | None:
    # A mock has every attribute when it is read.
    cls = instrument.__class__
    if not hasattr(cls, "get_interest") and "get_interest" not in getattr(instrument, "__dict__", ()):
        return None
    method = instrument.get_interest
    if not callable(method) or is_async_callable(method):
        raise TypeError(f"get_interest of an instrument is a plain function without arguments; got {safe_repr(method)}")
    return None if _is_inherited(method, "get_interest") else cast("Callable[[], object]", method)


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
    return {name: method for name, method in methods.items() if not _is_inherited(method, name)}


def _is_inherited(method: Any, name: str) -> bool:
    # The subclass of `Instrument` does not override the method.
    return getattr(method, "__func__", None) is getattr(Instrument, name)


#: For dispatches that no instrument observes.
NO_OBSERVERS: Final = Observers([])
