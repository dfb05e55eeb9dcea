"""The recorder of dispatches."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._util.naming import describe_value
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord
from antiphon.testing._assertions import Recording

__all__ = ("record",)


def record(*dispatchers: AsyncEventDispatcher | EventDispatcher) -> AbstractContextManager[Recording]:
    """Record the dispatches in a ``with`` block.

    The dispatchers run their real listeners. A recorder is an instrument, not a listener: it does not affect the order
    of listeners, and it also records which listeners were skipped, and why.

    Args:
        *dispatchers: The dispatchers to record, including their scopes. Dispatches of several dispatchers are recorded
            in a common order.

    Returns:
        A context manager that returns a `Recording` on entry. The recording can be read in the block and after it.

    Raises:
        TypeError: If no dispatcher is given, or one is not a dispatcher.
        ValueError: If a dispatcher is given twice. Raised on entry.
    """
    if not dispatchers:
        raise TypeError("record() requires a dispatcher: with record(dispatcher) as recording: ...")
    for dispatcher in dispatchers:
        if not isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher)):
            raise TypeError(f"record() requires dispatchers; got {describe_value(dispatcher)}")
    return _recording(dispatchers)


@contextmanager
def _recording(dispatchers: Iterable[AsyncEventDispatcher | EventDispatcher]) -> Generator[Recording]:
    recorder = _Recorder()
    with ExitStack() as stack:
        for dispatcher in dispatchers:
            dispatcher.add_instrument(recorder)
            stack.callback(dispatcher.remove_instrument, recorder)
        yield Recording(recorder.dispatches, recorder.listeners)


class _Recorder(Instrument):
    """Collects the records of dispatches and listeners."""

    def __init__(self) -> None:
        #: The dispatches in order. The value is the recorded call that started the dispatch, or None.
        self.dispatches: dict[DispatchRecord, ListenerRecord | None] = {}
        #: The calls and the skipped listeners, in the order in which they were started or skipped.
        self.listeners: list[ListenerRecord] = []

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        # Find the parent now: the records between may be collected after they finish.
        parent = record.parent
        while parent is not None and parent.dispatch not in self.dispatches:
            parent = parent.dispatch.parent
        self.dispatches[record] = parent

    def listener_started(self, record: ListenerRecord, /) -> None:
        self.listeners.append(record)

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        self.listeners.append(record)
