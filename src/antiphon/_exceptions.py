"""The errors that antiphon raises beside Python's own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

__all__ = ("ListenerCancelled", "QueueNotDrained", "StreamLagged")


class ListenerCancelled(Exception):
    """Raised if a cancellation leaves a listener although it was not requested.

    That happens if a listener waits for something that was cancelled elsewhere (a task that it did not
    start, for example) and lets that cancellation out. To the dispatch it is an error of that listener, and
    the error policy gets it. Passed on as a cancellation it would end tasks that nothing cancelled. Under
    ``Sequential("raise")`` the cancellation leaves unchanged. The original cancellation is the ``__cause__``.

    Attributes:
        listener: The listener that the cancellation left.
    """

    def __init__(self, listener: object) -> None:
        super().__init__(listener)
        self.listener = listener

    def __str__(self) -> str:
        try:
            listener = repr(self.listener)
        except Exception:
            # An error must have a text, whatever the listener answers.
            listener = object.__repr__(self.listener)
        return (
            f"a cancellation left the listener {listener}, but neither a cancel scope around it nor its task "
            f"was cancelled; if it waits for something that others may cancel, let it catch that cancellation there"
        )


class StreamLagged(Exception):
    """Raised by the next read of a stream whose reader was too slow, so that its buffer had to let events go.

    The stream goes on: the read after that gives the oldest event that is still there.

    Attributes:
        missed: How many events were let go since the last read.
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
    """Raised at the end of a queue whose ``drain_timeout`` passed before all that was posted had been dispatched.

    Attributes:
        unfinished: The name and the event of each dispatch that did not start, or did not finish.
    """

    def __init__(self, unfinished: Sequence[tuple[Hashable, Any]]) -> None:
        super().__init__(unfinished)
        self.unfinished: tuple[tuple[Hashable, Any], ...] = tuple(unfinished)

    def __str__(self) -> str:
        return (
            f"a queue ended before {len(self.unfinished)} of its events were dispatched; drain_timeout= was too short"
        )
