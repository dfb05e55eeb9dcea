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
        listener: The listener from which the cancellation escaped.
    """

    def __init__(self, listener: object) -> None:
        super().__init__(listener)
        self.listener = listener

    def __str__(self) -> str:
        try:
            listener = repr(self.listener)
        except Exception:
            # The message must not depend on a `__repr__` that raises.
            listener = object.__repr__(self.listener)
        return (
            f"a cancellation escaped from the listener {listener}, but neither a cancel scope around it nor its task "
            f"was cancelled; if the listener waits for something that can be cancelled elsewhere, catch the "
            f"cancellation there"
        )


class StreamLagged(Exception):
    """Raised by the next read of a stream if its buffer was full and dropped events.

    The stream continues: the following read returns the oldest event in the buffer.

    Attributes:
        missed: How many events were dropped since the last read.
    """

    def __init__(self, missed: int) -> None:
        super().__init__(missed)
        self.missed = missed

    def __str__(self) -> str:
        return (
            f"the reader of a stream missed {self.missed} of its events; read faster, give the stream a larger "
            f"max_buffer_size=, or choose another overflow="
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
        return f"a queue ended before {len(self.unfinished)} of its events were dispatched; use a longer drain_timeout="
