"""Recording what dispatchers dispatch, to assert it afterwards."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._util.naming import safe_repr
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord
from antiphon.testing._assertions import Recording

__all__ = ("record",)


def record(*dispatchers: AsyncEventDispatcher | EventDispatcher) -> AbstractContextManager[Recording]:
    """Record what is dispatched within a ``with`` block.

    The dispatchers are the real ones, and so are their listeners. A recorder is an instrument, no listener: it changes
    no order, and sees what a listener cannot, such as who was not called, and why.

    Args:
        *dispatchers: What to record, together with the scopes made of it. Dispatches on several are in one order.

    Returns:
        A context manager that gives what is `Recording`, to be read within the block and after it.

    Raises:
        TypeError: There is no dispatcher, or something else than one.
        ValueError: One is given twice; on entry.
    """
    if not dispatchers:
        raise TypeError("record() takes the dispatchers to record: with record(dispatcher) as recorded: ...")
    for dispatcher in dispatchers:
        if not isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher)):
            raise TypeError(f"record() takes dispatchers; got {safe_repr(dispatcher)} ({type(dispatcher).__name__})")
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
    """Writes down each dispatch, and what becomes of its listeners."""

    def __init__(self) -> None:
        #: Each dispatch, in order, with the recorded call in which it was started.
        self.dispatches: dict[DispatchRecord, ListenerRecord | None] = {}
        #: What became of the listeners, in the order in which it became known.
        self.listeners: list[ListenerRecord] = []

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        # Now, since the way up leads over records that nobody else need keep.
        parent = record.parent
        while parent is not None and parent.dispatch not in self.dispatches:
            parent = parent.dispatch.parent
        self.dispatches[record] = parent

    def listener_started(self, record: ListenerRecord, /) -> None:
        self.listeners.append(record)

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        self.listeners.append(record)
