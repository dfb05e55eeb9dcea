"""An instrument that logs dispatches with the ``logging`` module of the standard library."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

from antiphon._util.naming import escape_unprintable, safe_repr, safe_str
from antiphon.instruments import DispatchRecord, Instrument, Interest, ListenerRecord

__all__ = ("LoggingInstrument",)


class LoggingInstrument(Instrument):
    """An instrument that logs a line when a dispatch or the call of a listener finishes.

    The log records have these attributes: ``event_name``, ``event_class``, ``dispatcher``, ``listener``, ``outcome``,
    ``duration`` (in seconds), ``stopped_by`` and ``skipped_because``.
    Nothing is formatted if the level is disabled.

    Args:
        logger: A logger, or its name.
        dispatches: The level for dispatches; None to log no dispatches.
        listeners: The level for called and skipped listeners; None to log no listeners.
        failures: The level for dispatches and listeners that failed; None to use the level of the others.
        starts: The level for a line at each start; None to log no starts.
        exc_info: Whether to log the traceback of an error. It is logged once, for the innermost listener.

    Raises:
        TypeError: If a level is not an int, or ``logger`` is not a logger.
    """

    __slots__ = (
        "_dispatches",
        "_exc_info",
        "_failures",
        "_highest",
        "_listeners",
        "_logged_errors",
        "_logger",
        "_starts",
    )

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[Any] | str = "antiphon.dispatch",
        *,
        dispatches: int | None = logging.INFO,
        listeners: int | None = logging.DEBUG,
        failures: int | None = logging.ERROR,
        starts: int | None = None,
        exc_info: bool = True,
    ) -> None:
        levels = {"dispatches": dispatches, "listeners": listeners, "failures": failures, "starts": starts}
        for name, level in levels.items():
            _check_level(level, name)
        self._logger: Any = logging.getLogger(logger) if isinstance(logger, str) else logger
        if not callable(getattr(self._logger, "isEnabledFor", None)):
            raise TypeError(f"logger= must be a logger of the logging module, or its name; got {safe_repr(logger)}")
        self._dispatches = dispatches
        self._listeners = listeners
        self._failures = failures
        self._starts = starts
        # A logger that logs nothing at this level logs nothing but failures.
        self._highest = max((level for level in (dispatches, listeners, starts) if level is not None), default=None)
        self._exc_info = exc_info
        # Errors whose traceback was logged for an inner dispatch or call, by the record of the next outer one.
        self._logged_errors: WeakKeyDictionary[DispatchRecord | ListenerRecord, BaseException] = WeakKeyDictionary()

    def get_interest(self) -> Interest:
        """Return what is logged at the levels that are enabled now."""
        if self._is_enabled(self._highest):
            return "all"
        return "failures" if self._is_enabled(self._failures) else "nothing"

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Log the start of a dispatch."""
        if self._is_enabled(self._starts):
            self._log(self._starts, record, None, "dispatching %s", _format_event(record))

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Log the result of a dispatch."""
        failed = record.outcome == "failed"
        was_logged = self._logged_errors.pop(record, None) is not None
        level = self._get_level(self._dispatches, failed=failed)
        if self._is_enabled(level):
            self._log_dispatch_end(level, record, was_logged=was_logged)
            was_logged = True
        if failed and was_logged:
            self._mark_logged(record.error, record.parent)

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Log the start of a call."""
        if self._is_enabled(self._starts):
            event = _format_event(record.dispatch)
            self._log(self._starts, record, None, "calling %s for %s", record.listener_name, event)

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Log the result of a call."""
        failed = record.outcome == "failed"
        was_logged = self._logged_errors.pop(record, None) is record.error
        level = self._get_level(self._listeners, failed=failed)
        if self._is_enabled(level):
            text, arguments = _format_outcome(record)
            error = record.error if failed and not was_logged else None
            event = _format_event(record.dispatch)
            self._log(level, record, error, f"called %s for %s: {text}", record.listener_name, event, *arguments)
            was_logged = True
        if failed and was_logged:
            self._mark_logged(record.error, record.dispatch)

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Log a skipped listener, and the reason."""
        if self._is_enabled(self._listeners):
            event, reason = _format_event(record.dispatch), record.skipped_because
            self._log(self._listeners, record, None, "skipped %s for %s: %s", record.listener_name, event, reason)

    def _log_dispatch_end(self, level: int | None, record: DispatchRecord, *, was_logged: bool) -> None:
        text, arguments = _format_outcome(record)
        number = len(record.listeners)
        if record.nobody_listened:
            listeners = "nobody listened"
        else:
            listeners = f"{number} listener" if number == 1 else f"{number} listeners"
        error = record.error if record.outcome == "failed" and not was_logged else None
        self._log(level, record, error, f"dispatched %s, {listeners}: {text}", _format_event(record), *arguments)

    def _mark_logged(self, error: BaseException | None, outer: DispatchRecord | ListenerRecord | None) -> None:
        # Skip a finished record: its entry would not be removed any more.
        if error is not None and outer is not None and outer.outcome == "running":
            self._logged_errors[outer] = error

    def _get_level(self, level: int | None, *, failed: bool) -> int | None:
        return self._failures if failed and self._failures is not None else level

    def _is_enabled(self, level: int | None) -> bool:
        return level is not None and bool(self._logger.isEnabledFor(level))

    def _log(
        self,
        level: int | None,
        record: DispatchRecord | ListenerRecord,
        error: BaseException | None,
        text: str,
        *arguments: object,
    ) -> None:
        exc_info = error if self._exc_info else None
        self._logger.log(level, text, *arguments, extra=_make_log_fields(record), exc_info=exc_info)


def _check_level(level: object, name: str) -> None:
    if level is not None and (not isinstance(level, int) or isinstance(level, bool)):
        raise TypeError(f"{name}= must be a level, an int such as logging.INFO, or None; got {safe_repr(level)}")


def _format_event(record: DispatchRecord) -> str:
    kind = type(record.event).__name__
    # A name from outside must not start a line of its own in the log.
    return kind if record.name is None else f"{escape_unprintable(safe_str(record.name))} ({kind})"


def _format_outcome(record: DispatchRecord | ListenerRecord) -> tuple[str, tuple[object, ...]]:
    milliseconds = (record.duration or 0) * 1000
    if record.outcome == "failed":
        return "failed in %.3f ms with %s", (milliseconds, safe_repr(record.error))
    if isinstance(record, DispatchRecord) and record.stopped_by is not None and record.outcome == "stopped":
        return "stopped by %s in %.3f ms", (record.stopped_by.listener_name, milliseconds)
    return "%s in %.3f ms", (record.outcome, milliseconds)


def _make_log_fields(record: DispatchRecord | ListenerRecord) -> dict[str, object]:
    dispatch = record if isinstance(record, DispatchRecord) else record.dispatch
    fields: dict[str, object] = {
        "event_name": dispatch.name,
        "event_class": type(dispatch.event).__qualname__,
        "dispatcher": safe_repr(dispatch.dispatcher),
        "outcome": record.outcome,
        "duration": record.duration,
    }
    if isinstance(record, DispatchRecord):
        fields["stopped_by"] = None if record.stopped_by is None else record.stopped_by.listener_name
    else:
        fields["listener"] = record.listener_name
        fields["skipped_because"] = record.skipped_because
    return fields
