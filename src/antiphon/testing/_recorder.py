"""The recorder of dispatches."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import NoReturn

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._util.contexts import PlainContext
from antiphon._util.naming import describe_value, safe_repr
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
            fix = ""
            if isinstance(dispatcher, type):
                fix = f": pass an object of the class, {dispatcher.__name__}()"
            elif isinstance(dispatcher, (list, tuple, set)):
                fix = ": pass each dispatcher on its own, record(one, other)"
            raise TypeError(f"record() requires dispatchers; got {describe_value(dispatcher)}{fix}")
    return _RecordingBlock(dispatchers)


class _RecordingBlock(PlainContext):
    """Records while its block runs."""

    _usage = "with record(dispatcher) as recording:"

    def __init__(self, dispatchers: tuple[AsyncEventDispatcher | EventDispatcher, ...]) -> None:
        self._dispatchers = dispatchers
        self._stack = ExitStack()
        self._is_entered = False

    def __repr__(self) -> str:
        return f"record({', '.join(map(safe_repr, self._dispatchers))})"

    def __getattr__(self, name: str) -> NoReturn:
        fix = f": a recording starts in a block; write `{self._usage}`" if hasattr(Recording, name) else ""
        raise AttributeError(f"{self!r} has no attribute {name!r}{fix}", name=name, obj=self)

    def __enter__(self) -> Recording:
        if self._is_entered:
            raise RuntimeError(f"{self!r} has been used; write a new `{self._usage}`")
        self._is_entered = True
        for dispatcher in self._dispatchers:
            if sum(other is dispatcher for other in self._dispatchers) > 1:
                raise ValueError(f"record() records each dispatcher once; got {safe_repr(dispatcher)} twice")
        recorder = _Recorder()
        with ExitStack() as stack:
            for dispatcher in self._dispatchers:
                dispatcher.add_instrument(recorder)
                stack.callback(dispatcher.remove_instrument, recorder)
            self._stack = stack.pop_all()
        return Recording(recorder.dispatches, recorder.listeners)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._stack.close()


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
