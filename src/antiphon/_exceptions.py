"""The exception classes of antiphon."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

__all__ = ("ListenerCancelled", "QueueNotDrained", "StreamLagged")


class ListenerCancelled(Exception):
    """Raised if a cancellation that was not requested escapes from a listener.

    This happens if a listener waits for something that is cancelled elsewhere (a task that it did not start, for
    example) and does not catch the cancellation. The dispatch treats it as an error of that listener, which the error
    policy receives, because a cancellation would end tasks that were not cancelled. Under
    ``Sequential(errors="raise")`` the cancellation leaves unchanged. The original cancellation is the ``__cause__``.

    Attributes:
        listener: The listener from which the cancellation escaped. For a cancellation that escaped from a dispatch of
            a queue, the queue.
    """

    def __init__(self, listener: object) -> None:
        super().__init__(listener)
        self.listener = listener

    def __str__(self) -> str:
        # A queue and a bridge know only that it escaped from one of their dispatches.
        source = "the listener" if callable(self.listener) else "a dispatch of"
        return (
            f"a cancellation escaped from {source} {_format(self.listener)}, but neither a cancel scope around it nor "
            f"its task was cancelled; if a listener waits for something that can be cancelled elsewhere, catch the "
            f"cancellation there"
        )


class StreamLagged(Exception):
    """Raised by the next read of a stream if its buffer was full and dropped events.

    The stream continues: the following read returns the oldest event in the buffer.

    Attributes:
        missed: How many events were dropped since the last read.
    """

    def __init__(self, missed: int, stream: str = "a stream") -> None:
        super().__init__(missed)
        self.missed = missed
        self._stream = stream

    def __str__(self) -> str:
        return (
            f"the reader of {self._stream} missed {self.missed} of its events, because its buffer was full; the next "
            f"read continues. Read faster, give the stream a larger max_buffer_size=, or choose another overflow="
        )


class QueueNotDrained(Exception):
    """Raised at the end of a queue if its ``drain_timeout`` expires before all posted events have been dispatched.

    Attributes:
        unfinished: The name and the event of each dispatch that did not start or did not finish.
    """

    def __init__(self, unfinished: Sequence[tuple[Hashable, Any]]) -> None:
        super().__init__(unfinished)
        self.unfinished: tuple[tuple[Hashable, Any], ...] = tuple(unfinished)

    def __str__(self) -> str:
        names = [_format(name) for name, _ in self.unfinished[:_MAX_NAMES]]
        if len(self.unfinished) > _MAX_NAMES:
            names.append("...")
        return (
            f"a queue ended before {len(self.unfinished)} of its events were dispatched ({', '.join(names)}); use a "
            f"longer drain_timeout= or more workers=, or wait for `await queue.join()` in the block"
        )


#: How many names a message contains.
_MAX_NAMES = 5


def _format(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:
        # The message must not depend on a `__repr__` that raises.
        return object.__repr__(thing)
