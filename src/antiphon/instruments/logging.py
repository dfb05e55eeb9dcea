"""An instrument that logs, with the ``logging`` of the standard library."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

from antiphon._util.naming import safe_repr, safe_str
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord

__all__ = ("LoggingInstrument",)


class LoggingInstrument(Instrument):
    """Logs a line for each dispatch and for each of its listeners, when they have ended.

    What a line tells can also be read from the log record, which carries it as ``event_name``, ``event_class``,
    ``dispatcher``, ``listener``, ``outcome``, ``duration`` (in seconds), ``stopped_by`` and ``skipped_because``.
    Where a level is off, nothing is formatted.

    Args:
        logger: A logger, or the name of one.
        dispatches: The level for dispatches; None for no such lines.
        listeners: The level for listeners, also for skipped ones; None for no such lines.
        failures: The level for dispatches and listeners that failed; None for the same as for others.
        starts: The level for a line at each beginning as well; None for no such lines.
        exc_info: Whether the traceback of an error is logged: once, where it is first seen, at the innermost listener.

    Raises:
        TypeError: A level is no int, or the logger is none.
    """

    __slots__ = ("_dispatches", "_exc_info", "_failures", "_listeners", "_logger", "_shown", "_starts")

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
        for level in (dispatches, listeners, failures, starts):
            _check_level(level)
        self._logger: Any = logging.getLogger(logger) if isinstance(logger, str) else logger
        if not callable(getattr(self._logger, "isEnabledFor", None)):
            raise TypeError(f"logger= is a logger of the logging module, or the name of one; got {logger!r}")
        self._dispatches = dispatches
        self._listeners = listeners
        self._failures = failures
        self._starts = starts
        self._exc_info = exc_info
        # What runs, and has ended in an error whose traceback was logged further in.
        self._shown: WeakKeyDictionary[DispatchRecord | ListenerRecord, BaseException] = WeakKeyDictionary()

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Log the beginning, if that is wanted."""
        if self._is_on(self._starts):
            self._log(self._starts, record, None, "dispatching %s", _event_of(record))

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Log the end."""
        failed = record.outcome == "failed"
        shown = self._shown.pop(record, None) is not None
        level = self._level(self._dispatches, failed=failed)
        if self._is_on(level):
            self._log_end(level, record, shown=shown)
            shown = True
        if failed and shown:
            self._pass_on(record.error, record.parent)

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Log the beginning, if that is wanted."""
        if self._is_on(self._starts):
            event = _event_of(record.dispatch)
            self._log(self._starts, record, None, "calling %s for %s", record.listener_name, event)

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Log the end."""
        failed = record.outcome == "failed"
        shown = self._shown.pop(record, None) is record.error
        level = self._level(self._listeners, failed=failed)
        if self._is_on(level):
            text, arguments = _ending(record)
            error = record.error if failed and not shown else None
            event = _event_of(record.dispatch)
            self._log(level, record, error, f"called %s for %s: {text}", record.listener_name, event, *arguments)
            shown = True
        if failed and shown:
            self._pass_on(record.error, record.dispatch)

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Log that a listener was not called, and why."""
        if self._is_on(self._listeners):
            event, reason = _event_of(record.dispatch), record.skipped_because
            self._log(self._listeners, record, None, "skipped %s for %s: %s", record.listener_name, event, reason)

    def _log_end(self, level: int | None, record: DispatchRecord, *, shown: bool) -> None:
        text, arguments = _ending(record)
        number = len(record.listeners)
        if record.nobody_listened:
            heard = "nobody listened"
        else:
            heard = f"{number} listener" if number == 1 else f"{number} listeners"
        error = record.error if record.outcome == "failed" and not shown else None
        self._log(level, record, error, f"dispatched %s, {heard}: {text}", _event_of(record), *arguments)

    def _pass_on(self, error: BaseException | None, outer: DispatchRecord | ListenerRecord | None) -> None:
        # What has ended takes it off no more, and it would stay here.
        if error is not None and outer is not None and outer.outcome == "running":
            self._shown[outer] = error

    def _level(self, level: int | None, *, failed: bool) -> int | None:
        return self._failures if failed and self._failures is not None else level

    def _is_on(self, level: int | None) -> bool:
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
        self._logger.log(level, text, *arguments, extra=_fields_of(record), exc_info=exc_info)


def _check_level(level: object) -> None:
    if level is not None and (not isinstance(level, int) or isinstance(level, bool)):
        raise TypeError(f"a level is an int such as logging.INFO, or None; got {level!r}")


def _event_of(record: DispatchRecord) -> str:
    kind = type(record.event).__name__
    return kind if record.name is None else f"{safe_str(record.name)} ({kind})"


def _ending(record: DispatchRecord | ListenerRecord) -> tuple[str, tuple[object, ...]]:
    milliseconds = (record.duration or 0) * 1000
    if record.outcome == "failed":
        return "failed in %.3f ms with %s", (milliseconds, safe_repr(record.error))
    if isinstance(record, DispatchRecord) and record.stopped_by is not None and record.outcome == "stopped":
        return "stopped by %s in %.3f ms", (record.stopped_by.listener_name, milliseconds)
    return "%s in %.3f ms", (record.outcome, milliseconds)


def _fields_of(record: DispatchRecord | ListenerRecord) -> dict[str, object]:
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
