"""The errors that antiphon raises beside Python's own."""

from __future__ import annotations

__all__ = ("ListenerCancelled",)


class ListenerCancelled(Exception):
    """Raised when a cancellation leaves a listener although nobody asked for one.

    That happens when a listener waits for something that was cancelled elsewhere (a task it did not
    start, say) and lets that cancellation out. Seen from the dispatch it is an error of that listener, so
    the error policy decides about it; passed on as a cancellation it would end tasks that nobody wanted to end.
    The original cancellation is the ``__cause__``.

    Attributes:
        listener: The listener that the cancellation left.
    """

    def __init__(self, listener: object) -> None:
        super().__init__(listener)
        self.listener = listener

    def __str__(self) -> str:
        return (
            f"a cancellation left the listener {self.listener!r}, but neither a cancel scope around it nor its task "
            f"was cancelled; if it waits for something that others may cancel, let it catch that cancellation there"
        )
