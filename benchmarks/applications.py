"""What an application dispatches: the mix of a request, a dispatcher that logs, and an instrument.

The first two are like those of HARP, an HTTP proxy. For each request it makes 11 dispatches of five classes of events.
Six dispatches have no listener, and each of the others has one. All dispatches pass through a subclass that logs them,
at levels that are disabled in production.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord
from benchmarks.workload import event_class

__all__ = (
    "EVENTS",
    "LISTENED",
    "NAMES",
    "DoNothing",
    "copy_name",
    "make_event_classes",
    "make_overriding",
    "quiet_logger",
)

#: The names under which each event of a request is dispatched, in order.
EVENTS = (
    ("order.opened", "order.received", "order.checked"),
    ("payment.requested", "payment.authorized"),
    ("stock.reserved", "stock.changed"),
    ("parcel.packed", "parcel.posted"),
    ("order.billed", "order.closed"),
)

NAMES = tuple(name for names in EVENTS for name in names)

#: The names that have a listener.
LISTENED = ("order.received", "payment.requested", "stock.reserved", "parcel.packed", "order.closed")

#: The names that are also the class-level ``name`` of their event.
CLASS_NAMES = ("stock.reserved", "parcel.packed")

#: A logger whose levels are disabled.
quiet_logger = logging.getLogger("benchmarks.quiet")
quiet_logger.setLevel(logging.CRITICAL + 1)


def make_event_classes(base: type = object) -> Iterator[type[Any]]:
    """Compile the event classes of a request, in the order of `EVENTS`.

    Args:
        base: The event class of the library.
    """
    for first, *_ in EVENTS:
        yield event_class(base, name=first if first in CLASS_NAMES else None)


def copy_name(name: str) -> str:
    """Return an equal name that is another object, as a literal in another module can be."""
    return "".join((name[:1], name[1:]))


def make_overriding(base: Any) -> Any:
    """Make a subclass of an async dispatcher that logs each dispatch and each call, in the form of HARP's subclass.

    Args:
        base: ``AsyncEventDispatcher`` of antiphon or whistle.
    """

    class LoggingDispatcher(base):  # type: ignore[misc]  # the base is a parameter
        def __init__(self) -> None:
            self.logger = quiet_logger
            super().__init__()

        def add_listener(self, name: str, listener: Any, /, *, priority: int = 0) -> None:
            self.logger.debug("added %s to %s", listener, name)
            super().add_listener(name, listener, priority=priority)

        async def adispatch(self, name: str, event: Any = None, /) -> Any:
            # HARP formats the text before the logger looks at the level.
            self.logger.info(f"dispatch {name} ({type(event).__name__})")  # noqa: G004
            try:
                return await super().adispatch(name, event)
            except Exception as exc:
                self.logger.error("dispatch of %s failed: %s", name, exc)
                raise

        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                self.logger.debug(f"call {listener}")  # noqa: G004
                await listener(event)
                if event.propagation_stopped:
                    break

    for function in vars(LoggingDispatcher).values():
        if isinstance(function, FunctionType):
            # Each candidate has its own code, because CPython specializes bytecode per code object.
            function.__code__ = function.__code__.replace()
    return LoggingDispatcher


class DoNothing(Instrument):
    """An instrument that observes everything and does nothing."""

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        pass

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        pass

    def listener_started(self, record: ListenerRecord, /) -> None:
        pass

    def listener_finished(self, record: ListenerRecord, /) -> None:
        pass

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        pass
